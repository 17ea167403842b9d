/** Fine-tunes a model on a few rows and asks it before and after: `node train.mjs [steps]`. */
import { fileURLToPath } from 'node:url';
import { generate, loadModel, parseConfig, requestDevice, train } from 'webgpu-sft';

// What the model shall learn. Rows may lie in files as well: data.train_path.
const rows = [
  { question: 'Wake me at seven.', answer: 'Good morning will be at seven.' },
  { question: 'Play some jazz.', answer: 'Jazz it is.' },
  { question: 'Call Vera.', answer: 'Vera is being called.' },
  { question: 'What time is it?', answer: 'High time.' },
];

// Any folder of a model in Hugging Face layout; this small one comes with the package.
const name = fileURLToPath(new URL('assets/tiny-llama', import.meta.resolve('webgpu-sft/package.json')));

const steps = Number(process.argv[2] ?? 30);
const config = parseConfig({
  output_dir: 'outputs/example',
  model: { name, max_seq_len: 64 },
  tuning: { mode: 'lora', lora: { r: 8, target_modules: 'all-linear' } },
  train: { max_steps: steps, learning_rate: 5e-3, save_strategy: 'no' },
});
for await (const event of train(config, { rows })) {
  if (event.type === 'step') console.log(`step ${event.step} of ${steps}: loss ${event.loss.toFixed(3)}`);
  if (event.type === 'done') console.log(`saved ${event.final_model}`); // a PEFT folder
}

// The same weights, with the adapter and without.
const gpu = await requestDevice();
const model = await loadModel(name, gpu, { adapter: `${config.output_dir}/final_model` });
for (const useAdapter of [false, true]) {
  process.stdout.write(useAdapter ? 'after:  ' : 'before: ');
  for await (const piece of generate(model, rows[0].question, { useAdapter, maxNewTokens: 24 })) {
    process.stdout.write(piece);
  }
  process.stdout.write('\n');
}
await model.close();
await gpu.close();
