'use client';
/** Fine-tunes a model in a client component. Rendering it on the server imports the package, too, and touches no GPU there. */
import { useState } from 'react';
import { createWorkerTrainer } from 'webgpu-sft';

// What the model shall learn.
const rows = [
  { question: 'Wake me at seven.', answer: 'Good morning will be at seven.' },
  { question: 'Play some jazz.', answer: 'Jazz it is.' },
  { question: 'Call Vera.', answer: 'Vera is being called.' },
  { question: 'What time is it?', answer: 'High time.' },
];

async function run(show) {
  const steps = Number(new URLSearchParams(location.search).get('steps') ?? 30);
  const engine = createWorkerTrainer();
  const model = await engine.fetchModel({ kind: 'url', url: new URL('tiny-llama/', location.href).href });
  const file = new File([rows.map((row) => JSON.stringify(row)).join('\n')], 'rows.jsonl');
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
  const where = { model: model.path, outputDir: config.output_dir };
  for (const useAdapter of [false, true]) {
    show(useAdapter ? 'after:  ' : 'before: ');
    const question = [{ role: 'user', content: rows[0].question }];
    for await (const piece of engine.answer(where, question, { useAdapter, maxNewTokens: 24 })) show(piece);
    show('\n');
  }
  engine.close();
}

export default function Page() {
  const [text, setText] = useState('');
  const [busy, setBusy] = useState(false);
  const show = (piece) => setText((shown) => shown + piece);
  const start = async () => {
    setBusy(true);
    await run(show).catch((error) => show(`${error.message}\n${error.hint ?? ''}\n`));
    setBusy(false);
  };
  return (
    <main>
      <button type="button" disabled={busy} onClick={start}>
        Train
      </button>
      <pre role="log">{text}</pre>
    </main>
  );
}
