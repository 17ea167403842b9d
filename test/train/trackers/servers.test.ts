/** Trackers against local servers that speak their protocols; one that fails is given up and the run goes on. */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { memoryStore } from '../../../src/platform/stores.ts';
import type { ConfigInput } from '../../../src/train/config.ts';
import { parseConfig } from '../../../src/train/configCheck.ts';
import type { EvalRow, LogRow, TrainEvent } from '../../../src/train/events.ts';
import { tracked } from '../../../src/train/trackers/tracked.ts';

let server: Server | undefined;
afterEach(async () => {
  vi.unstubAllEnvs();
  server?.closeAllConnections();
  await new Promise((resolve) => (server ? server.close(resolve) : resolve(null)));
  server = undefined;
});

interface Asked {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: unknown;
}

/** A server that keeps what it is asked; `answer` gives status and JSON. */
async function serve(answer: (asked: Asked) => [number, unknown]): Promise<{ url: string; asked: Asked[] }> {
  const asked: Asked[] = [];
  server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
    });
    request.on('end', () => {
      const one = { path: request.url ?? '', headers: request.headers, body: JSON.parse(text || 'null') as unknown };
      asked.push(one);
      const [status, value] = answer(one);
      response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
    });
  });
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

const ROWS: (LogRow | EvalRow)[] = [
  { step: 1, epoch: 0.5, loss: 2.125, grad_norm: 1.5, learning_rate: 1e-4, num_tokens: 10, tokens_per_second: 5 },
  { step: 2, epoch: 1, loss: 1 / 3, grad_norm: 0.5, learning_rate: 5e-5, num_tokens: 20, tokens_per_second: 5 },
  { step: 2, epoch: 1, eval_loss: 0.7, eval_runtime: 0.1 },
];

/** Events of a run of two steps and an evaluation, with the rows that they add to `log_history`. */
async function run(logging: ConfigInput['logging']): Promise<TrainEvent[]> {
  const config = parseConfig({ model: { name: 'm' }, logging: { project: 'mine', run_name: 'first', ...logging } });
  const history: (LogRow | EvalRow)[] = [];
  async function* events(): AsyncGenerator<TrainEvent, void> {
    yield { type: 'warning', message: 'begin' };
    for (const row of ROWS) {
      history.push(row);
      yield 'loss' in row ? { type: 'step', ...row } : { type: 'eval', ...row };
    }
  }
  const told: TrainEvent[] = [];
  for await (const event of tracked(events(), { config, store: memoryStore('out/run') }, () => history))
    told.push(event);
  return told;
}

const complaints = (events: readonly TrainEvent[]) =>
  events.flatMap((event) => (event.type === 'warning' && event.message !== 'begin' ? [event.message] : []));

describe('Trackio', () => {
  test.each([200, 404])('gets every row with its step (a server whose first endpoint answers %i)', async (status) => {
    const { url, asked } = await serve(({ path }) => [path === '/api/bulk_log' ? status : 200, {}]);
    vi.stubEnv('TRACKIO_SERVER_URL', `${url}/`);
    vi.stubEnv('TRACKIO_WRITE_TOKEN', 'secret');
    expect(complaints(await run({ backend: 'trackio' }))).toEqual([]);
    const taken = asked.filter(({ path }) => path === (status === 200 ? '/api/bulk_log' : '/gradio_api/bulk_log'));
    const bodies = taken.map(
      ({ body }) => body as { project: string; run: string; metrics_list: object[]; steps: number[] },
    );
    expect(taken.every(({ headers }) => headers['x-trackio-write-token'] === 'secret')).toBe(true);
    expect(bodies.every(({ project, run: name }) => project === 'mine' && name === 'first')).toBe(true);
    expect(bodies.flatMap(({ steps }) => steps)).toEqual([1, 2, 2]);
    expect(bodies.flatMap(({ metrics_list: rows }) => rows)).toMatchObject([
      { 'train/loss': 2.125, 'train/learning_rate': 1e-4 },
      { 'train/loss': 1 / 3 },
      { 'eval/loss': 0.7, 'eval/runtime': 0.1 },
    ]);
  });

  test('nobody there, or a refusal: one warning, and all events', async () => {
    vi.stubEnv('TRACKIO_SERVER_URL', 'http://127.0.0.1:9');
    const events = await run({ backend: ['trackio', 'none'] });
    expect(complaints(events)).toEqual([
      expect.stringContaining('trackio gets no more of this run: http://127.0.0.1:9'),
    ]);
    expect(events).toHaveLength(ROWS.length + 2);
    const { url } = await serve(() => [401, {}]);
    vi.stubEnv('TRACKIO_SERVER_URL', url);
    expect(complaints(await run({ backend: 'trackio' }))).toEqual([expect.stringContaining('answered 401')]);
  });
});

describe('Weights & Biases', () => {
  /** What its servers answer to the calls of `@wandb/sdk`. */
  const answer = ({ body }: Asked): [number, unknown] => {
    const query = (body as { query?: string } | null)?.query ?? '';
    if (query.includes('Viewer')) {
      return [200, { data: { viewer: { id: '1', entity: 'me', flags: '{}', teams: { edges: [] } } } }];
    }
    if (!query.includes('UpsertBucket')) return [200, {}];
    const entity = { id: '3', name: 'me' };
    const project = { id: '2', name: 'mine', entity };
    const bucket = {
      id: '1',
      name: 'abc',
      displayName: 'first',
      description: '',
      config: '{}',
      sweepName: null,
      project,
    };
    return [200, { data: { upsertBucket: { bucket, inserted: true } } }];
  };

  test('gets every row with its step, and Ctrl-C stays ours', async () => {
    const { url, asked } = await serve(answer);
    vi.stubEnv('WANDB_BASE_URL', url);
    vi.stubEnv('WANDB_API_KEY', 'a'.repeat(40));
    const quiet = vi.spyOn(console, 'log').mockImplementation(() => {});
    const before = process.listenerCount('SIGINT');
    expect(complaints(await run({ backend: 'wandb' }))).toEqual([]);
    expect(process.listenerCount('SIGINT')).toBe(before);
    quiet.mockRestore();
    type Stream = { files?: Record<string, { content: string[] }> };
    const lines = asked.flatMap(({ body }) => (body as Stream | null)?.files?.['wandb-history.jsonl']?.content ?? []);
    const rows = lines.map((line) => JSON.parse(line) as Record<string, number>);
    expect(rows.find((row) => row._step === 1)).toMatchObject({ 'train/loss': 2.125 });
    expect(rows.find((row) => 'eval/loss' in row)).toMatchObject({ 'eval/loss': 0.7, _step: 2 });
  });

  test('a key that is refused is one warning', async () => {
    const loud = vi.spyOn(console, 'error').mockImplementation(() => {});
    const { url } = await serve(() => [401, { errors: [{ message: 'invalid key' }] }]);
    vi.stubEnv('WANDB_BASE_URL', url);
    vi.stubEnv('WANDB_API_KEY', 'a'.repeat(40));
    expect(complaints(await run({ backend: 'wandb' }))).toEqual([expect.stringMatching(/^wandb gets no more/)]);
    loud.mockRestore();
  });
});
