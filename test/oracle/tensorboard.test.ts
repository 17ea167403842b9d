/** Event files as TensorBoard reads them hold the rows of `trainer_state.json`, as float32. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openStore } from '../../src/platform/nodeFiles.ts';
import { parseConfig } from '../../src/train/configCheck.ts';
import { openTensorboard } from '../../src/train/trackers/tensorboard.ts';
import { python, runPython } from './python.ts';

it.skipIf(!python)('TensorBoard reads every value at its step', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'webgpu-sft-tensorboard-'));
  try {
    const store = await openStore(folder);
    const tracker = await openTensorboard({ config: parseConfig({ model: { name: 'm' } }), store, name: 'run' });
    const rows = Array.from({ length: 300 }, (_, i) => ({
      step: (i + 1) * 1000,
      epoch: i / 7,
      loss: Math.exp(-i / 50),
      grad_norm: 1 / (i + 1),
      learning_rate: 1e-7 * i,
      num_tokens: 2 ** 33 + i,
      tokens_per_second: 12.5,
    }));
    for (const row of rows) await tracker.log(row);
    await tracker.log({ step: 300_000, epoch: 42, eval_loss: 0.1, eval_runtime: 3 });
    await tracker.close();
    const [run] = await store.folder('runs').list();
    const read = runPython<Record<string, [number, number][]>>('event_files.py', [
      join(folder, 'runs', run?.split('/')[0] ?? ''),
    ]);
    expect(read['train/loss']).toEqual(rows.map(({ step, loss }) => [step, Math.fround(loss)]));
    expect(read['train/num_tokens']?.at(-1)).toEqual([300_000, Math.fround(2 ** 33 + 299)]);
    expect(read['eval/loss']).toEqual([[300_000, Math.fround(0.1)]]);
    expect(read['train/epoch']).toHaveLength(301);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
