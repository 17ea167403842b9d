/**
 * Weights & Biases, through its own package `@wandb/sdk`, which a person installs who wants it. The package ends the process at
 * Ctrl-C, which would lose the checkpoint, and tries for long when nobody answers; both are kept from the run.
 */
import { withOwnSignals } from '#platform';
import { SftError } from '../../platform/errors.ts';
import { curves, type OpenTracker } from './tracker.ts';

/** What of the package is used. */
interface Wandb {
  init(options: { project: string; name: string; config: object }): Promise<unknown>;
  log(data: Record<string, number>, step?: number): void;
  finish(): Promise<void>;
}

const INIT_MS = 20_000;
const FINISH_MS = 60_000;

async function inTime<T>(work: () => Promise<T>, milliseconds: number): Promise<T> {
  const signal = AbortSignal.timeout(milliseconds);
  const late = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => {
      const hint = 'check the connection, WANDB_BASE_URL and WANDB_API_KEY';
      reject(new SftError('IO', `wandb: no answer within ${milliseconds / 1000} s`, { hint }));
    });
  });
  return Promise.race([work(), late]);
}

/** Not a literal, so that bundlers and compilers leave a package alone that need not be there. */
const PACKAGE = '@wandb/sdk';

export const openWandb: OpenTracker = async ({ config, name }) => {
  const { default: wandb } = await load();
  await inTime(() => withOwnSignals(() => wandb.init({ project: config.logging.project, name, config })), INIT_MS);
  return {
    name: 'wandb',
    log: (row) => wandb.log(Object.fromEntries(curves(row)), row.step),
    close: () => inTime(() => wandb.finish(), FINISH_MS),
  };
};

async function load(): Promise<{ default: Wandb }> {
  try {
    return (await import(/* @vite-ignore */ /* webpackIgnore: true */ PACKAGE)) as { default: Wandb };
  } catch (cause) {
    throw new SftError('CONFIG', `logging.backend: expected the package ${PACKAGE} for wandb, it is not installed`, {
      hint: `npm install ${PACKAGE}, and set WANDB_API_KEY`,
      cause,
    });
  }
}
