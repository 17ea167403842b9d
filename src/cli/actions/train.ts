/** `webgpu-sft train`. */
import { openStore } from '#platform';
import type { Gpu } from '../../gpu/device.ts';
import { SftError } from '../../platform/errors.ts';
import type { Config } from '../../train/config.ts';
import { loadConfig } from '../../train/configFile.ts';
import type { StartEvent } from '../../train/events.ts';
import type { RunStage } from '../../train/openRows.ts';
import { type Rehearsal, rehearse } from '../../train/rehearse.ts';
import { openRun, type Run, type RunOptions } from '../../train/run.ts';
import { trainThroughLosses } from '../../train/survive.ts';
import type { Call } from '../command.ts';
import type { Dashboard } from '../dashboard/server.ts';
import { DEFAULT_PORT } from '../defaults.ts';
import { showError, toSftError } from '../errors.ts';
import { bytes, duration, shellQuote } from '../format.ts';
import { ownCommand } from '../ownCommand.ts';
import { stopSignals } from '../stopSignals.ts';
import { TrainView } from '../trainView.ts';

interface Options {
  readonly resumeFrom?: string;
  readonly dryRun?: boolean;
}

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const { terminal, quiet, verbose } = call;
  const { resumeFrom, dryRun = false } = call.options as Options;
  const { config, given, warnings } = await loadConfig(call.config);
  // A run does not depend on a terminal: when its window is closed, it goes on.
  terminal.onGone = () => {};
  process.on('SIGHUP', () => {});
  const view = new TrainView(terminal, { quiet, verbose, nextCommand: inferCommand(call, config) });
  const stop = stopSignals(terminal, () =>
    view.line('stopping as soon as this step is done and saved; again to stop at once'),
  );
  const { signal } = stop;
  try {
    const onProgress = (stage: RunStage) => view.stage(stage);
    const options = { config, given, warnings, resumeFrom, onProgress, signal };
    await (dryRun ? showRehearsal(options, view) : trainAndLog(options, view));
    return 0;
  } catch (error) {
    view.close();
    if (!signal.aborted || dryRun || (error instanceof SftError && error.code !== 'INTERRUPTED')) throw error;
    return showInterrupted(call, error);
  } finally {
    stop.release();
  }
}

/** Runs the training; each event is shown, and what is shown is kept in `training_log.txt`. */
async function trainAndLog(options: RunOptions, view: TrainView): Promise<void> {
  const keep = async () => {
    const lines = view.takeLog();
    if (lines !== '') await (await openStore(options.config.output_dir)).append('training_log.txt', lines);
  };
  let gpu: Gpu | undefined;
  const onRun = (run: Run) => {
    gpu = run.gpu;
  };
  let begun = false;
  const page = await openPage(options.config);
  try {
    if (page) view.line(`live page ${page.url}`);
    for await (const event of trainThroughLosses({ ...options, onRun })) {
      begun = true;
      if (gpu) view.event(event, gpu);
      await keep();
    }
  } catch (error) {
    const { code, message } = toSftError(error);
    view.note(`error[${code}]: ${message}`);
    // Before the run begins, the folder may belong to another one; after it has failed, so may the disk have.
    if (begun) await keep().catch(() => {});
    throw error;
  } finally {
    await page?.close();
  }
}

/** The live page of a run, where it is wanted: at the port that is asked for, else at the usual one or another that is free. */
async function openPage({ output_dir, logging }: Config): Promise<Dashboard | null> {
  const wanted = logging.dashboard;
  if (wanted === false) return null;
  const { serveDashboard } = await import('../dashboard/server.ts');
  if (wanted !== true) return serveDashboard(output_dir, wanted);
  return serveDashboard(output_dir, DEFAULT_PORT).catch(() => serveDashboard(output_dir, 0));
}

async function showRehearsal(options: RunOptions, view: TrainView): Promise<void> {
  const { trainer, gpu, warnings } = await openRun(options);
  try {
    const start = trainer.startEvent();
    view.begin(start);
    for (const warning of warnings) view.warn(warning);
    const onLoadProgress = (loaded: number, total: number) => view.stage({ stage: 'weights', loaded, total });
    showRehearsed(view, start, await rehearse(trainer, gpu, { onLoadProgress, signal: options.signal }));
  } finally {
    await gpu.close();
  }
}

function showRehearsed(view: TrainView, start: StartEvent, rehearsal: Rehearsal): void {
  const { microStepSeconds, optimizerSeconds, plannedBytes, measuredBytes } = rehearsal;
  const stepSeconds = start.gradient_accumulation_steps * microStepSeconds + optimizerSeconds;
  view.close();
  view.line(`measured  ${bytes(measuredBytes)} on the GPU, ${bytes(plannedBytes)} were planned`);
  view.line(
    `speed     at most ${stepSeconds.toFixed(2)} s a step, ${duration(stepSeconds * start.total_steps)} for all`,
  );
  view.line('dry run: nothing was trained and nothing was written');
}

/** Says that the run was stopped, and prints the line that continues it. */
function showInterrupted({ terminal, typed, debug }: Call, cause: unknown): number {
  const message = cause instanceof SftError ? cause.message : 'stopped before the first step; there is nothing to save';
  const error = new SftError('INTERRUPTED', message, { hint: 'this line continues the run:', cause });
  showError(terminal, error, debug);
  terminal.line('out', resumeCommand(typed));
  return error.exitCode;
}

/** The same command line with `--resume-from last`. */
export function resumeCommand(typed: readonly string[]): string {
  const kept = typed.filter((argument, index) => {
    if (argument === '--resume-from' || argument.startsWith('--resume-from=')) return false;
    return typed[index - 1] !== '--resume-from';
  });
  return ['webgpu-sft', 'train', ...kept, '--resume-from', 'last'].map(shellQuote).join(' ');
}

/** A command that talks to what was trained: with the config where that says all, else with the folders. */
function inferCommand({ config: { path, preset, overrides = [] } }: Call, config: Config): string {
  const prompt = ['--prompt', 'Hello!'];
  const folder = `${config.output_dir}/final_model`;
  const asWritten = path !== undefined && preset === undefined && overrides.length === 0;
  const model =
    config.tuning.mode === 'full' ? ['--model', folder] : ['--model', config.model.name, '--adapter', folder];
  const words = ['infer', ...(asWritten ? [path] : model), ...prompt];
  return [ownCommand(), ...words.map(shellQuote)].join(' ');
}
