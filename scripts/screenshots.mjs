/**
 * `node scripts/screenshots.mjs`: trains twice with the embedded model and writes pictures of the live page to `docs/screenshots`.
 * Needs what `npm test` has prepared, and half a minute.
 */
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright';
import { launchOptions } from './chromium.mjs';
import { root } from './common.mjs';
import { readEnvironment, useAdapterEnvironment } from './environment.mjs';

const PROGRAM = join(root, 'dist/cli/main.js');
const RUNS = { 'rank-16': ['lr=3e-3', 'r=16'], 'rank-2': ['lr=1e-3', 'r=2'] };
const PICTURES = [
  { name: 'live-light', colorScheme: 'light', viewport: { width: 1000, height: 1060 } },
  { name: 'live-dark', colorScheme: 'dark', viewport: { width: 1000, height: 1060 } },
  { name: 'live-narrow', colorScheme: 'light', viewport: { width: 360, height: 800 } },
];
const KEYS = { lr: 'train.learning_rate', r: 'tuning.lora.r' };

useAdapterEnvironment();
const folder = mkdtempSync(join(tmpdir(), 'webgpu-sft-screenshots-'));
cpSync(join(root, 'assets'), join(folder, 'assets'), { recursive: true });

function train(name, settings) {
  const all = [
    'model.name=assets/tiny-llama',
    'model.max_seq_len=128',
    'tuning.mode=lora',
    'tuning.lora.target_modules=all-linear',
    'train.max_steps=80',
    'train.eval_strategy=steps',
    'train.eval_steps=10',
    'train.save_strategy=no',
    'data.train_path=assets/json-requests/train.jsonl',
    'data.val_path=assets/json-requests/val.jsonl',
    'logging.dashboard=true',
    `output_dir=outputs/${name}`,
    ...settings.map((setting) => setting.replace(/^\w+/, (key) => KEYS[key])),
  ];
  const args = [PROGRAM, 'train', ...all.flatMap((setting) => ['--set', setting])];
  const { status } = spawnSync(process.execPath, args, { cwd: folder, stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error(`training ended with ${status}`);
}

for (const [name, settings] of Object.entries(RUNS)) train(name, settings);
const server = spawn(process.execPath, [PROGRAM, 'dashboard', 'outputs', '--port', '0'], { cwd: folder });
const url = await new Promise((resolve) => server.stdout.once('data', (line) => resolve(String(line).trim())));
const browser = await chromium.launch(launchOptions(readEnvironment().chromium));
for (const { name, ...options } of PICTURES) {
  const page = await (await browser.newContext(options)).newPage();
  await page.goto(url);
  await page
    .getByRole('heading', { name: /^Answers/ })
    .first()
    .waitFor();
  await page.waitForTimeout(1000);
  await page.screenshot({ path: join(root, 'docs/screenshots', `${name}.png`) });
}
await browser.close();
server.kill();
rmSync(folder, { recursive: true, force: true });
