/** The trackers of a run, fed while its events pass. */
import type { EvalRow, LogRow, TrainEvent } from '../events.ts';
import type { OpenTracker, TrackedRun, Tracker } from './tracker.ts';

/** Trackers by their names in `logging.backend`; loaded when they are used. */
const TRACKERS: Readonly<Record<string, () => Promise<OpenTracker>>> = {
  tensorboard: async () => (await import('./tensorboard.ts')).openTensorboard,
  wandb: async () => (await import('./wandb.ts')).openWandb,
  trackio: async () => (await import('./trackio.ts')).openTrackio,
};

/**
 * Passes events on, and gives the trackers of `logging.backend` every row that `history` gets meanwhile. Rows that it has at the
 * beginning are of an earlier run.
 */
export async function* tracked(
  events: AsyncGenerator<TrainEvent, void>,
  { config, store }: Pick<TrackedRun, 'config' | 'store'>,
  history: () => readonly (LogRow | EvalRow)[],
): AsyncGenerator<TrainEvent, void> {
  const names = [config.logging.backend].flat().filter((name) => name !== 'none');
  const name = config.logging.run_name ?? store.name.split(/[/\\]/).at(-1) ?? 'run';
  let trackers: Tracker[] | null = null;
  let seen = 0;
  const warnings: string[] = [];
  const giveUp = (tracker: string, error: unknown) => {
    warnings.push(`${tracker} gets no more of this run: ${(error as Error).message}`);
  };
  const tell = async (work: (tracker: Tracker) => Promise<void> | void) => {
    for (const tracker of [...(trackers ?? [])]) {
      try {
        await work(tracker);
      } catch (error) {
        giveUp(tracker.name, error);
        trackers = (trackers ?? []).filter((other) => other !== tracker);
      }
    }
  };
  try {
    for await (const event of events) {
      if (trackers === null) {
        trackers = [];
        seen = history().length;
        for (const backend of new Set(names)) {
          try {
            const open = await TRACKERS[backend]?.();
            if (open) trackers.push(await open({ config, store, name }));
          } catch (error) {
            giveUp(backend, error);
          }
        }
      }
      yield event;
      const rows = history();
      for (; seen < rows.length; seen++) await tell((tracker) => tracker.log(rows[seen] as LogRow | EvalRow));
      for (const message of warnings.splice(0)) yield { type: 'warning', message };
    }
  } finally {
    await tell((tracker) => tracker.close());
  }
  for (const message of warnings) yield { type: 'warning', message };
}
