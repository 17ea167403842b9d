/** What `export --to trl` writes, run in TRL for two steps, against the same run here. Needs WEBGPU_SFT_ORACLE_PYTHON. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { root } from '../../scripts/common.mjs';
import { runCli, useCli } from '../cli/cli.ts';
import { TINY_LLAMA, writeRandomModel } from '../train/gpu/fixtures.ts';
import { python, runPython, Worst } from './python.ts';

interface Case {
  readonly name: string;
  /** How the rows are written. */
  readonly form: string;
  readonly tuning: object;
  readonly train?: object;
  readonly data?: { readonly train_on?: string; readonly val_path?: null };
  readonly template?: string;
  /** Of a model drawn at random, instead of the embedded one. */
  readonly sizes?: typeof TINY_LLAMA;
  readonly rows: readonly object[];
}

const chats = readFileSync(join(root, 'assets/json-requests/train.jsonl'), 'utf8').trim().split('\n');
const ROWS = chats.slice(0, 12).map((line) => {
  const { messages } = JSON.parse(line) as { messages: { role: string; content: string }[] };
  const saidBy = (role: string) => messages.find((message) => message.role === role)?.content ?? '';
  return { user: saidBy('user'), assistant: saidBy('assistant') };
});
const TINY = join(root, 'assets/tiny-llama');
const OWN_TEMPLATE = readFileSync(join(TINY, 'chat_template.jinja'), 'utf8');
const MARKED =
  "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}" +
  "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}" +
  "{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";
/** Two answers, of which TRL's masks know only the last one. */
const TWO_TURNS = ROWS.slice(0, 6).map(({ user, assistant }, index) => ({
  messages: [
    { role: 'user', content: user },
    { role: 'assistant', content: assistant },
    { role: 'user', content: ROWS[index + 6]!.user },
    { role: 'assistant', content: ROWS[index + 6]!.assistant },
  ],
}));
const LORA = { mode: 'lora', lora: { r: 4, alpha: 8, dropout: 0, target_modules: 'all-linear' } };
const FULL = { mode: 'full' };

const CASES: readonly Case[] = [
  { name: 'lora', form: 'chats as prompt and completion', tuning: LORA, rows: ROWS },
  {
    // The rate begins at its height, so that the second loss shows the first update.
    name: 'full',
    form: 'token ids and labels',
    tuning: FULL,
    train: { warmup_ratio: 0, lr_scheduler: 'cosine', weight_decay: 0.1 },
    rows: TWO_TURNS,
  },
  {
    name: 'marked',
    form: 'chats',
    tuning: FULL,
    train: { warmup_ratio: 0, lr_scheduler: 'warmup_stable_decay', optimizer: 'adamw' },
    template: MARKED,
    rows: TWO_TURNS,
  },
  { name: 'all', form: 'chats', tuning: LORA, data: { train_on: 'all' }, rows: ROWS },
  {
    name: 'completions',
    form: 'prompts and completions',
    tuning: FULL,
    train: { warmup_ratio: 0, max_grad_norm: 0.1 },
    rows: ROWS.map(({ user, assistant }) => ({ prompt: user, completion: ` ${assistant}` })),
  },
  {
    name: 'texts',
    form: 'texts',
    tuning: FULL,
    train: { warmup_ratio: 0, lr_scheduler: 'cosine_with_min_lr' },
    rows: ROWS.map(({ user }) => ({ text: user })),
  },
  {
    // On a CPU bitsandbytes rounds rows wrongly that are no multiples of its blocks.
    name: 'qlora',
    form: 'chats as prompt and completion',
    tuning: { ...LORA, mode: 'qlora' },
    data: { val_path: null },
    sizes: { ...TINY_LLAMA, vocab_size: 1024, hidden_size: 64, intermediate_size: 128, num_attention_heads: 4 },
    rows: ROWS,
  },
  {
    name: 'int8',
    form: 'chats as prompt and completion',
    tuning: { ...LORA, quantization: { type: 'int8' } },
    data: { val_path: null },
    rows: ROWS,
  },
];

/** Relative, of both losses. In 8 bits, activations are quantised too there. */
const BOUNDS: Readonly<Record<string, number>> = { int8: 5e-3 };

interface Answer {
  readonly losses: number[];
  readonly eval: number[];
  readonly rates: number[];
  readonly files: string[];
}

interface Row {
  readonly loss?: number;
  readonly eval_loss?: number;
  readonly learning_rate?: number;
}

