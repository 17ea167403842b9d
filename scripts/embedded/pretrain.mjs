/**
 * Trains the embedded model from random weights on the generated text, with this project's own engine.
 *
 *     node scripts/embedded/pretrain.mjs [--steps N] [--work DIR]
 *
 * Writes `assets/tiny-llama/model.safetensors`. A run that was stopped goes on from its last checkpoint in DIR (default
 * `.cache/pretrain`). The same adapter gives the same bytes; another one gives weights that differ in rounding.
 */
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createServer } from 'vite';
import { useAdapterEnvironment } from '../environment.mjs';
import { pretrainingRows } from './stream.mjs';

const STEPS = 5000;
const ROWS_PER_STEP = 16;
const SEED = 1;

const { values } = parseArgs({ options: { steps: { type: 'string' }, work: { type: 'string' } } });
const root = fileURLToPath(new URL('../../', import.meta.url));
const work = values.work ?? `${root}.cache/pretrain`;
const assets = `${root}assets/tiny-llama`;
const steps = Number(values.steps ?? STEPS);

useAdapterEnvironment();
// Node 20 cannot load TypeScript by itself; vite can, and this script needs more than the public API.
const vite = await createServer({
  root,
  configFile: false,
  logLevel: 'error',
  server: { middlewareMode: true, ws: false, watch: null },
  optimizeDeps: { noDiscovery: true },
});
const load = (path) => vite.ssrLoadModule(`/src/${path}.ts`);
const { openFolder, openModel, openStore, parseConfig, requestDevice, saveFolder, Trainer } = await load('index');

/** Random weights as transformers initialises a Llama: normal numbers, norm weights of one. */
async function writeRandomModel(store, folder) {
  const [
    { ARCHITECTURES },
    { Decoder },
    { Parameters },
    { Memory },
    { writeCheckpoint },
    { IMAGINED_GPU },
    { randomStream },
  ] = await Promise.all(
    [
      'model/architectures/registry',
      'model/decoder',
      'model/parameters',
      'tensor/memory',
      'model/checkpoint',
      'train/planMemory',
      'platform/random',
    ].map(load),
  );
  const config = JSON.parse(readFileSync(`${assets}/config.json`, 'utf8'));
  const parameters = new Parameters(new Memory(IMAGINED_GPU.limits), { trained: null, storage: () => 'f32' });
  new Decoder(parameters, ARCHITECTURES.llama.parse(config, 'config.json'));
  const tensors = [...parameters.all.values()].map(({ name, shape }, index) => {
    const next = randomStream(SEED, index);
    const uniform = () => (next() + 0.5) / 2 ** 32;
    const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    const values = new Float32Array(shape.reduce((product, size) => product * size, 1));
    for (let i = 0; i < values.length; i++)
      values[i] = name.endsWith('norm.weight') ? 1 : normal() * config.initializer_range;
    return { name, dtype: 'F32', shape, bytes: () => [new Uint8Array(values.buffer)] };
  });
  await saveFolder(store, folder, async (staged) => {
    await staged.write('config.json', JSON.stringify(config));
    await writeCheckpoint(staged, tensors);
  });
}

const start = `${work}/start`;
if (!existsSync(start)) await writeRandomModel(await openStore(work), 'start');

const documents = pretrainingRows(SEED);
const rows = Array.from({ length: steps * ROWS_PER_STEP }, () => documents.next().value);
const config = parseConfig({
  output_dir: `${work}/run`,
  model: { name: start, max_seq_len: 512 },
  tuning: { mode: 'full' },
  train: {
    max_steps: steps,
    batch_size: ROWS_PER_STEP,
    gradient_accumulation_steps: 1,
    learning_rate: 2e-3,
    lr_scheduler: 'cosine',
    weight_decay: 0.1,
    adam_beta2: 0.95,
    shuffle: false,
    eval_strategy: 'no',
    save_strategy: 'steps',
    save_steps: 250,
    save_total_limit: 1,
  },
  logging: { log_interval: 25 },
});
const gpu = await requestDevice();
const store = await openStore(config.output_dir);
const newest = (await store.folders())
  .flatMap((folder) => folder.match(/^checkpoint-(\d+)$/)?.[1] ?? [])
  .map(Number)
  .sort((a, b) => b - a)[0];
const trainer = await Trainer.create({
  config,
  gpu,
  files: await openModel(await openFolder(start)),
  rows,
  store,
  resumeFrom: newest ? store.folder(`checkpoint-${newest}`) : null,
});
const begun = performance.now();
let first = null;
for await (const event of trainer.train()) {
  if (event.type === 'warning') console.log(`warning: ${event.message}`);
  if (event.type !== 'step' || event.step % 25 !== 0) continue;
  first ??= event;
  const left =
    ((steps - event.step) * (performance.now() - begun)) / 60_000 / Math.max(1, event.step - first.step + 25);
  const speed = event.tokens_per_second.toFixed(0);
  console.log(
    `step ${event.step} of ${steps}: loss ${event.loss.toFixed(4)}, ${speed} tokens/s, ${left.toFixed(1)} min left`,
  );
}
await gpu.close();
await vite.close();
copyFileSync(`${work}/run/final_model/model.safetensors`, `${assets}/model.safetensors`);
console.log(`wrote ${assets}/model.safetensors`);
