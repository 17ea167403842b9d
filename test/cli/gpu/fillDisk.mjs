/** Preloaded with `node --import`: the disk is full once FREE_BYTES were written through file handles. */
import { open } from 'node:fs/promises';

const handle = await open(new URL(import.meta.url));
const prototype = Object.getPrototypeOf(handle);
await handle.close();

const { writeFile } = prototype;
let free = Number(process.env.FREE_BYTES);

prototype.writeFile = async function (data, ...options) {
  free -= data.length;
  if (free < 0) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  return writeFile.call(this, data, ...options);
};