describe.skipIf(!python)('export --to trl', () => {
  const folder = useCli();
  const worst = new Worst();
  const said: Record<string, string> = {};
  let answers: Record<string, Answer>;

  const of = (name: string) => join(folder(), name, 'run', 'trl');

  beforeAll(async () => {
    for (const one of CASES) {
      const home = join(folder(), one.name);
      mkdirSync(home);
      const jsonl = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
      writeFileSync(join(home, 'train.jsonl'), jsonl(one.rows));
      writeFileSync(join(home, 'val.jsonl'), jsonl(one.rows.slice(0, 2)));
      writeFileSync(join(home, 'template.jinja'), one.template ?? OWN_TEMPLATE);
      let model = TINY;
      if (one.sizes) {
        model = await writeRandomModel(join(home, 'base'), { ...one.sizes, max_position_embeddings: 512 });
        for (const file of ['tokenizer.json', 'tokenizer_config.json']) cpSync(join(TINY, file), join(model, file));
      }
      const config = {
        output_dir: 'run',
        model: { name: model, max_seq_len: 160, chat_template: 'template.jinja' },
        tuning: one.tuning,
        // Two micro-batches of unlike numbers of trained tokens.
        train: {
          max_steps: 2,
          batch_size: 3,
          gradient_accumulation_steps: 2,
          precision: 'float32',
          shuffle: false,
          eval_strategy: 'steps',
          eval_steps: 2,
          save_strategy: 'no',
          load_best_model_at_end: false,
          ...one.train,
        },
        data: { train_path: 'train.jsonl', val_path: 'val.jsonl', ...one.data },
        logging: { log_interval: 1 },
      };
      writeFileSync(join(home, 'config.yaml'), stringify(config));
      const trained = await runCli(['train', 'config.yaml', '--quiet'], { cwd: home });
      expect(trained.code, trained.stderr).toBe(0);
      const exported = await runCli(['export', 'config.yaml', '--to', 'trl'], { cwd: home });
      expect(exported.code, exported.stderr).toBe(0);
      said[one.name] = exported.stderr;
    }
    answers = runPython(
      'trl_export.py',
      CASES.map(({ name }) => of(name)),
    );
  });

  afterAll(() => worst.print('TRL'));

  for (const { name, form, tuning, data } of CASES) {
    it(`${name}: the losses of both steps, the evaluation and the rates are TRL's`, () => {
      expect(said[name]).toContain(`as ${form}: `);
      const answer = answers[of(name)]!;
      const state = JSON.parse(readFileSync(join(folder(), name, 'run/trainer_state.json'), 'utf8')) as {
        log_history: Row[];
      };
      const ours = state.log_history;
      const losses = ours.flatMap(({ loss }) => loss ?? []);
      // TRL's is a part of each micro-batch, divided by the tokens of the step.
      const theirs = [0, 2].map((first) => answer.losses[first]! + answer.losses[first + 1]!);
      expect(losses.length).toBe(2);
      for (const [index, loss] of losses.entries()) {
        expect(worst.note(name, Math.abs(loss - theirs[index]!) / loss)).toBeLessThan(BOUNDS[name] ?? 2e-5);
      }
      expect(ours.flatMap(({ learning_rate: rate }) => rate ?? [])).toEqual(answer.rates);
      expect(answer.eval.length).toBe(data?.val_path === null ? 0 : 1);
      expect(answer.files).toContain(tuning === FULL ? 'model.safetensors' : 'adapter_model.safetensors');
    });
  }

  it('starts with accelerate, and says once what is done otherwise', () => {
    const copy = join(folder(), 'elsewhere');
    cpSync(of('lora'), copy, { recursive: true });
    const args = ['-m', 'accelerate.commands.launch', '--config_file', 'accelerate_config.yaml', 'train.py'];
    const { status, stderr } = spawnSync(python!, args, {
      cwd: copy,
      encoding: 'utf8',
      env: { ...process.env, OMP_NUM_THREADS: '1', HF_HUB_OFFLINE: '1' },
    });
    expect(status, stderr).toBe(0);
    expect(readFileSync(join(copy, 'outputs/trainer_state.json'), 'utf8')).toContain('"global_step": 2');
    const script = readFileSync(join(copy, 'train.py'), 'utf8');
    expect(script.split('other random numbers').length).toBe(2);
    expect(said.lora).toContain('other random numbers');
    JSON.parse(readFileSync(join(copy, 'deepspeed_config.json'), 'utf8'));
  });
});
