import { support } from '../state/engine.ts';
import { text } from '../text.ts';
import { ChatStep } from './ChatStep.tsx';
import { CompareStep } from './CompareStep.tsx';
import { DataStep } from './DataStep.tsx';
import { DownloadStep } from './DownloadStep.tsx';
import { EarlierVisit } from './EarlierVisit.tsx';
import { ModelStep } from './ModelStep.tsx';
import { NoWebGpu } from './NoWebGpu.tsx';
import { PlanStep } from './PlanStep.tsx';
import { Problems } from './Problems.tsx';
import { StorageNote } from './StorageNote.tsx';
import { TokensStep } from './TokensStep.tsx';
import { TrainingStep } from './TrainingStep.tsx';

export function App() {
  const { kind } = support.value;
  const isUsable = kind === 'unknown' || kind === 'ready';
  return (
    <>
      <header class="masthead">
        <p class="brand">
          {text.page.name}
          <Adapter />
        </p>
        <h1>{text.page.title}</h1>
        <p class="lead">{text.page.lead}</p>
      </header>
      <main>
        {isUsable ? (
          <>
            <Problems place="page" />
            <EarlierVisit />
            <ol class="path">
              <DataStep />
              <ModelStep />
              <PlanStep />
              <TrainingStep />
              <TokensStep />
              <CompareStep />
              <ChatStep />
              <DownloadStep />
            </ol>
          </>
        ) : (
          <NoWebGpu kind={kind} />
        )}
      </main>
      <footer>
        <StorageNote />
      </footer>
    </>
  );
}

/** What computes. */
function Adapter() {
  const { value } = support;
  if (value.kind !== 'ready') return null;
  if (!value.software) return <span class="adapter">{text.page.onGpu(value.name)}</span>;
  return (
    <span class="adapter software" title={value.name}>
      {text.page.software}
    </span>
  );
}
