/** `webgpu-sft merge`. */
import { basename, dirname, resolve } from 'node:path';
import { openStore } from '#platform';
import type { LogitDifference } from '../../eval/compareLogits.ts';
import { type MergeBase, type MergeDtype, type MergeReport, mergeJson } from '../../model/merge.ts';
import type { QuantizationOptions } from '../../model/quantization.ts';
import { MERGE_FILE } from '../../model/recordFiles.ts';
import { SftError } from '../../platform/errors.ts';
import type { Config } from '../../train/config.ts';
import { gpuOptions } from '../../train/gpuOptions.ts';
import { compareModels, type ModelChoice, mergeAdapter, requestDevice } from '../../train/library.ts';
import { quantizationOf } from '../../train/planMemory.ts';
import { chooseModel, openChosen, openChosenAdapter } from '../chosenModel.ts';
import { type Call, say, warn } from '../command.ts';
import { shellQuote } from '../format.ts';
import { ownCommand } from '../ownCommand.ts';
import { refuseForeign } from '../ownFolder.ts';

interface Options {
  readonly out?: string;
  readonly dtype: MergeDtype;
  readonly base?: MergeBase;
}

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const { terminal, quiet } = call;
  const { dtype, base, out: wanted } = call.options as unknown as Options;
  const chosen = await chooseModel(call);
  const { config, adapter } = chosen;
  if (adapter === null) {
    const full = call.config.path !== undefined;
    throw new SftError('ARGUMENT', 'merge: expected an adapter, got none', {
      hint: full ? 'a full fine-tune is a whole model already' : 'name one with --adapter',
    });
  }
  const out = resolve(wanted ?? `${config.output_dir}/merged`);
  await refuseForeign(out, MERGE_FILE, 'merge');
  const quantization = quantizationWhileTraining(call, config, base);
  const source = await openChosenAdapter(call, { config, adapter });
  const model = await openChosen(call, chosen);
  const report = await mergeAdapter(model, source, dirname(out), basename(out), {
    dtype,
    base,
    quantization,
    onProgress(done, total) {
      if (!quiet) terminal.setStatus('err', `merging tensor ${done} of ${total}`);
    },
  });
  terminal.setStatus('err', null);
  const shown = wanted ?? `${config.output_dir}/merged`;
  const weights = report.quantization === null ? '' : `${report.base_weights} weights of `;
  say(call, `merged ${adapter} into ${weights}${model.name}, as ${dtype}: ${shown}`);
  if (report.weight_error) await measure(call, config, { model, adapter: source, quantization }, report, out);
  say(call, `try: ${ownCommand()} infer --model ${shellQuote(shown)} --prompt 'Hello!'`);
  return 0;
}

/** How the base was stored while the adapter was trained: as the config says, or as is usual where a flag alone says so. */
function quantizationWhileTraining(
  call: Call,
  { tuning }: Config,
  base: MergeBase | undefined,
): QuantizationOptions | null {
  if (call.config.path !== undefined) return quantizationOf(tuning);
  return base === 'dequantized' ? quantizationOf({ ...tuning, mode: 'qlora' }) : null;
}

/** Tells, and adds to the report, how far the merged model is from the one that was trained. */
async function measure(
  call: Call,
  config: Config,
  trained: ModelChoice,
  report: MergeReport,
  out: string,
): Promise<void> {
  const { original, dequantized } = report.weight_error ?? {};
  const parts = Object.entries({ original, dequantized }).filter(([, error]) => typeof error === 'number');
  const errors = parts.map(([base, error]) => `${percent(error as number)} in ${base} ones`);
  say(call, `merged weights differ from those that were trained by ${errors.join(', ')}`);
  let logits: LogitDifference;
  try {
    const gpu = await requestDevice(gpuOptions(config));
    try {
      if (!call.quiet) call.terminal.setStatus('err', 'comparing predictions');
      logits = await compareModels(gpu, { model: out }, trained);
    } finally {
      call.terminal.setStatus('err', null);
      await gpu.close();
    }
  } catch (error) {
    if (!(error instanceof SftError)) throw error;
    // The model is merged; a machine that cannot run it can still do that.
    warn(call, `the difference of the logits was not measured: ${error.message}`);
    return;
  }
  const store = await openStore(dirname(out));
  await store.write(`${basename(out)}/${MERGE_FILE}`, mergeJson({ ...report, logit_error: logits }));
  const { relative, same_token, positions } = logits;
  say(
    call,
    `logits differ by ${percent(relative)}, ${percent(same_token, 3)} of ${positions} first choices are the same`,
  );
}

function percent(share: number, digits = 2): string {
  return `${Number((share * 100).toPrecision(digits))} %`;
}
