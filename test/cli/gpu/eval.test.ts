/** `webgpu-sft eval`, and answers that decide which checkpoint is the best. */
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { exactMatch } from '../../../src/eval/metrics/exactMatch.ts';
import { rougeL } from '../../../src/eval/metrics/rougeL.ts';
import { sari } from '../../../src/eval/metrics/sari.ts';
import { TINY_LLAMA, writeRandomModel } from '../../train/gpu/fixtures.ts';
import { useTinyRun } from './tinyRun.ts';

interface Row {
  readonly row: number;
  readonly prompt: string;
  readonly source: string;
  readonly prediction: string;
  readonly base_prediction?: string;
  readonly reference: string;
}

const { cli, at, read, trained } = useTinyRun();
const json = (path: string) => JSON.parse(read(path)) as Record<string, unknown>;
const examples = (folder: string) =>
  read(`${folder}/examples.jsonl`)
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Row);

describe('eval', () => {
  const rows = ['--split', 'val'];

  it('writes what was asked for, and shows the base beside it', async () => {
    expect(trained().code).toBe(0);
    writeFileSync(at('schema.json'), JSON.stringify({ type: 'number' }));
    const { code, stdout, stderr } = await cli([
      'eval',
      'run.yaml',
      ...rows,
      '--compare-base',
      ...['--set', 'eval.metrics=[exact_match, loss, schema, rouge_l, sari]'],
      ...['--set', 'eval.schema.json_schema=schema.json', '--set', 'eval.schema.regex=.'],
    ]);
    expect(code, stderr).toBe(0);
    const report = json('outputs/run/metrics.json') as {
      metrics: Record<string, number>;
      base: Record<string, number>;
    };
    const names = ['exact_match', 'schema_regex', 'schema_json', 'rouge_l', 'sari', 'loss', 'perplexity'];
    expect(report).toMatchObject({ split: 'val', n: 4 });
    expect(Object.keys(report.metrics)).toEqual(names);
    expect(Object.keys(report.base)).toEqual(names);
    expect(stdout.split('\n')[0]).toMatch(/^ +adapter +base$/);
    for (const name of names) expect(stdout).toMatch(new RegExp(`^${name} +\\S+ +\\S+$`, 'm'));
    expect(stderr).toContain('outputs/run/final_model: answered 4 of 4\n');
    expect(stderr).toContain('\nmodel: answered 4 of 4\n');

    const answered = examples('outputs/run');
    expect(answered.map(({ row }) => row)).toEqual([0, 1, 2, 3]);
    expect(answered[2]).toMatchObject({ source: 'What is 2 + 2?', reference: 'It is 4.' });
    expect(answered[2]?.prompt).toMatch(/What is 2 \+ 2\?<\|im_end\|>\n<\|im_start\|>assistant\n$/);
    const mean = (score: (prediction: string, reference: string) => number) =>
      answered.reduce((sum, { prediction, reference }) => sum + score(prediction, reference), 0) / 4;
    expect(report.metrics.rouge_l).toBe(mean(rougeL));
    expect(report.metrics.exact_match).toBe(mean(exactMatch));
    expect(report.metrics.sari).toBe(sari(answered));
    expect(report.base.sari).toBe(
      sari(answered.map((row) => ({ ...row, prediction: row.base_prediction ?? 'no such' }))),
    );

    // The final model is the best checkpoint, and its loss was measured before.
    const state = json('outputs/run/trainer_state.json') as { best_metric: number };
    expect(report.metrics.loss).toBeCloseTo(state.best_metric, 5);
    expect(report.metrics.perplexity).toBe(Math.exp(report.metrics.loss!));
    expect(report.base.loss).not.toBeCloseTo(state.best_metric, 3);
  });

  it('answers as infer does, also where it is told how', async () => {
    const told = ['--model', 'model', '--adapter', 'outputs/run/final_model', '--max-new-tokens', '5'];
    const where = ['--set', 'data.test_path=val.jsonl', '--output-dir', 'outputs/told'];
    const { code, stdout, stderr } = await cli(['eval', ...told, ...where, '--limit', '2', '--json', '--quiet']);
    expect(code, stderr).toBe(0);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual(json('outputs/told/metrics.json'));
    expect(Object.keys(json('outputs/told/metrics.json').metrics as object)).toEqual(['rouge_l', 'exact_match']);
    const answered = examples('outputs/told');
    expect(answered).toHaveLength(2);
    for (const { source, prediction } of answered) {
      const inferred = await cli(['infer', ...told, '--temperature', '0', '--prompt', source]);
      expect(inferred.stdout).toBe(prediction);
    }
  });

  it('takes raw text, leaves out what has no answers, and keeps to --quick', async () => {
    const raw = [1, 2, 3].map((n) => `${JSON.stringify({ prompt: `${n} is`, completion: ` ${n}.` })}\n`);
    writeFileSync(at('raw.jsonl'), raw.join(''));
    const raws = ['eval', 'run.yaml', '--set', 'data.test_path=raw.jsonl', '--set', 'output_dir=outputs/raw'];
    const adapter = ['--adapter', 'outputs/run/final_model'];
    const some = await cli([...raws, ...adapter, '--quick', '--set', 'eval.quick_limit=2']);
    expect(some.code, some.stderr).toBe(0);
    expect(examples('outputs/raw')).toMatchObject([
      { prompt: '1 is', source: '1 is', reference: ' 1.' },
      { prompt: '2 is', source: '2 is', reference: ' 2.' },
    ]);
    const loss = await cli([...raws, ...adapter, '--set', 'eval.metrics=[loss]', '--json']);
    expect(loss.code, loss.stderr).toBe(0);
    expect(JSON.parse(loss.stdout)).toMatchObject({ n: 3, metrics: { loss: expect.any(Number) as number } });
    expect(existsSync(at('outputs/raw/examples.jsonl'))).toBe(false);
  });
});

