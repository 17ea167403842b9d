/** `webgpu-sft memory-check`: the plan, from config.json and the headers of the weights alone. */
import {
  type Config,
  Gpu,
  type GpuTraits,
  gpuOptions,
  IMAGINED_GPU,
  largestBatchSize,
  openModel,
  openNamedFolder,
  planMemory,
} from '../../index.ts';
import { SftError } from '../../platform/errors.ts';
import { type Call, type CommandSpec, printJson, readConfig, say } from '../command.ts';
import { bar, bytes, table } from '../format.ts';

export const memoryCheck: CommandSpec = {
  json: 'the plan as one document',
  examples: ['webgpu-sft memory-check configs/lora_smollm2.yaml --set train.batch_size=8 --set memory.budget_gib=6'],
  async run(call) {
    const { config } = await readConfig(call);
    const files = await openModel(await openNamedFolder('model', config.model.name));
    const { device, traits } = await findTraits(call, config);
    const plan = planMemory(files, config, traits);
    const { budget_gib } = config.memory;
    const budget = budget_gib === null ? null : Math.floor(budget_gib * 2 ** 30);
    const most = budget === null ? null : largestBatchSize(files, config, traits, budget);
    await files.checkpoint.close();
    const fits = budget === null || plan.peak_bytes <= budget;
    if (call.json) {
      const { peak_bytes, categories, batch_size, gradient_accumulation_steps, gradient_checkpointing } = plan;
      const batch = { batch_size, gradient_accumulation_steps, gradient_checkpointing };
      printJson(call, { device, budget_bytes: budget, peak_bytes, fits, ...batch, categories, max_batch_size: most });
      return 0;
    }
    const { terminal } = call;
    const { bold, green, red } = terminal.colors.out;
    terminal.line('out', `${bold('device')}  ${device}`);
    const checkpointing = plan.gradient_checkpointing ? ', gradient checkpointing' : '';
    terminal.line(
      'out',
      `${bold('batch')}   ${plan.batch_size} x ${plan.gradient_accumulation_steps} rows of ${config.model.max_seq_len} tokens${checkpointing}`,
    );
    const rows = Object.entries(plan.categories).map(([category, count]) => {
      return [category, bytes(count), bar(count / plan.peak_bytes, 24)];
    });
    for (const line of table([...rows, ['together', bytes(plan.peak_bytes)]], [1])) terminal.line('out', line);
    if (budget === null) terminal.line('out', 'no budget is known; memory.budget_gib sets one');
    else {
      const verdict = fits ? green('fits into') : red('does not fit into');
      terminal.line('out', `${verdict} ${bytes(budget)}; the largest batch size that fits is ${most}`);
    }
    return 0;
  },
};

/** The adapter in use, or where there is none, one that is imagined. */
async function findTraits(call: Call, config: Config): Promise<{ device: string; traits: GpuTraits }> {
  try {
    const gpu = await Gpu.open(gpuOptions(config));
    const { name, family, subgroupSize, limits } = gpu;
    await gpu.close();
    return { device: name, traits: { family, subgroupSize, limits } };
  } catch (error) {
    if (!(error instanceof SftError) || error.code !== 'NO_GPU') throw error;
    const device = 'a GPU with shader-f16 and bindings of 2 GiB';
    say(call, `${error.message}; this is the plan for ${device}`);
    return { device: `no adapter; ${device}`, traits: IMAGINED_GPU };
  }
}
