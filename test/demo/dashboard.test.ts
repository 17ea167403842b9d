/** The live page in a browser, beside a run that trains: what it shows, that it misses nothing, and that everybody can use it. */
import type { ChildProcess } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { useAdapterEnvironment } from '../../scripts/environment.mjs';
import { buildDashboard } from '../../scripts/setup.mjs';
import { type Ended, runCli, useCli } from '../cli/cli.ts';
import { makeTinyModel, sums } from '../fixtures.ts';
import { expectAccessible, launch, status, visit } from './browser.ts';

const STEPS = 120;
const CONFIG = {
  model: { name: 'model', max_seq_len: 96 },
  tuning: { mode: 'lora', lora: { r: 4, target_modules: 'all-linear' } },
  train: { max_steps: STEPS, batch_size: 8, gradient_accumulation_steps: 4, learning_rate: 1e-2, save_strategy: 'no' },
  data: { train_path: 'train.jsonl', val_path: 'val.jsonl' },
  logging: { dashboard: true },
};

let browser: Browser;
const folder = useCli();
const at = (...parts: string[]) => join(folder(), ...parts);
beforeAll(async () => {
  useAdapterEnvironment();
  buildDashboard();
  browser = await launch();
  await makeTinyModel(at('model'));
  writeFileSync(at('train.jsonl'), sums(64));
  writeFileSync(at('val.jsonl'), sums(4));
});
afterAll(() => browser?.close());

/** Trains with the live page; resolves when its address is known. */
function train(name: string): Promise<{ url: string; ended: Promise<Ended> }> {
  const config = {
    ...CONFIG,
    output_dir: `outputs/${name}`,
    train: { ...CONFIG.train, eval_strategy: 'steps', eval_steps: STEPS / 4 },
  };
  writeFileSync(at(`${name}.yaml`), stringify(config));
  return new Promise((resolve, reject) => {
    const onOutput = (text: string) => {
      const url = /live page (http\S+)/.exec(text)?.[1];
      if (url) resolve({ url, ended });
    };
    const ended = runCli(['train', `${name}.yaml`], { cwd: folder(), onOutput });
    ended.then(({ stderr }) => reject(new Error(stderr)), reject);
  });
}

/** `webgpu-sft dashboard`, until it is closed. */
function serve(name: string): Promise<{ url: string; close: () => Promise<Ended> }> {
  return new Promise((resolve, reject) => {
    const onOutput = (text: string, child: ChildProcess) => {
      const url = /^http\S+/.exec(text)?.[0];
      const close = () => {
        child.kill('SIGINT');
        return ended;
      };
      if (url) resolve({ url, close });
    };
    const ended = runCli(['dashboard', name, '--port', '0'], { cwd: folder(), onOutput });
    ended.then(({ stderr }) => reject(new Error(stderr)), reject);
  });
}

