/** The stream of the live page: every event once, also after a cut, and for this machine only. */
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Dashboard, serveDashboard } from '../../src/cli/dashboard/server.ts';
import { findRuns, readEvents } from '../../src/cli/dashboard/tail.ts';

let folder = '';
let page: Dashboard | null = null;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'webgpu-sft-dashboard-'));
});
afterEach(async () => {
  await page?.close();
  page = null;
  rmSync(folder, { recursive: true, force: true });
});

const event = (step: number) => `${JSON.stringify({ type: 'step', step, text: '東京 🙂' })}\n`;

function writeRun(name: string, steps: number): string {
  mkdirSync(join(folder, name), { recursive: true });
  const file = join(folder, name, 'events.jsonl');
  writeFileSync(file, Array.from({ length: steps }, (_, i) => event(i + 1)).join(''));
  return file;
}

/** Reads the stream until `enough` says so; the id of the last message, and the steps of each run in their order. */
async function read(
  url: string,
  enough: (steps: Record<string, number[]>) => boolean,
  lastId?: string,
): Promise<{ id: string; steps: Record<string, number[]> }> {
  const steps: Record<string, number[]> = {};
  let id = '';
  const headers = lastId === undefined ? {} : { 'Last-Event-ID': lastId };
  const response = await fetch(`${url}events`, { headers });
  let rest = '';
  const decoder = new TextDecoder();
  for await (const bytes of response.body ?? []) {
    rest += decoder.decode(bytes as Uint8Array, { stream: true });
    const messages = rest.split('\n\n');
    rest = messages.pop() ?? '';
    for (const message of messages) {
      const data = /^data: (.*)$/m.exec(message)?.[1];
      if (data === undefined) continue;
      id = /^id: (.*)$/m.exec(message)?.[1] ?? '';
      const { run, events } = JSON.parse(data) as { run: string; events: { step: number }[] };
      steps[run] = [...(steps[run] ?? []), ...events.map(({ step }) => step)];
      // Leaving the loop cuts the connection.
      if (enough(steps)) return { id, steps };
    }
  }
  return { id, steps };
}

const upTo = (last: number, first = 1) => Array.from({ length: last - first + 1 }, (_, i) => first + i);

test('every run, every event once; what came while the page was away comes when it is back', async () => {
  const file = writeRun('a', 3);
  writeRun('deep/b', 2);
  page = await serveDashboard(folder, 0);
  const first = await read(page.url, ({ a = [], 'deep/b': b = [] }) => a.length + b.length === 5);
  expect(first.steps).toEqual({ a: upTo(3), 'deep/b': upTo(2) });
  appendFileSync(file, `${event(4)}${event(5)}${event(6).slice(0, 20)}`);
  const second = await read(page.url, ({ a = [] }) => a.length === 2, first.id);
  expect(second.steps).toEqual({ a: [4, 5] });
  appendFileSync(file, event(6).slice(20));
  writeRun('new', 1);
  const third = await read(page.url, ({ a = [], new: fresh = [] }) => a.length + fresh.length === 2, second.id);
  expect(third.steps).toEqual({ a: [6], new: [1] });
});

test('a page that is left open gets the run of another folder from its beginning, and what was written last before the end', async () => {
  writeRun('a', 5);
  page = await serveDashboard(join(folder, 'a'), 0);
  const { id } = await read(page.url, ({ a = [] }) => a.length === 5);
  await page.close();
  const file = writeRun('b', 7);
  const next = await serveDashboard(join(folder, 'b'), 0);
  const whole = read(next.url, () => false, id);
  await new Promise((resolve) => setTimeout(resolve, 100));
  appendFileSync(file, event(8));
  await next.close();
  expect((await whole).steps).toEqual({ b: upTo(8) });
});

test('a run that is begun anew is told from its beginning', async () => {
  writeRun('.', 5);
  const { end } = await readEvents(folder, '.', 0);
  writeRun('.', 2);
  expect(await findRuns(folder)).toEqual(['.']);
  expect((await readEvents(folder, '.', end)).lines).toHaveLength(2);
});

test('only this machine, by its own name', async () => {
  page = await serveDashboard(folder, 0);
  const { port } = new URL(page.url);
  const status = (host: string, path = '/events') =>
    new Promise<number | undefined>((resolve, reject) => {
      const call = request({ host: '127.0.0.1', port, path, headers: { host } }, (response) => {
        resolve(response.statusCode);
        response.destroy();
      });
      call.on('error', reject).end();
    });
  expect(await status(`localhost:${port}`)).toBe(200);
  expect(await status('evil.example')).toBe(403);
  expect(await status(`127.0.0.1.evil.example:${port}`)).toBe(403);
  expect(await status('localhost', '/../../package.json')).toBe(404);
});

test('a port that is taken', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as AddressInfo;
  await expect(serveDashboard(folder, port)).rejects.toMatchObject({
    code: 'IO',
    message: `port ${port}: expected a free port, another program uses it`,
  });
  await new Promise((resolve) => other.close(resolve));
});
