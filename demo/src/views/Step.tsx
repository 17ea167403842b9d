/** A step of the path: its number, its heading, and whether it is done, open, or waits for what comes before. */
import type { ComponentChildren } from 'preact';

export type StepState = 'done' | 'open' | 'waiting';

interface Props {
  readonly number: number;
  readonly title: string;
  readonly state: StepState;
  /** Whether it is a landmark that people jump to. */
  readonly landmark?: boolean;
  readonly lead?: string | undefined;
  readonly children?: ComponentChildren;
  readonly element?: (element: Element | null) => void;
}

export function Step({ number, title, state, landmark = false, lead, children, element }: Props) {
  const id = `step-${number}`;
  const content = (
    <>
      <h2 id={id}>{title}</h2>
      {lead !== undefined && <p class="lead">{lead}</p>}
      {children}
    </>
  );
  return (
    <li class="step" data-state={state} ref={element ?? null}>
      <span class="mark" aria-hidden="true">
        {state === 'done' ? '✓' : number}
      </span>
      {landmark ? <section aria-labelledby={id}>{content}</section> : <div class="content">{content}</div>}
    </li>
  );
}