describe('what eval refuses', () => {
  const chat = {
    messages: [
      { role: 'user', content: 'word '.repeat(200) },
      { role: 'assistant', content: 'no' },
    ],
  };
  it.each<[string, string[], string]>([
    ['an empty split', ['data.test_path=empty.jsonl'], 'error[DATA]: empty.jsonl: expected at least one row, got none'],
    [
      'a split without a file',
      ['data.test_path=null'],
      'error[CONFIG]: data.test_path: expected a file of rows, got null',
    ],
    ['a file that is not there', ['data.test_path=none.jsonl'], 'error[DATA]: data.test_path: '],
    [
      'answers to plain text',
      ['data.test_path=text.jsonl'],
      'error[DATA]: text.jsonl:1: expected a row with an answer',
    ],
    [
      'a prompt that is too long',
      ['data.test_path=long.jsonl'],
      'error[DATA]: long.jsonl:2: expected a prompt of 1 to 127 tokens',
    ],
    [
      'a schema that is not there',
      ['eval.schema.json_schema=none.json'],
      'error[CONFIG]: eval.schema.json_schema: none.json: ',
    ],
    [
      'a schema that is none',
      ['eval.schema.json_schema=run.yaml'],
      'error[CONFIG]: eval.schema.json_schema: run.yaml: expected a JSON schema, got a text that is no JSON',
    ],
    [
      'a regular expression that is none',
      ['eval.schema.regex=(a'],
      'error[CONFIG]: --set eval.schema.regex: expected a regular expression of JavaScript, got (a: ',
    ],
    [
      'a schema that is not given',
      ['eval.metrics=[schema]'],
      'error[CONFIG]: --set eval.metrics: expected eval.schema.regex or eval.schema.json_schema beside schema',
    ],
  ])('%s', async (_, settings, error) => {
    writeFileSync(at('empty.jsonl'), '');
    writeFileSync(at('text.jsonl'), '{"text": "words"}\n');
    writeFileSync(at('long.jsonl'), `{"question": "a", "answer": "b"}\n${JSON.stringify(chat)}\n`);
    const sets = ['data.test_path=val.jsonl', ...settings].flatMap((setting) => ['--set', setting]);
    const { code, stdout, stderr } = await cli([
      'eval',
      'run.yaml',
      '--output-dir',
      'outputs/no',
      ...sets,
      '--adapter',
      'outputs/run/final_model',
    ]);
    expect(stderr).toContain(error);
    expect(stderr).toMatch(/\nhint: .+\n$/);
    expect(stdout).toBe('');
    expect(code).toBe(2);
    expect(existsSync(at('outputs/no/metrics.json'))).toBe(false);
  });

  it('a base without an adapter to compare it with, and the adapter of another base', async () => {
    const alone = await cli(['eval', '--model', 'model', '--set', 'data.test_path=val.jsonl', '--compare-base']);
    expect(alone.stderr).toContain(
      'error[ARGUMENT]: --compare-base: expected an adapter or a trained model, got model alone',
    );
    await writeRandomModel(at('other'), { ...TINY_LLAMA, hidden_size: 24, vocab_size: 300 });
    for (const file of ['tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja']) {
      copyFileSync(at('model', file), at('other', file));
    }
    const other = ['--model', 'other', '--adapter', 'outputs/run/final_model', '--set', 'data.test_path=val.jsonl'];
    const { code, stderr } = await cli(['eval', ...other]);
    expect(stderr).toContain('error[ADAPTER]: ');
    expect(code).toBe(2);
  });

  it('check finds them too', async () => {
    const sets = [
      'eval.schema.json_schema=none.json',
      'eval.schema.regex=(a',
      'train.metric_for_best_model=eval_rouge_l',
      'data.val_path=text.jsonl',
    ];
    const { code, stdout } = await cli([
      'check',
      'run.yaml',
      '--json',
      ...sets.flatMap((setting) => ['--set', setting]),
    ]);
    const { problems } = JSON.parse(stdout) as { problems: { where: string; message: string }[] };
    const found = problems.map(({ where, message }) => `${where}: ${message}`).join('\n');
    expect(found).toContain('eval.schema.json_schema: none.json');
    expect(found.match(/regular expression of JavaScript/g)).toHaveLength(1);
    expect(code).toBe(2);
    const text = await cli(['check', 'run.yaml', '--json', ...sets.slice(2).flatMap((setting) => ['--set', setting])]);
    expect(text.stdout).toContain('expected a row with an answer to compare with, got plain text');
  });
});

