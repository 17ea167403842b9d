/** Which ways to train a model fit the adapter of this machine, by the plan that a run would have. */
import { openModel } from '../../model/modelFiles.ts';
import { SftError } from '../../platform/errors.ts';
import { findBudget } from '../../train/budget.ts';
import type { Config } from '../../train/config.ts';
import { parseConfig } from '../../train/configCheck.ts';
import { gpuOptions } from '../../train/gpuOptions.ts';
import { requestDevice } from '../../train/library.ts';
import { openModelFolder } from '../../train/namedFiles.ts';
import { planOf, RunPlanner } from '../../train/planMemory.ts';
import { bytes } from '../format.ts';

export interface Proposal {
  readonly mode: Config['tuning']['mode'];
  readonly maxSeqLen: number;
  /** What it needs, and of how much: `1.21 GiB at batch size 4`. */
  readonly text: string;
  readonly device: string;
  /** `7.4 GiB for a run (…)`. */
  readonly budget: string;
}

/** The best come first: a length at which most rows are whole, then weights as they are before weights in 4 bits. */
const LENGTHS = [1024, 2048, 512, 256];
const MODES = ['lora', 'qlora', 'full'] as const;

/**
 * What fits, best first; empty where nothing does or there is no adapter. `name` is a folder or a hub id; only its config and the
 * headers of its weights are read. Throws `MODEL`.
 */
export async function propose(name: string): Promise<Proposal[]> {
  const config = parseConfig({ model: { name } });
  const gpu = await requestDevice(gpuOptions(config)).catch((error: unknown) => {
    if (error instanceof SftError && error.code === 'NO_GPU') return null;
    throw error;
  });
  if (!gpu) return [];
  await gpu.close();
  const files = await openModel(await openModelFolder({ name }, { need: 'config' }));
  try {
    const budget = await findBudget(config, gpu);
    const found: Proposal[] = [];
    for (const maxSeqLen of LENGTHS.filter((length) => length <= files.spec.rope.maxPositions)) {
      for (const mode of MODES) {
        const wanted = parseConfig({
          model: { name, max_seq_len: maxSeqLen },
          tuning: { mode, lora: { target_modules: 'all-linear' } },
        });
        const planner = new RunPlanner(files, wanted, gpu);
        const choice = planner.choose(budget);
        if (!choice.bytes) continue;
        const { peak_bytes, batch_size, gradient_checkpointing } = planOf(planner, choice);
        if (peak_bytes > budget.bytes) continue;
        const checkpointing = gradient_checkpointing ? ', gradient checkpointing' : '';
        found.push({
          mode,
          maxSeqLen,
          text: `${bytes(peak_bytes)} at batch size ${batch_size}${checkpointing}`,
          device: gpu.name,
          budget: `${bytes(budget.bytes)} for a run (${budget.source})`,
        });
      }
    }
    return found;
  } finally {
    await files.checkpoint.close();
  }
}
