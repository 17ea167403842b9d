/**
 * Replaces the folder `model` of a store, and kills itself before the n-th call that changes the disk.
 *
 *     node killedChild.mjs STORE N
 */
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { openStore } from '../../src/platform/nodeFiles.ts';
import { saveFolder } from '../../src/platform/stores.ts';

const [path = '', last = ''] = process.argv.slice(2);
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

const store = await openStore(path);
const probe = await fs.open(process.execPath);
for (const method of ['writeFile', 'sync', 'close']) count(Object.getPrototypeOf(probe), method);
for (const method of ['mkdir', 'open', 'rename', 'rm', 'unlink']) count(fs, method);
syncBuiltinESMExports();

await saveFolder(store, 'model', async (staged) => {
  await staged.write('weights/a', 'new');
  await staged.write('b', 'new');
});
