import { lookForWebGpu, type Support } from '../state/engine.ts';
import { text } from '../text.ts';

export function NoWebGpu({ kind }: { readonly kind: Exclude<Support['kind'], 'unknown' | 'ready'> }) {
  const { title, browsers, again } = text.support;
  const { why, what } = text.support[kind];
  return (
    <div class="notice" role="alert">
      <h2>{title}</h2>
      <p>{why}</p>
      {what.map((line) => (
        <p key={line}>{line}</p>
      ))}
      {kind !== 'insecure' && (
        <dl>
          {browsers.map(([name, how]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{how}</dd>
            </div>
          ))}
        </dl>
      )}
      <button type="button" onClick={() => void lookForWebGpu()}>
        {again}
      </button>
    </div>
  );
}