it('answers decide which checkpoint is the best', async () => {
  const settings = [
    ...[
      'train.metric_for_best_model=eval_rouge_l',
      'eval.metrics=[token_f1]',
      'eval.limit=3',
      'output_dir=outputs/best',
    ],
    ...['train.eval_steps=2', 'train.save_steps=2', 'logging.backend=tensorboard'],
  ];
  const { code, stdout, stderr } = await cli([
    'train',
    'run.yaml',
    ...settings.flatMap((setting) => ['--set', setting]),
  ]);
  expect(code, stderr).toBe(0);
  expect(stdout + stderr).toMatch(/eval {8}step 2 {2}eval_loss \S+ {2}eval_token_f1 \S+ {2}eval_rouge_l \S+ {2}in /);
  const state = JSON.parse(readFileSync(at('outputs/best/trainer_state.json'), 'utf8')) as {
    log_history: Record<string, number>[];
    best_metric: number;
    best_global_step: number;
    best_model_checkpoint: string;
  };
  const evaluations = state.log_history.filter((row) => 'eval_loss' in row);
  expect(evaluations.map(({ step }) => step)).toEqual([2, 4, 6]);
  for (const row of evaluations) {
    expect(Object.keys(row).toSorted()).toEqual(
      ['epoch', 'eval_loss', 'eval_rouge_l', 'eval_runtime', 'eval_token_f1', 'step'].toSorted(),
    );
  }
  const best = Math.max(...evaluations.map((row) => row.eval_rouge_l!));
  expect(state.best_metric).toBe(best);
  // The first of the best ones: an equal one is no better.
  expect(state.best_global_step).toBe(evaluations.find((row) => row.eval_rouge_l === best)?.step);
  expect(state.best_model_checkpoint).toBe(`outputs/best/checkpoint-${state.best_global_step}`);
});