/** Stands between page and server, and can be cut. */
async function lineTo(target: string) {
  const sockets = new Set<Socket>();
  let up = true;
  const server = createServer((near) => {
    const far = connect(Number(new URL(target).port), '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    }
    if (up) near.pipe(far).pipe(near);
    else for (const socket of [near, far]) socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    up = false;
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}/`,
    cut,
    mend: () => {
      up = true;
    },
    close: () => {
      cut();
      server.close();
    },
  };
}

const chart = (page: Page, title: string) => page.getByRole('img', { name: new RegExp(`^${title};`) });
const labelOf = async (page: Page, title: string) => (await chart(page, title).getAttribute('aria-label')) ?? '';

/** Steps and losses of a run's own events. */
function stepsOf(name: string): { step: number; loss: number }[] {
  const lines = readFileSync(at('outputs', name, 'events.jsonl'), 'utf8')
    .trimEnd()
    .split('\n');
  return lines.map((line) => JSON.parse(line)).filter(({ type }) => type === 'step');
}

describe('beside a run', () => {
  test('its points come at once, a cut loses none, and its end is shown', { timeout: 240_000 }, async () => {
    const { url, ended } = await train('first');
    const line = await lineTo(url);
    // When each step is in the file, and when the page shows it or a later one.
    const written: number[] = [];
    const shown: number[] = [];
    const watch = setInterval(() => {
      const text = (() => {
        try {
          return readFileSync(at('outputs/first/events.jsonl'), 'utf8');
        } catch {
          return '';
        }
      })();
      const steps = text.split('"type":"step"').length - 1;
      while (written.length < steps) written.push(Date.now());
    }, 20);
    const { page, complaints } = await visit(browser, { base: line.url });
    await page.exposeFunction('told', (step: number, at: number) => {
      while (shown.length < step) shown.push(at);
    });
    await page.evaluate(() => {
      const look = () => {
        const step = /step (\d+) of/.exec(document.body.textContent ?? '')?.[1];
        if (step) (window as unknown as { told: (step: number, at: number) => void }).told(Number(step), Date.now());
      };
      new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
    });
    await expect.poll(() => status(page).textContent()).toBe('live');
    await expect.poll(() => shown.length, { timeout: 60_000 }).toBeGreaterThan(10);
    const seen = shown.length;
    line.cut();
    await expect.poll(() => status(page).textContent()).toMatch(/not connected/);
    await expect.poll(() => written.length, { timeout: 60_000 }).toBeGreaterThan(seen + 5);
    const before = shown.length;
    line.mend();
    await expect.poll(() => status(page).textContent(), { timeout: 20_000 }).toBe('live');
    await expect.poll(() => shown.length).toBeGreaterThan(before + 5);
    const back = shown.length;
    expect((await ended).code).toBe(0);
    clearInterval(watch);
    await page.getByText(`step ${STEPS} of ${STEPS}`).waitFor();
    await page.getByText('done', { exact: true }).waitFor();
    await expect.poll(() => status(page).textContent()).toBe('ended');
    const steps = stepsOf('first');
    expect(steps).toHaveLength(STEPS);
    const last = Number(steps.at(-1)?.loss.toPrecision(4));
    expect(await labelOf(page, 'Loss')).toBe(`Loss; first: ${last} after ${STEPS} points`);
    expect(await labelOf(page, 'Evaluation: loss')).toMatch(/after 4 points$/);
    await page.getByRole('heading', { name: /Answers first, after step 120/ }).waitFor();
    // The console says that the line was cut.
    expect(complaints.filter((text) => !text.includes('ERR_'))).toEqual([]);
    const late = shown.map((at, step) => at - (written[step] ?? at)).filter((_, step) => step < before || step >= back);
    late.sort((a, b) => a - b);
    const share = (part: number) => late[Math.floor(part * (late.length - 1))];
    console.log(`step written to step shown: median ${share(0.5)} ms, 95 % ${share(0.95)} ms, most ${share(1)} ms`);
    await page.context().close();
    line.close();
  });
});

describe('runs that have ended', () => {
  let server: Awaited<ReturnType<typeof serve>>;
  beforeAll(async () => {
    const { ended } = await train('second');
    await ended;
    server = await serve('outputs');
  });
  afterAll(() => server.close());

  test.each([
    ['light', 1000],
    ['dark', 1000],
    ['light', 360],
    ['dark', 360],
  ] as const)('lie over each other; %s, %i pixels wide', async (colorScheme, width) => {
    const viewport = { width, height: 800 };
    const { page, complaints } = await visit(browser, { base: server.url, colorScheme, viewport });
    await expect
      .poll(() => labelOf(page, 'Loss'))
      .toMatch(/^Loss; first: \S+ after 120 points; second: \S+ after 120 points$/);
    expect(await page.getByText('done', { exact: true }).count()).toBe(2);
    await page.getByText('Warnings: 1').first().click();
    await expectAccessible(page, 'two runs');
    const room = await page.evaluate(() => document.documentElement.clientWidth - document.documentElement.scrollWidth);
    expect(room).toBe(0);
    await page.getByRole('checkbox', { name: 'second' }).uncheck();
    await expect.poll(() => labelOf(page, 'Loss')).toMatch(/^Loss; first: \S+ after 120 points$/);
    expect(await page.getByRole('heading', { name: /^Answers/ }).count()).toBe(1);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test('with the keyboard alone: from top to bottom, and into a part of the steps', async () => {
    const { page } = await visit(browser, { base: server.url });
    await expect.poll(() => labelOf(page, 'Loss')).toContain('second');
    const stops: string[] = [];
    const focused = () =>
      page.evaluate(() => {
        const element = document.activeElement as HTMLInputElement | null;
        return element?.ariaLabel?.split(';')[0] ?? (element?.labels?.[0] ?? element)?.textContent ?? '';
      });
    do {
      await page.keyboard.press('Tab');
      stops.push(await focused());
    } while (stops.length < 30 && !stops.at(-1)?.startsWith('Evaluation'));
    expect(stops).toEqual([
      'first',
      'Warnings: 1',
      'second',
      'Warnings: 1',
      'Smooth the loss',
      'Loss',
      'Learning rate',
      'Gradient norm',
      'Tokens per second',
      'Evaluation: loss',
    ]);
    const zoomed = async (key: string) => {
      await page.keyboard.press(key);
      return (await labelOf(page, 'Loss')).split('; ').slice(3).join();
    };
    expect(await zoomed('+')).toBe('zoomed to steps 30.75 to 90.25');
    expect(await zoomed('ArrowRight')).toBe('zoomed to steps 45.63 to 105.1');
    expect(await zoomed('-')).toBe('zoomed to steps 15.88 to 134.9');
    expect(await zoomed('0')).toBe('');
    const answers = page.locator('section', { has: page.getByRole('heading', { name: /^Answers first/ }) });
    await answers.getByRole('slider', { name: 'Answers of an earlier step' }).focus();
    await page.keyboard.press('Home');
    await answers.getByRole('heading', { name: 'Answers first, after step 0' }).waitFor();
    await page.keyboard.press('End');
    await answers.getByRole('heading', { name: `Answers first, after step ${STEPS}` }).waitFor();
    await page.getByRole('checkbox', { name: 'second' }).focus();
    await page.keyboard.press('Space');
    await expect.poll(() => labelOf(page, 'Loss')).not.toContain('second');
    await page.context().close();
  });
});

/** Losses that fall with noise, as the events of a run write them. */
function manySteps(from: number, to: number): string {
  const lines: string[] = [];
  for (let step = from; step <= to; step++) {
    const noise = Math.sin(step * 12.9898) * 0.3;
    const row = { step, epoch: step / 1e4, loss: 1 + 3 * Math.exp(-step / 2e4) + noise, grad_norm: 1 + noise };
    lines.push(JSON.stringify({ type: 'step', ...row, learning_rate: 1e-4, num_tokens: step, tokens_per_second: 5e3 }));
  }
  return `${lines.join('\n')}\n`;
}

test('100 000 points stay usable while more come', { timeout: 120_000 }, async () => {
  const POINTS = 100_000;
  const file = at('long/run/events.jsonl');
  mkdirSync(at('long/run'), { recursive: true });
  writeFileSync(file, manySteps(1, POINTS));
  const server = await serve('long');
  const { page, complaints } = await visit(browser, { base: server.url });
  await expect.poll(() => labelOf(page, 'Loss'), { timeout: 60_000 }).toMatch(/ 100000 points$/);
  const frames = async (keys: readonly string[]) => {
    await chart(page, 'Loss').focus();
    const measured = page.evaluate(
      () =>
        new Promise<number[]>((resolve) => {
          const gaps: number[] = [];
          let before = performance.now();
          const frame = (now: number) => {
            gaps.push(now - before);
            before = now;
            if (gaps.length < 90) requestAnimationFrame(frame);
            else resolve(gaps.slice(1).sort((a, b) => a - b));
          };
          requestAnimationFrame(frame);
        }),
    );
    for (const key of keys) await page.keyboard.press(key);
    const gaps = await measured;
    const share = (part: number) => gaps[Math.floor(part * (gaps.length - 1))]?.toFixed(1);
    return `median ${share(0.5)} ms, 95 % ${share(0.95)} ms, most ${share(1)} ms`;
  };
  const moves = ['+', 'ArrowRight', '+', 'ArrowLeft', '-', '+', 'ArrowRight', '-', '-', '0'];
  console.log(`frames with ${POINTS} points, zoomed by keys: ${await frames(moves)}`);
  let step = POINTS;
  const grow = setInterval(() => {
    appendFileSync(file, manySteps(step + 1, step + 5));
    step += 5;
  }, 50);
  console.log(`  while points come: ${await frames([])}`);
  clearInterval(grow);
  await expect.poll(() => labelOf(page, 'Loss'), { timeout: 20_000 }).toMatch(new RegExp(` ${step} points$`));
  const session = await page.context().newCDPSession(page);
  await session.send('HeapProfiler.collectGarbage');
  const { usedSize } = await session.send('Runtime.getHeapUsage');
  console.log(`  heap ${(usedSize / 2 ** 20).toFixed(1)} MiB`);
  expect(complaints).toEqual([]);
  await page.context().close();
  await server.close();
});
