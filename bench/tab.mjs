/**
 * `npm run bench tab [-- --json]`: training in a tab against training on Node, on the same SwiftShader and in turns; 1000 steps
 * without a break; and what the demo page costs before anything is chosen. Needs the Chromium of the tests.
 *
 * Tab against Node is by the clock: the two sides take turns, and the ratio is that of their medians. The 1000 steps, which take
 * minutes, are by the CPU seconds of the browser's processes, as other work on the machine comes and goes meanwhile.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { chromium } from 'playwright';
import { preview } from 'vite';
import { launchOptions } from '../scripts/chromium.mjs';
import { root } from '../scripts/common.mjs';
import { buildDemo, demoFolder } from '../scripts/demo.mjs';
import { readEnvironment } from '../scripts/environment.mjs';
import { heapReader } from '../scripts/workerHeap.mjs';

const ROUNDS = 3;
const STEPS = 60;
/** Steps whose time is not counted: pipelines are compiled in them. */
const WARM_UP = 10;
const LONG = 1000;
const PART = 100;

const ROWS = 'assets/json-requests/train.jsonl';
const settings = (steps) => ({
  tuning: { mode: 'lora', lora: { r: 16, alpha: 32, dropout: 0, target_modules: 'all-linear' } },
  train: {
    max_steps: steps,
    batch_size: 4,
    gradient_accumulation_steps: 1,
    learning_rate: 1e-3,
    precision: 'float32',
    eval_strategy: 'no',
    save_strategy: 'no',
  },
});

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

/** Tokens a second between two entries of a list of `{ at, tokens }`, `at` in milliseconds. */
function speedOf(marks, from, to) {
  return ((marks[to].tokens - marks[from].tokens) / (marks[to].at - marks[from].at)) * 1000;
}

const report = (name, ours, reference, unit, note) => ({ name, ours, reference, ratio: ours / reference, unit, note });

