/**
 * Trains from the newest checkpoint of a folder, and kills itself before the n-th call that changes the disk or begins
 * work on the GPU. Prints how many of these calls there were when it comes to the end.
 *
 *     node killedRunChild.mjs MODEL STORE N
 */
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { Gpu } from '../../../src/gpu/device.ts';
import { openStore } from '../../../src/platform/nodeFiles.ts';
import { listCheckpoints } from '../../../src/train/checkpoint.ts';
import { Engine } from '../../../src/train/engine.ts';
import { reproducibleRun, train } from './fixtures.ts';

const [model = '', path = '', last = ''] = process.argv.slice(2);
let calls = 0;

// biome-ignore lint/suspicious/noExplicitAny: any method of any object
function count(target: any, method: string): void {
  const real = target[method];
  target[method] = function (this: unknown, ...values: unknown[]) {
    calls += 1;
    if (calls === Number(last)) process.kill(process.pid, 'SIGKILL');
    return real.apply(this, values);
  };
}

const gpu = await Gpu.open();
const store = await openStore(path);
const newest = (await listCheckpoints(store)).at(-1);
const probe = await fs.open(process.execPath);
for (const method of ['writeFile', 'sync', 'close']) count(Object.getPrototypeOf(probe), method);
await probe.close();
for (const method of ['mkdir', 'open', 'rename', 'rm', 'unlink']) count(fs, method);
for (const method of ['microStep', 'optimizerStep', 'evaluate']) count(Engine.prototype, method);
syncBuiltinESMExports();

// From the moment when the folder is ours: who dies before leaves a lock that counts for a few seconds.
const { lock } = store;
store.lock = async () => {
  calls = Number.NEGATIVE_INFINITY;
  const release = await lock();
  calls = 0;
  return release;
};
const run = { ...reproducibleRun(gpu, model, store), tracker: 'tensorboard' as const };
await train({ ...run, ...(newest && { resumeFrom: store.folder(newest.folder) }) });
await gpu.close();
process.stdout.write(String(calls));
