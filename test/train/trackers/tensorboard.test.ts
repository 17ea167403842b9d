/** Event files by their bytes; `test/oracle/tensorboard.test.ts` has TensorBoard's own reader read them. */
import { expect, test } from 'vitest';
import { memoryStore } from '../../../src/platform/stores.ts';
import { parseConfig } from '../../../src/train/configCheck.ts';
import { openTensorboard } from '../../../src/train/trackers/tensorboard.ts';
import { stepsOfRecords } from './eventFiles.ts';

test('a file begins with its version and has a record for each row', async () => {
  const store = memoryStore('run');
  const tracker = await openTensorboard({ config: parseConfig({ model: { name: 'm' } }), store, name: 'run' });
  await tracker.log({ step: 300, epoch: 0.5, eval_loss: 0.25, eval_runtime: 2 });
  await tracker.close();
  const [file = ''] = await store.folder('runs').list();
  expect(file).toMatch(/^[A-Z][a-z]{2}\d\d_\d\d-\d\d-\d\d_.+\/events\.out\.tfevents\.\d{10}\..+\.\d+\.0$/);
  const bytes = (await store.read(`runs/${file}`)) ?? new Uint8Array(0);
  const view = new DataView(bytes.buffer);
  // The masked CRC-32C of the length 24, as in every file that TensorFlow writes.
  expect([view.getUint32(0, true), view.getUint32(4, true), view.getUint32(8, true)]).toEqual([24, 0, 0x224b7fa3]);
  const text = new TextDecoder('latin1').decode(bytes);
  expect(text).toContain('brain.Event:2');
  for (const tag of ['train/epoch', 'eval/loss', 'eval/runtime']) expect(text).toContain(tag);
  expect(stepsOfRecords(bytes)).toEqual([300]);
  expect(() => stepsOfRecords(bytes.subarray(0, -1))).toThrow();
});
