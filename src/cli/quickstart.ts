/**
 * What `npm start` shows: the small model of this repository learns to answer everyday requests with strict JSON. Requests
 * that it was not trained on are answered before and after, and every answer is checked against the schema.
 *
 *     npm start -- --steps 200 --mode qlora
 */
import { existsSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openFile } from '#platform';
import { type Message, readRows } from '../data/rows.ts';
import { compileJsonSchema, schemaJson } from '../eval/metrics/schemaJson.ts';
import { SftError } from '../platform/errors.ts';
import type { Config } from '../train/config.ts';
import { parseConfig } from '../train/configCheck.ts';
import { loadModel, requestDevice } from '../train/library.ts';
import { quantizationOf } from '../train/planMemory.ts';
import { readWhole } from '../train/readWhole.ts';
import { openRun } from '../train/run.ts';
import { showError, toSftError } from './errors.ts';
import { bar, digits, shellQuote } from './format.ts';
import { stopSignals } from './stopSignals.ts';
import { Terminal } from './terminal.ts';
import { TrainView } from './trainView.ts';

const STEPS = 80;
/** Held-out requests that are answered. */
const REQUESTS = 40;
/** An answer as it should be has at most about sixty tokens; what is longer is none. */
const MAX_NEW_TOKENS = 80;

/** As a person in this folder would type it. */
const asset = (path: string): string => {
  const absolute = fileURLToPath(new URL(`../../assets/${path}`, import.meta.url));
  const short = relative(process.cwd(), absolute);
  return short.startsWith('..') ? absolute : short;
};

interface Choices {
  readonly steps: number;
  readonly mode: (typeof MODES)[number];
}

function quickstartConfig({ steps, mode }: Choices): Config {
  return parseConfig({
    output_dir: 'outputs/quickstart',
    model: { name: asset('tiny-llama'), max_seq_len: 128 },
    tuning: { mode, lora: { r: 16, alpha: 32, dropout: 0, target_modules: 'all-linear' } },
    train: {
      max_steps: steps,
      batch_size: 16,
      gradient_accumulation_steps: 1,
      learning_rate: 5e-3,
      lr_scheduler: 'cosine',
      eval_strategy: 'no',
      save_strategy: 'no',
      load_best_model_at_end: false,
    },
    data: { train_path: asset('json-requests/train.jsonl'), val_path: asset('json-requests/val.jsonl') },
    logging: { log_interval: 10 },
  });
}

interface Measured {
  /** Share of the answers that obey the schema. */
  readonly compliance: number;
  readonly firstAnswer: string;
}

class Quickstart {
  private readonly terminal: Terminal;
  private readonly config: Config;
  private readonly signal: AbortSignal;

  constructor(terminal: Terminal, config: Config, signal: AbortSignal) {
    this.terminal = terminal;
    this.config = config;
    this.signal = signal;
  }

  async run(): Promise<void> {
    const { terminal, config } = this;
    const { bold, dim, green } = terminal.colors.out;
    const line = (text = '') => terminal.line('out', text);
    const heading = (text: string) => line(`\n${bold(text)}`);
    const requests = await this.heldOut();
    const [first = []] = requests;
    const request = first.at(-1)?.content ?? '';

    heading(`Before: ${requests.length} requests to the model as it is`);
    const before = await this.measure(requests, null);
    line(`request  ${request}`);
    line(`answer   ${dim(before.firstAnswer || '(nothing)')}`);

    heading('Training');
    const adapter = await this.train();

    heading(`After: the same ${requests.length} requests, which it was not trained on`);
    const after = await this.measure(requests, adapter);
    line(`request  ${request}`);
    line(`answer   ${green(after.firstAnswer)}`);

    heading('Answers that are JSON and obey the schema');
    for (const [name, { compliance }] of [
      ['before', before],
      ['after', after],
    ] as const) {
      line(`${name.padEnd(6)}  ${bar(compliance, 30)}  ${digits(100 * compliance, 3)} %`);
    }
    line(`\nThe adapter is in ${adapter} and loads in Hugging Face PEFT.`);
    const command = ['npx', 'webgpu-sft', 'infer', '--model', config.model.name, '--adapter', adapter];
    line(`try: ${[...command, '--temperature', '0', '--prompt', request].map(shellQuote).join(' ')}`);
  }

