/** A run of the page, made again on Node from the files that the page has written: the same losses, the same adapter. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Browser } from 'playwright';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { readEnvironment, useAdapterEnvironment } from '../../scripts/environment.mjs';
import { parseConfig, train } from '../../src/index.ts';
import { button, launch, status, visit } from './browser.ts';

const SOFTWARE = 'SwiftShader';
const hasBoth = readEnvironment()?.adapters.some(({ name }: { name: string }) => name.includes(SOFTWARE)) ?? false;

/** What would else go by what an adapter has. */
const SET = '&set=train.batch_size:4&set=train.gradient_accumulation_steps:1&set=train.precision:float32';

describe.skipIf(!hasBoth)(`on ${SOFTWARE}`, () => {
  let browser: Browser;
  let folder = '';
  beforeAll(async () => {
    process.env['WEBGPU_SFT_ADAPTER'] = SOFTWARE;
    useAdapterEnvironment();
    folder = mkdtempSync(join(tmpdir(), 'webgpu-sft-page-'));
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test('a run in the page and one on Node are the same', { timeout: 240_000 }, async () => {
    const { page } = await visit(browser, { at: `#data=sample&steps=4${SET}` });
    await button(page, 'Start training').click({ timeout: 60_000 });
    await expect.poll(() => status(page).textContent(), { timeout: 180_000 }).toMatch(/^Done\. Step 4 of 4/);
    const files = await page.evaluate(async () => {
      const found: Record<string, number[]> = {};
      const walk = async (directory: FileSystemDirectoryHandle, path: string): Promise<void> => {
        for await (const [name, handle] of directory.entries()) {
          if (handle.kind === 'directory') await walk(handle as FileSystemDirectoryHandle, `${path}${name}/`);
          else if (!path.includes('models/')) {
            const bytes = await (await (handle as FileSystemFileHandle).getFile()).arrayBuffer();
            found[path + name] = [...new Uint8Array(bytes)];
          }
        }
      };
      await walk(await navigator.storage.getDirectory(), '');
      return found;
    });
    for (const [path, bytes] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), Uint8Array.from(bytes));
    }
    const at = (path: string) => join(folder, path);
    const run = Object.keys(files)
      .find((path) => path.endsWith('/config.yaml'))!
      .replace('/config.yaml', '');
    const config = parse(readFileSync(at(`${run}/config.yaml`), 'utf8'));
    const paths = Object.entries<string>(config.data).filter(([key, value]) => key.endsWith('_path') && value in files);
    expect(paths.map(([key]) => key)).toEqual(['train_path', 'val_path', 'test_path']);
    const losses: number[] = [];
    const again = parseConfig({
      ...config,
      output_dir: at('node'),
      model: { ...config.model, name: 'assets/tiny-llama' },
      data: { ...config.data, ...Object.fromEntries(paths.map(([key, path]) => [key, at(path)])) },
    });
    for await (const event of train(again)) if (event.type === 'step') losses.push(event.loss);

    const read = (path: string) => JSON.parse(readFileSync(at(path), 'utf8'));
    const { kernels, precision } = read('node/backend.json');
    expect(read(`${run}/backend.json`)).toMatchObject({ kernels, precision });
    expect(losses).toHaveLength(4);
    const lines = readFileSync(at(`${run}/events.jsonl`), 'utf8')
      .trimEnd()
      .split('\n');
    const events = lines.map((line) => JSON.parse(line) as { type: string; loss: number });
    expect(losses).toEqual(events.filter(({ type }) => type === 'step').map(({ loss }) => loss));
    const adapter = (path: string) => readFileSync(at(`${path}/adapter_model.safetensors`));
    const ours = Object.keys(files).find((path) => /final_model[^/]*\/adapter_model/.test(path))!;
    expect(Buffer.compare(adapter(dirname(ours)), adapter('node/final_model'))).toBe(0);
  });
});
