/** `webgpu-sft eval`: answers of the model to held-out rows, and what they are worth. */
import { openStore } from '#platform';
import type { Split } from '../../data/split.ts';
import { SftError } from '../../platform/errors.ts';
import {
  type EvalData,
  type EvalPlan,
  evalLength,
  type Measured,
  measure,
  openEvalData,
  openEvalPlan,
} from '../../train/evaluation.ts';
import { gpuOptions } from '../../train/gpuOptions.ts';
import { requestDevice } from '../../train/library.ts';
import { openText } from '../../train/openText.ts';
import { type ChosenModel, chooseModel, openChosenAdapter } from '../chosenModel.ts';
import { type Call, printJson, say } from '../command.ts';
import { counter } from '../counter.ts';
import { showSources } from '../downloads.ts';
import { counted, digits, duration, table } from '../format.ts';
import { loadChosen } from '../loadChosen.ts';
import { stopSignals } from '../stopSignals.ts';

interface Options {
  readonly split: Split;
  readonly quick?: boolean;
  readonly limit?: number;
  readonly compareBase?: boolean;
}

/** `metrics.json`. */
interface Report {
  readonly split: Split;
  readonly n: number;
  readonly metrics: Measured['metrics'];
  /** With --compare-base: those of the base model. */
  readonly base?: Measured['metrics'];
}

const FILES = { metrics: 'metrics.json', examples: 'examples.jsonl' } as const;

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const { split, compareBase } = call.options as unknown as Options;
  const chosen = await chooseModel(call);
  const { config } = chosen;
  const base = compareBase ? baseOf(chosen) : null;
  const plan = await openEvalPlan(config);
  const { signal } = stopSignals(call.terminal);
  const data = await readRows(call, chosen, plan, signal);
  const begun = performance.now();
  const trained = await measureOne(call, chosen, plan, data, signal);
  const untrained = base && (await measureOne(call, base, plan, data, signal));
  const report: Report = {
    split,
    n: rowsOf(data),
    metrics: trained.metrics,
    ...(untrained && { base: untrained.metrics }),
  };
  await write(config.output_dir, report, trained, untrained);
  if (call.json) printJson(call, report);
  else show(call, chosen, report, (performance.now() - begun) / 1000);
  return 0;
}

/** Throws `ARGUMENT` where nothing was trained that could be left out. */
function baseOf({ config, model, adapter }: ChosenModel): ChosenModel {
  if (adapter !== null) return { config, model, adapter: null };
  if (model.name !== config.model.name) return { config, model: config.model, adapter: null };
  throw new SftError('ARGUMENT', `--compare-base: expected an adapter or a trained model, got ${model.name} alone`, {
    hint: 'name an adapter with --adapter, or leave --compare-base out',
  });
}

async function readRows(call: Call, { config, model, adapter }: ChosenModel, plan: EvalPlan, signal: AbortSignal) {
  const { split, quick, limit = config.eval.limit ?? undefined } = call.options as unknown as Options;
  const { terminal, quiet } = call;
  const folder = adapter === null ? undefined : await openChosenAdapter(call, { config, adapter }, signal);
  const text = await openText(
    { ...config, model: { ...config.model, ...model } },
    { ...showSources(call), adapter: folder },
  );
  const most = quick ? Math.min(config.eval.quick_limit, limit ?? Number.POSITIVE_INFINITY) : limit;
  const data = await openEvalData(config, split, plan, text, {
    limit: most,
    signal,
    onProgress(stage) {
      if (stage.stage === 'rows' && !quiet) terminal.setStatus('err', `reading ${stage.file}: ${stage.rows} rows`);
    },
  });
  terminal.setStatus('err', null);
  return data;
}

function rowsOf({ prompts, rows }: EvalData): number {
  return prompts.length > 0 ? prompts.length : rows.length;
}

/** Each on a device of its own, so that the second one has all of the memory. */
async function measureOne(
  call: Call,
  chosen: ChosenModel,
  plan: EvalPlan,
  data: EvalData,
  signal: AbortSignal,
): Promise<Measured> {
  const { config, model, adapter } = chosen;
  const gpu = await requestDevice(gpuOptions(config));
  try {
    const maxLength = evalLength(data, config);
    const loaded = await loadChosen(call, chosen, gpu, { maxLength, signal });
    const who = adapter ?? model.name;
    const losses = counter(call, `${who}: the loss of`, data.rows.length);
    const answers = counter(call, `${who}: answered`, data.prompts.length);
    const measured = await measure(loaded, data, plan, config, {
      signal,
      onProgress: (doing, done) => (doing === 'loss' ? losses : answers)(done),
    });
    await loaded.close();
    return measured;
  } finally {
    call.terminal.setStatus('err', null);
    await gpu.close();
  }
}

/** The metrics last: where they are, the examples are theirs. */
async function write(folder: string, report: Report, trained: Measured, base: Measured | null): Promise<void> {
  const store = await openStore(folder);
  const rows = trained.examples.map(({ row, prompt, source, prediction, reference }, index) => ({
    row,
    prompt,
    source,
    prediction,
    ...(base && { base_prediction: base.examples[index]?.prediction }),
    reference,
  }));
  await store.remove(FILES.metrics);
  if (rows.length === 0) await store.remove(FILES.examples);
  else await store.write(FILES.examples, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  await store.write(FILES.metrics, `${JSON.stringify(report, null, 2)}\n`);
}

function show(call: Call, { config, model, adapter }: ChosenModel, report: Report, seconds: number): void {
  const { terminal } = call;
  const { bold } = terminal.colors.out;
  const { split, n, metrics, base } = report;
  const head = ['', adapter === null ? 'model' : 'adapter', ...(base ? ['base'] : [])];
  const rows = Object.entries(metrics).map(([name, value]) => [
    name,
    ...[value, ...(base ? [base[name] ?? Number.NaN] : [])].map((one) => digits(one, 4)),
  ]);
  const [first = '', ...rest] = table([head, ...rows], [1, 2]);
  terminal.line('out', bold(first));
  for (const line of rest) terminal.line('out', line);
  const path = config.data[`${split}_path`] ?? '';
  say(call, `${counted(n, 'row')} of ${path}, ${duration(seconds)}, ${adapter ?? model}`);
  const examples = Object.keys(metrics).some((name) => name !== 'loss' && name !== 'perplexity');
  say(call, `${config.output_dir}/${FILES.metrics}${examples ? `, ${config.output_dir}/${FILES.examples}` : ''}`);
}
