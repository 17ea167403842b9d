/**
 * Opens every adapter that Dawn finds in the surroundings given as JSON, and prints those that give a device. Run in a
 * child process: drivers crash, and a loader can be loaded once only.
 */
import { useAdapterEnvironment } from './environment.mjs';

useAdapterEnvironment(JSON.parse(process.argv[2]));
const { create } = await import('webgpu');

/** Dawn lists its adapters only in the error for a name that no adapter has. */
async function list() {
  try {
    await create(['adapter=\u0001']).requestAdapter();
    return [];
  } catch (error) {
    return [...error.message.matchAll(/backend: '([^']*)', name: '([^']*)'/g)].map(([, backend, name]) => ({
      backend,
      name,
    }));
  }
}

async function opens({ backend, name }) {
  try {
    const gpu = create([`backend=${backend}`, `adapter=${name}`]);
    const adapter = await gpu.requestAdapter();
    const device = await adapter.requestDevice();
    await device.queue.onSubmittedWorkDone();
    device.destroy();
    // Dawn crashes when `gpu` is collected while a device of it lives.
    return gpu !== null;
  } catch (error) {
    process.stderr.write(`${name} (${backend}) does not open: ${error.message}\n`);
    return false;
  }
}

const adapters = [];
for (const entry of await list()) {
  if (entry.backend !== 'null' && !adapters.some(({ name }) => name === entry.name) && (await opens(entry)))
    adapters.push(entry);
}
process.stdout.write(JSON.stringify(adapters));
