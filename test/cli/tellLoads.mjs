/** Preloaded with `node --import`: appends the URL of each module that is loaded to the file LOADED. */
import { appendFileSync } from 'node:fs';
import { register } from 'node:module';
import { isMainThread } from 'node:worker_threads';

if (isMainThread) register(import.meta.url);

export async function load(url, _context, next) {
  appendFileSync(process.env.LOADED, `${url}\n`);
  return next(url);
}
