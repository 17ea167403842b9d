/** Fine-tunes a model in a worker, so that the page stays alive; model, rows and adapter are kept in the storage of the browser. */
import { createWorkerTrainer } from 'webgpu-sft';

// What the model shall learn: files as a person would drop them.
const rows = [
  { question: 'Wake me at seven.', answer: 'Good morning will be at seven.' },
  { question: 'Play some jazz.', answer: 'Jazz it is.' },
  { question: 'Call Vera.', answer: 'Vera is being called.' },
  { question: 'What time is it?', answer: 'High time.' },
];
const file = new File([rows.map((row) => JSON.stringify(row)).join('\n')], 'rows.jsonl');
const steps = Number(new URLSearchParams(location.search).get('steps') ?? 30);

const log = document.querySelector('#log');
const show = (text) => log.append(text);

async function run() {
  const engine = createWorkerTrainer();
  const { name, kernels } = await engine.device();
  show(`${name}, ${kernels} kernels\n`);

  // From a folder on a server, a hub id, or files that a person chose.
  const model = await engine.fetchModel({ kind: 'url', url: new URL('tiny-llama/', location.href).href });
  const { paths } = await engine.addData([file], { split: [1, 0, 0] });
  const config = {
    output_dir: 'runs/example',
    model: { name: model.path, max_seq_len: 64 },
    tuning: { mode: 'lora', lora: { r: 8, target_modules: 'all-linear' } },
    train: { max_steps: steps, learning_rate: 5e-3, save_strategy: 'no' },
    data: paths,
  };
  for await (const event of engine.train(config)) {
    if (event.type === 'step') show(`step ${event.step} of ${steps}: loss ${event.loss.toFixed(3)}\n`);
    if (event.type === 'done') show(`saved ${event.final_model}\n`);
  }

  // The same weights, with the adapter and without.
  const where = { model: model.path, outputDir: config.output_dir };
  const question = [{ role: 'user', content: rows[0].question }];
  for (const useAdapter of [false, true]) {
    show(useAdapter ? 'after:  ' : 'before: ');
    for await (const piece of engine.answer(where, question, { useAdapter, maxNewTokens: 24 })) show(piece);
    show('\n');
  }

  // A PEFT folder to take away.
  const link = document.createElement('a');
  link.href = URL.createObjectURL(await engine.download(config.output_dir));
  link.download = 'adapter.zip';
  link.textContent = 'Download adapter';
  log.append(link);
  engine.close();
}

document.querySelector('#start').addEventListener('click', async ({ target }) => {
  target.disabled = true;
  await run().catch((error) => show(`${error.message}\n${error.hint ?? ''}\n`));
  target.disabled = false;
});
