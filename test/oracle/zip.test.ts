/** The zip that a page gives away loads in PEFT, with the logits that the page has. Needs WEBGPU_SFT_ORACLE_PYTHON. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { Gpu } from '../../src/gpu/device.ts';
import { openFolder } from '../../src/platform/nodeFiles.ts';
import { parseConfig } from '../../src/train/configCheck.ts';
import { train } from '../../src/train/library.ts';
import { zipFolder } from '../../src/worker/zip.ts';
import { rowLogits } from './inference.ts';
import { python, runPython } from './python.ts';

const asset = (path: string) => fileURLToPath(new URL(`../../assets/${path}`, import.meta.url));
const IDS = [1, 300, 20, 417, 9, 33, 800, 512, 64, 7];

describe.skipIf(!python)('a downloaded adapter', () => {
  let folder = '';
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('has the same logits in PEFT', async () => {
    folder = await mkdtemp(join(tmpdir(), 'sft-zip-'));
    const config = parseConfig({
      output_dir: join(folder, 'run'),
      model: { name: asset('tiny-llama'), max_seq_len: 128 },
      tuning: { mode: 'lora', lora: { r: 4, alpha: 8, dropout: 0, target_modules: 'all-linear' } },
      train: { max_steps: 3, batch_size: 2, learning_rate: 0.02, eval_strategy: 'no', save_strategy: 'no' },
      data: { train_path: asset('json-requests/train.jsonl'), val_path: null, test_path: null },
    });
    for await (const event of train(config)) expect(event.type).not.toBe('eval');
    const adapter = join(folder, 'run/final_model');
    const zip = await zipFolder(await openFolder(adapter), 'adapter', {
      here: asset('tiny-llama'),
      elsewhere: 'tiny-llama',
    });
    const archive = join(folder, 'adapter.zip');
    await writeFile(archive, Buffer.from(await zip.arrayBuffer()));

    const { after, moved } = runPython<{ after: number[]; moved: number }>(
      'zip.py',
      [asset('tiny-llama'), archive],
      IDS,
    );
    const gpu = await Gpu.open();
    const ours = await rowLogits(gpu, asset('tiny-llama'), IDS, adapter);
    await gpu.close();
    const largest = Math.max(...after.map(Math.abs));
    const worst = Math.max(...ours.map((value, index) => Math.abs(value - (after[index] ?? Number.NaN))));
    expect(ours).toHaveLength(after.length);
    expect(moved).toBeGreaterThan(0.1);
    expect(worst / largest).toBeLessThan(1e-5);
  });
});
