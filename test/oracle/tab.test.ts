/**
 * The real model, SmolLM2-135M-Instruct, in the demo page: it comes by ranges from a server of this machine, is made into 4 bits,
 * learns two steps and answers.
 */
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, normalize } from 'node:path';
import type { Browser } from 'playwright';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readEnvironment } from '../../scripts/environment.mjs';
import { heapReader } from '../../scripts/workerHeap.mjs';
import { button, launch, status, visit } from '../demo/browser.ts';
import { serveDemo } from '../demo/serve.ts';
import { gsm8k, smollm2 } from './smollm2Folder.ts';

const MINUTES = 60_000;
const MIB = 2 ** 20;
const path = readEnvironment()?.chromium ? smollm2() : null;

/** A folder over HTTP, whole or in ranges, to pages of any origin. Also told: every request for weights. */
async function serveFolder(folder: string, onWeights: (range: string) => void): Promise<Server> {
  const server = createServer((request, response): unknown => {
    response.setHeader('Access-Control-Allow-Origin', '*').setHeader('Access-Control-Expose-Headers', '*');
    response.setHeader('Access-Control-Allow-Headers', 'Range');
    const file = join(folder, normalize(new URL(request.url ?? '/', 'http://localhost').pathname));
    if (request.method === 'OPTIONS') return response.writeHead(204).end();
    if (!existsSync(file) || !statSync(file).isFile()) return response.writeHead(404).end();
    const { size } = statSync(file);
    const { range = '' } = request.headers;
    if (file.endsWith('.safetensors')) onWeights(range);
    const [, from = '0', to = ''] = /^bytes=(\d+)-(\d*)$/.exec(range) ?? [];
    const [start, end] = [Number(from), to === '' ? size - 1 : Math.min(Number(to), size - 1)];
    if (range !== '') response.setHeader('Content-Range', `bytes ${start}-${end}/${size}`);
    response.setHeader('Accept-Ranges', 'bytes').setHeader('Content-Length', end - start + 1);
    response.writeHead(range === '' ? 200 : 206);
    if (request.method === 'HEAD') return response.end();
    return createReadStream(file, { start, end }).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

describe.skipIf(!path || !existsSync(gsm8k))('SmolLM2 in a tab', () => {
  let demo: Awaited<ReturnType<typeof serveDemo>>;
  let models: Server;
  let browser: Browser;
  const ranges: string[] = [];

  beforeAll(async () => {
    demo = await serveDemo(4310);
    models = await serveFolder(path!, (range) => ranges.push(range));
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    models?.close();
    await demo?.close();
  });

  test('loads with less than 300 MB of JavaScript heap, learns two steps as QLoRA, and chats', async () => {
    const model = `http://127.0.0.1:${(models.address() as AddressInfo).port}`;
    const set = '&set=train.batch_size:1&set=train.gradient_accumulation_steps:1';
    const at = `?model=${encodeURIComponent(model)}#data=sample&method=qlora&steps=2&length=64${set}`;
    const { page, complaints } = await visit(browser, { base: demo.url, at });
    const heap = await heapReader(page);
    const most = { used: 0, buffers: 0 };
    let watching = true;
    const watch = (async () => {
      while (watching) {
        const { used, buffers } = await heap();
        most.used = Math.max(most.used, used);
        most.buffers = Math.max(most.buffers, buffers);
        await page.waitForTimeout(20);
      }
    })();
    const plan = page.getByRole('region', { name: 'Memory plan' });
    await plan.getByText('it fits').waitFor({ timeout: 5 * MINUTES });
    await button(page, 'Start training').click();
    await expect.poll(() => status(page).textContent(), { timeout: 8 * MINUTES }).toMatch(/Step [12] of 2 · loss \d/);
    watching = false;
    await watch;
    const { size } = statSync(join(path!, 'model.safetensors'));
    const shown = (bytes: number) => `${(bytes / MIB).toFixed(0)} MiB`;
    console.log(`weights ${shown(size)}; heap at most ${shown(most.used)}, buffers ${shown(most.buffers)}`);
    expect(most.used).toBeGreaterThan(0);
    expect(most.used + most.buffers).toBeLessThan(300e6);
    expect(ranges.length).toBeGreaterThan(0);

    await expect.poll(() => status(page).textContent(), { timeout: 8 * MINUTES }).toMatch(/^Done\. Step 2 of 2/);
    await page.getByRole('textbox', { name: 'Message' }).fill('What is the capital of France?');
    await button(page, 'Send').click();
    const answer = page.getByRole('log', { name: 'Conversation' }).locator('[data-role="assistant"] p');
    await expect.poll(() => answer.textContent(), { timeout: 2 * MINUTES }).toMatch(/Paris/);
    expect(complaints).toEqual([]);
  });
});
