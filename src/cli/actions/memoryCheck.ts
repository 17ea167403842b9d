/** `webgpu-sft memory-check`: the plan, from config.json and the headers of the weights alone. */
import { Gpu, type GpuTraits } from '../../gpu/device.ts';
import { openModel } from '../../model/modelFiles.ts';
import { SftError } from '../../platform/errors.ts';
import { type Budget, findBudget } from '../../train/budget.ts';
import type { Config } from '../../train/config.ts';
import { gpuOptions } from '../../train/gpuOptions.ts';
import { openModelFolder } from '../../train/namedFiles.ts';
import { IMAGINED_GPU, type MemoryPlan, planOf, RunPlanner } from '../../train/planMemory.ts';
import { describeChange, type Remedy, remedies } from '../../train/remedies.ts';
import { type Call, printJson, say } from '../command.ts';
import { showSources } from '../downloads.ts';
import { bar, bytes, shellQuote, table } from '../format.ts';
import { ownCommand } from '../ownCommand.ts';
import { readConfig } from '../readConfig.ts';

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const { config } = await readConfig(call);
  const files = await openModel(await openModelFolder(config.model, { need: 'config', ...showSources(call) }));
  try {
    const { device, traits, budget } = await findDevice(call, config);
    const planner = new RunPlanner(files, config, traits);
    const choice = planner.choose(budget);
    const plan = planOf(planner, choice);
    const most = budget && planner.largestBatchSize(budget.bytes, plan.gradient_checkpointing);
    const fits = budget === null || plan.peak_bytes <= budget.bytes;
    if (call.json) {
      const { peak_bytes, categories, batch_size, gradient_accumulation_steps, gradient_checkpointing } = plan;
      const batch = { batch_size, gradient_accumulation_steps, gradient_checkpointing };
      const budget_bytes = budget?.bytes ?? null;
      printJson(call, { device, budget_bytes, peak_bytes, fits, ...batch, categories, max_batch_size: most });
      return 0;
    }
    show(call, device, config, plan, choice.reason, budget, most);
    const found = fits ? [] : remedies({ files, config, traits }, choice, budget);
    showRemedies(call, found);
    say(call, nextStep(call, fits, found));
    return 0;
  } finally {
    await files.checkpoint.close();
  }
}

/** What to do with the answer. */
function nextStep(call: Call, fits: boolean, found: readonly Remedy[]): string {
  const { path } = call.config;
  const config = path === undefined ? 'CONFIG' : shellQuote(path);
  if (fits) return `next: ${ownCommand()} train ${config}`;
  const [best] = found.filter((remedy) => remedy.fits);
  if (!best) return 'next: no single change is enough: combine several of them, or use a smaller model';
  const flags = Object.entries(best.set).map(([key, value]) => `--set ${shellQuote(`${key}=${value}`)}`);
  return `next: ${ownCommand()} train ${config} ${flags.join(' ')}`;
}

const BAR = 24;

function show(
  { terminal }: Call,
  device: string,
  { model }: Config,
  plan: MemoryPlan,
  reason: string,
  budget: Budget | null,
  most: number | null,
): void {
  const { bold, green, red } = terminal.colors.out;
  const line = (text: string) => terminal.line('out', text);
  line(`${bold('device')}  ${device}`);
  const checkpointing = plan.gradient_checkpointing ? ', gradient checkpointing' : '';
  const batch = `${plan.batch_size} x ${plan.gradient_accumulation_steps}`;
  line(`${bold('batch')}   ${batch} rows of ${model.max_seq_len} tokens${checkpointing}`);
  line(`${bold('why')}     ${reason}`);
  const rows = Object.entries(plan.categories).map(([category, count]) => {
    return [category, bytes(count), bar(count / plan.peak_bytes, BAR)];
  });
  const together = ['together', bytes(plan.peak_bytes)];
  if (budget === null) {
    for (const row of table([...rows, together], [1])) line(row);
    line('no budget is known; memory.budget_gib sets one');
    return;
  }
  const share = plan.peak_bytes / budget.bytes;
  const used = [...together, `${bar(share, BAR)} ${Math.round(100 * share)} % of the budget`];
  for (const row of table([...rows, used, ['budget', bytes(budget.bytes), budget.source]], [1])) line(row);
  const verdict = share <= 1 ? green('fits') : red('does not fit');
  line(`${verdict}; the largest batch size that fits is ${most}`);
}

function showRemedies({ terminal }: Call, found: readonly Remedy[]): void {
  if (found.length === 0) return;
  terminal.line('out', `${terminal.colors.out.bold('change')}, each alone:`);
  const rows = found.map(({ set, saving_bytes, peak_bytes, fits }) => [
    `  ${describeChange(set)}`,
    `saves ${bytes(saving_bytes)}`,
    `then ${bytes(peak_bytes)}`,
    fits ? 'fits' : '',
  ]);
  for (const row of table(rows)) terminal.line('out', row);
}

/** The adapter in use with its budget, or where there is none, an adapter that is imagined. */
async function findDevice(
  call: Call,
  config: Config,
): Promise<{ device: string; traits: GpuTraits; budget: Budget | null }> {
  try {
    const gpu = await Gpu.open(gpuOptions(config));
    const { name, software, family, subgroupSize, nativeF16, limits } = gpu;
    await gpu.close();
    const traits = { family, subgroupSize, nativeF16, limits };
    return { device: name, traits, budget: await findBudget(config, { name, software }) };
  } catch (error) {
    if (!(error instanceof SftError) || error.code !== 'NO_GPU') throw error;
    const device = 'a GPU with shader-f16 and bindings of 2 GiB';
    say(call, `${error.message}; this is the plan for ${device}`);
    const known = config.memory.budget_gib !== null;
    const budget = known ? await findBudget(config, { name: '', software: false }) : null;
    return { device: `no adapter; ${device}`, traits: IMAGINED_GPU, budget };
  }
}