/** The repository over HTTP, with an empty page at its root. */
async function serveRepository() {
  const types = { '.js': 'text/javascript', '.json': 'application/json' };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    if (pathname === '/')
      return response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>bench</title>');
    try {
      const body = readFileSync(join(root, decodeURIComponent(pathname)));
      response.setHeader('Content-Type', types[extname(pathname)] ?? 'application/octet-stream').end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

/** A tab with an engine in a worker, the embedded model and the embedded rows. */
async function openTab(browser, url) {
  const page = await browser.newPage();
  await page.goto(url);
  await page.evaluate(async (rows) => {
    const { createWorkerTrainer } = await import('/dist/browser/client.js');
    const engine = createWorkerTrainer();
    const model = await engine.fetchModel({ kind: 'url', url: new URL('/assets/tiny-llama/', location.href).href });
    const file = new File([await (await fetch(`/${rows}`)).blob()], 'rows.jsonl');
    const { paths } = await engine.addData([file], { split: [1, 0, 0] });
    globalThis.train = async (chosen, onStep) => {
      const marks = [];
      const name = `runs/${performance.now()}`;
      const config = { ...chosen, output_dir: name, model: { name: model.path, max_seq_len: 128 }, data: paths };
      for await (const event of engine.train(config)) {
        if (event.type !== 'step') continue;
        marks.push({ at: performance.now(), tokens: event.num_tokens });
        await onStep?.(event.num_tokens);
      }
      return marks;
    };
  }, ROWS);
  return page;
}

async function trainOnNode(library, steps) {
  const folder = mkdtempSync(join(tmpdir(), 'sft-bench-'));
  const config = library.parseConfig({
    ...settings(steps),
    output_dir: join(folder, 'run'),
    model: { name: join(root, 'assets/tiny-llama'), max_seq_len: 128 },
    data: { train_path: join(root, ROWS), val_path: null, test_path: null },
  });
  const marks = [];
  for await (const event of library.train(config)) {
    if (event.type === 'step') marks.push({ at: performance.now(), tokens: event.num_tokens });
  }
  rmSync(folder, { recursive: true });
  return marks;
}

/** CPU seconds of all processes of a browser so far, and the id of the one that does the work of the GPU. */
async function processReader(browser) {
  const session = await browser.newBrowserCDPSession();
  return async () => {
    const { processInfo } = await session.send('SystemInfo.getProcessInfo');
    return {
      seconds: processInfo.reduce((sum, { cpuTime }) => sum + cpuTime, 0),
      gpu: processInfo.find(({ type }) => type === 'GPU').id,
    };
  };
}

/** Bytes of main memory that a process holds. Linux only. */
function residentBytes(id) {
  return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${id}/status`, 'utf8'))?.[1]);
}

async function* speeds(page, library) {
  const sides = { tab: [], node: [] };
  for (let round = 0; round < ROUNDS; round++) {
    const tab = await page.evaluate((chosen) => globalThis.train(chosen), settings(STEPS));
    sides.tab.push(speedOf(tab, WARM_UP, STEPS - 1));
    sides.node.push(speedOf(await trainOnNode(library, STEPS), WARM_UP, STEPS - 1));
  }
  yield report('tab ÷ Node', median(sides.tab), median(sides.node), 'tokens/s', 'goal 0.9; SwiftShader, by the clock');
}

async function* steadiness(browser, page) {
  const heap = await heapReader(page);
  const processes = await processReader(browser);
  const marks = [];
  const sizes = [];
  await page.exposeFunction('onStep', async (tokens) => {
    const { seconds, gpu } = await processes();
    marks.push({ at: seconds * 1000, tokens });
    if (marks.length === PART || marks.length === LONG - PART)
      sizes.push({ heap: (await heap({ collect: true })).used, gpu: residentBytes(gpu) });
  });
  await page.evaluate((chosen) => globalThis.train(chosen, globalThis.onStep), settings(LONG));
  const [early, late] = sizes;
  yield report(
    'tab: last 100 ÷ first 100 of 1000 steps',
    speedOf(marks, LONG - 1 - PART, LONG - 1),
    speedOf(marks, WARM_UP, WARM_UP + PART),
    'tokens/CPU-s',
    'goal 0.98',
  );
  yield report(
    'tab: JavaScript heap, step 900 ÷ step 100',
    late.heap,
    early.heap,
    'bytes',
    'of the worker, after a collection',
  );
  yield report('tab: GPU process, step 900 ÷ step 100', late.gpu, early.gpu, 'bytes', 'resident, buffers included');
}

/** What a visit of the demo page costs before a model is chosen. */
async function* firstVisit(browser) {
  buildDemo();
  const server = await preview({ root: demoFolder, preview: { port: 4173, host: '127.0.0.1' }, logLevel: 'warn' });
  const paints = [];
  let script = 0;
  for (let visit = 0; visit < 5; visit++) {
    const context = await browser.newContext();
    const page = await context.newPage();
    script = 0;
    page.on('response', async (response) => {
      if (response.request().resourceType() === 'script') script += (await response.body()).length;
    });
    await page.goto(server.resolvedUrls.local[0]);
    await page.waitForTimeout(1500);
    paints.push(await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime));
    await context.close();
  }
  await server.close();
  yield report('demo: first paint ÷ 1 s', median(paints), 1000, 'ms', 'goal: less than 1');
  yield report(
    'demo: script before a model is chosen ÷ 300 kB',
    script,
    300_000,
    'bytes',
    'goal: less than 1; not compressed',
  );
}

export async function benchTab({ json }) {
  const library = await import('../dist/node/index.js');
  const repository = await serveRepository();
  const browser = await chromium.launch(launchOptions(readEnvironment().chromium));
  const results = [];
  const say = (line) => (json ? process.stderr : process.stdout).write(`${line}\n`);
  const round = (value) => (value >= 1e6 ? value.toExponential(3) : value.toFixed(value >= 100 ? 0 : 2));
  try {
    const page = await openTab(browser, repository.url);
    for (const part of [firstVisit(browser), speeds(page, library), steadiness(browser, page)]) {
      for await (const result of part) {
        results.push(result);
        const { name, ours, reference, ratio, unit, note } = result;
        say(
          `${name.padEnd(48)} ${ratio.toFixed(3).padStart(7)}   ${round(ours)} ÷ ${round(reference)} ${unit}   (${note})`,
        );
      }
    }
  } finally {
    await browser.close();
    repository.close();
  }
  if (json) process.stdout.write(`${JSON.stringify({ adapter: 'SwiftShader', results }, null, 2)}\n`);
}