  /** Conversations up to the answer, of the split that is used for nothing else. */
  private async heldOut(): Promise<Message[][]> {
    const source = await openFile(asset('json-requests/test.jsonl'));
    const requests: Message[][] = [];
    try {
      for await (const row of readRows(source)) {
        if (row.kind === 'chat') requests.push(row.messages.filter(({ role }) => role !== 'assistant'));
        if (requests.length === REQUESTS) break;
      }
    } finally {
      await source.close();
    }
    return requests;
  }

  private async measure(requests: readonly Message[][], adapter: string | null): Promise<Measured> {
    const { terminal, config, signal } = this;
    const path = asset('json-requests/schema.json');
    const schema = compileJsonSchema(await readWhole(path), path);
    const gpu = await requestDevice();
    try {
      const quantization = quantizationOf(config.tuning);
      const model = await loadModel(config.model.name, gpu, {
        signal,
        quantization,
        ...(adapter !== null && { adapter }),
      });
      const answers: string[] = [];
      let ended = 0;
      terminal.setStatus('out', `answering ${requests.length} requests`);
      for await (const { index, text } of model.completions(requests, { maxNewTokens: MAX_NEW_TOKENS, signal })) {
        answers[index] = text;
        ended += 1;
        terminal.setStatus('out', `answered ${ended} of ${requests.length}`);
      }
      signal.throwIfAborted();
      await model.close();
      const right = answers.filter((answer) => schemaJson(answer, schema) === 1).length;
      const firstAnswer = (answers[0] ?? '').replaceAll(/\s+/g, ' ').trim();
      return { compliance: right / requests.length, firstAnswer };
    } finally {
      terminal.setStatus('out', null);
      await gpu.close();
    }
  }

  /** Trains the adapter; its folder. */
  private async train(): Promise<string> {
    const { terminal, config, signal } = this;
    const view = new TrainView(terminal, { quiet: false, verbose: false, nextCommand: null });
    const { trainer, gpu } = await openRun({ config, onProgress: (stage) => view.stage(stage), signal });
    try {
      for await (const event of trainer.train(signal)) view.event(event, gpu);
    } finally {
      view.close();
      await gpu.close();
    }
    return `${config.output_dir}/final_model`;
  }
}

/** Over what the adapter is trained; the weights themselves are not, since what is shown at the end is an adapter. */
const MODES = ['lora', 'qlora'] as const;

function choicesOf(args: readonly string[]): Choices {
  const hint = `npm start -- --steps N --mode ${MODES.join('|')}`;
  const wrong = (message: string, cause?: unknown) => new SftError('ARGUMENT', message, { hint, cause });
  let values: { steps?: string | undefined; mode?: string | undefined };
  try {
    ({ values } = parseArgs({ args: [...args], options: { steps: { type: 'string' }, mode: { type: 'string' } } }));
  } catch (cause) {
    throw wrong(`npm start: ${(cause as Error).message}`, cause);
  }
  const { steps = String(STEPS), mode: name = 'lora' } = values;
  if (!/^[1-9]\d*$/.test(steps)) throw wrong(`--steps: expected a whole number from 1, got ${JSON.stringify(steps)}`);
  const mode = MODES.find((one) => one === name);
  if (!mode) throw wrong(`--mode: expected ${MODES.join(' or ')}, got ${JSON.stringify(name)}`);
  return { steps: Number(steps), mode };
}

const terminal = new Terminal(process.stdout, process.stderr, process.env);
process.on('exit', () => terminal.close());
try {
  const config = quickstartConfig(choicesOf(process.argv.slice(2)));
  if (!existsSync(`${config.model.name}/model.safetensors`)) {
    throw new SftError('MODEL', `${config.model.name}: expected model.safetensors, there is none`, {
      hint: 'restore the file: it is part of the repository',
    });
  }
  const { signal } = stopSignals(terminal, () => terminal.line('out', 'stopping'));
  await new Quickstart(terminal, config, signal).run();
  process.exit(0);
} catch (thrown) {
  terminal.close();
  const error = toSftError(thrown);
  showError(terminal, error, process.argv.includes('--debug'));
  process.exit(error.exitCode);
}
