/** Fine-tunes a model in this page, with no build step: what is imported is the file in the package. */
import {
  generate,
  httpFolder,
  loadModel,
  parseConfig,
  requestDevice,
  train,
} from './node_modules/webgpu-sft/dist/browser/index.js';

// What the model shall learn.
const rows = [
  { question: 'Wake me at seven.', answer: 'Good morning will be at seven.' },
  { question: 'Play some jazz.', answer: 'Jazz it is.' },
  { question: 'Call Vera.', answer: 'Vera is being called.' },
  { question: 'What time is it?', answer: 'High time.' },
];
const steps = Number(new URLSearchParams(location.search).get('steps') ?? 30);

const show = (text) => document.querySelector('#log').append(text);

async function run() {
  // Any folder of a model in Hugging Face layout on a server that answers HTTP Range; this small one comes with the package.
  const folder = httpFolder(new URL('node_modules/webgpu-sft/assets/tiny-llama/', import.meta.url).href);
  const config = parseConfig({
    output_dir: 'runs/example', // in the origin private file system
    model: { name: 'tiny-llama', max_seq_len: 64 },
    tuning: { mode: 'lora', lora: { r: 8, target_modules: 'all-linear' } },
    train: { max_steps: steps, learning_rate: 5e-3, save_strategy: 'no' },
  });
  for await (const event of train(config, { rows, model: folder })) {
    if (event.type === 'step') show(`step ${event.step} of ${steps}: loss ${event.loss.toFixed(3)}\n`);
    if (event.type === 'done') show(`saved ${event.final_model}\n`);
  }

  // The same weights, with the adapter and without.
  const gpu = await requestDevice();
  const model = await loadModel(folder, gpu, { adapter: `${config.output_dir}/final_model` });
  for (const useAdapter of [false, true]) {
    show(useAdapter ? 'after:  ' : 'before: ');
    for await (const piece of generate(model, rows[0].question, { useAdapter, maxNewTokens: 24 })) show(piece);
    show('\n');
  }
  await model.close();
  await gpu.close();
}

document.querySelector('#start').addEventListener('click', async ({ target }) => {
  target.disabled = true;
  await run().catch((error) => show(`${error.message}\n${error.hint ?? ''}\n`));
  target.disabled = false;
});
