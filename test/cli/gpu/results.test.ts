/** What a trained run is good for, and every command that has a result to read. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import type { InspectedSequence } from '../../../src/data/inspect.ts';
import { sums } from '../../fixtures.ts';
import { useTinyRun } from './tinyRun.ts';

const { cli, at, read } = useTinyRun();

describe('infer', () => {
  const prompt = 'What is 1 + 1?';
  let answer = '';

  test('one prompt: the answer and nothing else', async () => {
    const ended = await cli(['infer', 'run.yaml', '--prompt', prompt, '--quiet']);
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    answer = ended.stdout;
    expect(answer).not.toBe('');
    const folders = ['infer', '--model', 'model', '--adapter', 'outputs/run/final_model', '--prompt', prompt];
    const greedy = ['--temperature', '0', '--max-new-tokens', '8'];
    expect((await cli([...folders, ...greedy, '--no-stream'])).stdout).toBe(answer);
  });

  test('a seed decides what is sampled', async () => {
    const sample = async (seed: number) => {
      const flags = ['--prompt', prompt, '--temperature', '2', '--seed', String(seed)];
      return (await cli(['infer', '--model', 'model', ...flags, '--max-new-tokens', '8'])).stdout;
    };
    const [first, again, other] = [await sample(1), await sample(1), await sample(2)];
    expect(again).toBe(first);
    expect(other).not.toBe(first);
  });

  test('a file of prompts', async () => {
    writeFileSync(at('prompts.txt'), `${prompt}\n\nSay\n`);
    writeFileSync(at('prompts.jsonl'), `${JSON.stringify({ question: prompt, answer: 'x' })}\n{"prompt": "Say"}\n`);
    for (const input of ['prompts.txt', 'prompts.jsonl']) {
      const ended = await cli(['infer', 'run.yaml', '--input', input, '--out', 'answers/a.jsonl']);
      expect(ended).toMatchObject({ code: 0, stdout: '', stderr: 'answered 2 of 2\n2 answers in answers/a.jsonl\n' });
      const rows = read('answers/a.jsonl')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown);
      expect(rows).toEqual([
        { prompt, prediction: answer },
        { prompt: 'Say', prediction: expect.any(String) as string },
      ]);
    }
    await cli(['infer', 'run.yaml', '--input', 'prompts.txt', '--out', 'answers/a.txt']);
    const lines = read('answers/a.txt').split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[0]).toBe(answer.replaceAll('\r', '\\r').replaceAll('\n', '\\n'));
  });
});

test('merge: the merged model answers as base and adapter do', async () => {
  const merged = await cli(['merge', 'run.yaml', '--dtype', 'float32']);
  expect(merged).toMatchObject({ code: 0, stdout: '' });
  const flags = ['--prompt', 'What is 1 + 1?', '--temperature', '0', '--max-new-tokens', '8'];
  const [whole, apart] = [
    await cli(['infer', '--model', 'outputs/run/merged', ...flags]),
    await cli(['infer', 'run.yaml', ...flags]),
  ];
  expect(whole.stdout).toBe(apart.stdout);
  expect((await cli(['merge', 'run.yaml'])).code, 'once more over its own').toBe(0);
  expect(JSON.parse(read('outputs/run/merged/merge.json'))).toMatchObject({ base: 'model', dtype: 'float16' });
});

test('a full fine-tune is answered and is no adapter to merge', async () => {
  const set = ['--set', 'tuning.mode=full', '--set', 'output_dir=outputs/full'];
  expect((await cli(['train', 'run.yaml', ...set, '--max-steps', '1'])).code).toBe(0);
  expect((await cli(['infer', 'run.yaml', ...set, '--prompt', 'Hello'])).code).toBe(0);
  const merged = await cli(['merge', 'run.yaml', ...set]);
  expect(merged.code).toBe(2);
  expect(merged.stderr).toMatch(/^error\[ARGUMENT\]: merge: expected an adapter/);
});

describe('--json: one document on stdout, everything else elsewhere', () => {
  const json = async (args: readonly string[], code = 0): Promise<Record<string, unknown>> => {
    const ended = await cli([...args, '--json', '--verbose']);
    expect(ended.code, ended.stderr).toBe(code);
    return JSON.parse(ended.stdout) as Record<string, unknown>;
  };

  test('check', async () => {
    expect(await json(['check', 'run.yaml'])).toMatchObject({
      ok: true,
      config: { model: { name: 'model' } },
      problems: [],
    });
  });

  test('check: a model that does not stop where answers end', async () => {
    writeFileSync(at('model/generation_config.json'), '{"eos_token_id": 0}');
    const { code, stderr } = await cli(['check', 'run.yaml']);
    rmSync(at('model/generation_config.json'));
    expect(code).toBe(0);
    expect(stderr).toMatch(
      /warning: train: \d+ of \d+ rows end with "<\|im_end\|>" \(2\), at which this model does not stop/,
    );
  });

  test('check: what is worth a look in the data is no problem', async () => {
    const row = (question: string, answer: string) => `${JSON.stringify({ question, answer })}\n`;
    writeFileSync(at('odd.jsonl'), `${sums(3)}${row('It is 42, so?', '42')}${row('What?', ' ')}${sums(1)}`);
    writeFileSync(at('odd_val.jsonl'), sums(1));
    const flags = ['--set', 'data.train_path=odd.jsonl', '--set', 'data.val_path=odd_val.jsonl'];
    const found = await json(['check', 'run.yaml', ...flags]);
    expect(found).toMatchObject({
      ok: true,
      problems: [],
      data: {
        train: {
          read: 6,
          kept: 6,
          shapes: { qa: 6 },
          longest: expect.arrayContaining([{ where: 'odd.jsonl:4', tokens: expect.any(Number) }]),
          repeated: { count: 1, first: ['odd.jsonl:6 as odd.jsonl:1'] },
          suspicious: {
            answer_in_prompt: { count: 1, first: ['odd.jsonl:4'] },
            empty_answer: { count: 1, first: ['odd.jsonl:5'] },
          },
        },
        val: { in_earlier_split: { count: 1, first: ['odd_val.jsonl:1 as odd.jsonl:1'] } },
      },
    });
    const { stdout } = await cli(['check', 'run.yaml', ...flags]);
    expect(stdout).toMatch(/^✓ train {6}6 rows \(6 × qa\), \d+ tokens, [\d.]+ % trained$/m);
    expect(stdout).toContain('\n! train      1 row with an empty answer: odd.jsonl:5\n');
  });

  test('check: all problems at once', async () => {
    writeFileSync(at('bad.jsonl'), `{"question": 1, "answer": "a"}\n{\n${sums(1)}{"messages": []}\n`);
    const flags = [
      '--set',
      'train.epoch=1',
      '--set',
      'data.train_path=bad.jsonl',
      '--set',
      'model.chat_template=none.jinja',
    ];
    const { ok, problems } = (await json(['check', 'run.yaml', ...flags], 2)) as {
      ok: boolean;
      problems: Record<string, string>[];
    };
    expect(ok).toBe(false);
    expect(problems.map(({ code, where }) => [code, where])).toEqual([
      ['CONFIG', '--set train.epoch'],
      ['TEMPLATE', 'model.chat_template'],
    ]);
    const rows = (await json(['check', 'run.yaml', '--set', 'data.train_path=bad.jsonl'], 2)).problems as Record<
      string,
      string
    >[];
    expect(rows.map(({ code, where }) => [code, where])).toEqual([
      ['DATA', 'bad.jsonl:1'],
      ['DATA', 'bad.jsonl:2'],
      ['DATA', 'bad.jsonl:4'],
    ]);
    expect(rows.every(({ message, hint }) => message !== '' && hint !== undefined)).toBe(true);
  });

  test('gpu-info', async () => {
    const { adapters, adapter, kernels } = await json(['gpu-info']);
    const { name, memory_bytes, memory_source } = adapter as Record<string, unknown>;
    expect(memory_source).toEqual(expect.any(String));
    expect(memory_bytes === null || (memory_bytes as number) > 2 ** 20).toBe(true);
    expect((adapters as { name: string }[]).map((entry) => entry.name)).toContain(name);
    expect(['broadcast', 'registers', 'tiled']).toContain(kernels);
  });

  test('memory-check', async () => {
    const plan = await json(['memory-check', 'run.yaml']);
    expect(plan).toMatchObject({
      fits: true,
      batch_size: 2,
      gradient_accumulation_steps: 2,
      gradient_checkpointing: false,
    });
    // Half of the free memory of this machine: much more than a tiny model needs.
    expect(plan.budget_bytes).toBeGreaterThan(2 ** 26);
    expect(plan.max_batch_size).toBeGreaterThan(2);
    const { categories, peak_bytes } = plan as { categories: Record<string, number>; peak_bytes: number };
    expect(Object.keys(categories)).toEqual([
      'weights',
      'adapters',
      'gradients',
      'optimizer',
      'activations',
      'logits',
      'staging',
    ]);
    expect(Object.values(categories).reduce((a, b) => a + b)).toBe(peak_bytes);

    const budget = peak_bytes / 2 ** 30;
    const tight = await json(['memory-check', 'run.yaml', '--set', `memory.budget_gib=${budget}`]);
    expect(tight).toMatchObject({ budget_bytes: peak_bytes, fits: true, max_batch_size: 2 });
    const less = ['memory-check', 'run.yaml', '--set', `memory.budget_gib=${budget * 0.99}`];
    expect(await json(less)).toMatchObject({ fits: true, gradient_checkpointing: true });
    const fixed = [...less, '--set', 'train.gradient_checkpointing=false'];
    expect(await json(fixed)).toMatchObject({ fits: false, max_batch_size: 1 });

    const { stdout } = await cli(fixed);
    expect(stdout).toMatch(/^together .* 101 % of the budget$/m);
    expect(stdout).toMatch(/^budget .* memory\.budget_gib$/m);
    expect(stdout).toMatch(/^does not fit; the largest batch size that fits is 1$/m);
    const change = 'train\\.batch_size: 1 and train\\.gradient_accumulation_steps: 4';
    expect(stdout).toMatch(new RegExp(`^ {2}${change} +saves .* then .* fits$`, 'm'));
    expect(stdout).toMatch(/^ {2}train\.gradient_checkpointing: true +saves .* fits$/m);
    expect(stdout).toMatch(/^ {2}tuning\.lora\.r: 2 +saves .* then/m);
  });

  test('check and train refuse what does not fit, with the same change', async () => {
    const tight = ['run.yaml', '--set', 'memory.budget_gib=0.0005', '--set', 'train.gradient_checkpointing=false'];
    const train = await cli(['train', ...tight]);
    expect(train.code).toBe(1);
    const [, message, hint] = /^error\[OUT_OF_MEMORY\]: (.*)\nhint: (.*)$/m.exec(train.stderr) ?? [];
    expect(message).toMatch(
      /^memory plan: expected at most 0\.51 MiB \(memory\.budget_gib\), the run needs \d\.\d\d MiB$/,
    );
    const check = await cli(['check', ...tight, '--json']);
    expect(check.code).toBe(2);
    const { problems } = JSON.parse(check.stdout) as {
      problems: Record<'code' | 'where' | 'message' | 'hint', string>[];
    };
    expect(problems.map((problem) => `${problem.where}: ${problem.message}`)).toEqual([message]);
    expect(problems[0]).toMatchObject({ code: 'OUT_OF_MEMORY', hint });
  });

  test('memory-check needs neither tokenizer nor data nor adapter', async () => {
    mkdirSync(at('weights'));
    for (const file of ['config.json', 'model.safetensors'])
      writeFileSync(at('weights', file), readFileSync(at('model', file)));
    const ended = await cli(['memory-check', '--set', 'model.name=weights', '--set', 'tuning.mode=lora', '--json'], {
      env: { WEBGPU_SFT_ADAPTER: 'abacus' },
    });
    expect(ended.code).toBe(0);
    expect((JSON.parse(ended.stdout) as { device: string }).device).toMatch(/^no adapter/);
    expect(ended.stderr).toMatch(/bindings of 2 GiB/);
  });

  test('inspect: an object a line', async () => {
    const ended = await cli(['inspect', 'run.yaml', '--split', 'val', '--json']);
    const rows = ended.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown[]>);
    expect(rows.map(({ row }) => row)).toEqual([0, 1, 2, 3]);
    for (const { input_ids, labels, tokens, spans } of rows) {
      expect(labels).toHaveLength(input_ids?.length ?? -1);
      expect(tokens).toHaveLength(input_ids?.length ?? -1);
      expect(spans?.length).toBeGreaterThan(0);
    }
    const one = await cli(['inspect', 'run.yaml', '--row', '2', '--json', '--loss']);
    const { row, loss, labels } = JSON.parse(one.stdout) as { row: number; loss: (number | null)[]; labels: number[] };
    expect(row).toBe(2);
    expect(loss.map((value) => value !== null)).toEqual(labels.map((label) => label >= 0));
  });

  test('inspect --packed: a sequence a line', async () => {
    const ended = await cli(['inspect', 'run.yaml', '--packed', '--json']);
    const lines = ended.stdout.trimEnd().split('\n');
    const sequences = lines.map((line) => JSON.parse(line) as InspectedSequence);
    expect(sequences.map(({ sequence }) => sequence)).toEqual(sequences.map((_, number) => number));
    expect(sequences.flatMap(({ rows }) => rows).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 20 }, (_, n) => n),
    );
    for (const one of sequences) {
      expect(Object.keys(one)).toEqual(['sequence', 'rows', 'input_ids', 'labels', 'position_ids', 'document_starts']);
      expect(one.input_ids.length).toBeLessThanOrEqual(96);
      expect(one.document_starts.length).toBe(one.rows.length);
      expect(one.document_starts).toEqual(one.position_ids.flatMap((position, t) => (position === 0 ? t : [])));
    }
    expect(ended.stderr).toContain(`${sequences.length} sequences of at most 96 tokens, `);
    const { rows } = JSON.parse((await cli(['inspect', 'run.yaml', '--packed', '--row', '7', '--json'])).stdout) as {
      rows: number[];
    };
    expect(rows).toContain(7);
  });

  // Compiles every kernel.
  test('doctor', { timeout: 300_000 }, async () => {
    const { ok, results } = await json(['doctor', 'run.yaml', '--report', 'report.yaml']);
    expect(ok).toBe(true);
    expect((results as { op: string }[]).map(({ op }) => op)).toContain('attention');
    const report = parse(read('report.yaml')) as Record<string, unknown>;
    expect(report).toMatchObject({
      adapter: { limits: { storageBuffers: expect.any(Number) as number }, features: expect.any(Array) as string[] },
      failure: null,
      kernels: { tested: (results as unknown[]).length, wrong: [] },
      config: { tuning: { mode: 'lora' } },
      run: { backend: { backend: 'fast' } },
    });
    expect(read('report.yaml')).not.toContain(at());
  });

  test.each([
    [['check', 'run.yaml'], /go on with: node .*main\.js train run.yaml$/],
    [['memory-check', 'run.yaml'], /^next: node .*main\.js train run.yaml$/m],
    [['memory-check', 'run.yaml', '--set', 'memory.budget_gib=0.0001'], /^next: /m],
    [['gpu-info'], /^next: node .*main\.js doctor .* node .*main\.js memory-check CONFIG/m],
  ])('%j ends in what to do next', async (args, next) => {
    expect((await cli(args)).stderr.trimEnd()).toMatch(next);
  });
});

test('inspect shows a row token by token', async () => {
  const ended = await cli(['inspect', 'run.yaml', '--row', '1']);
  const [head, ...lines] = ended.stdout.trimEnd().split('\n');
  expect(head).toMatch(/^row 1, train\.jsonl:2: \d+ tokens, \d+ trained \(\*\)$/);
  expect(
    lines.slice(lines.indexOf('')).some((line) => /^\* ./.test(line)),
    'a line of text that is trained',
  ).toBe(true);
  expect(
    lines.some((line) => /^ *\d+ +\d+ {5}"\\n"$/.test(line)),
    'a line end, not trained',
  ).toBe(true);
  expect(
    lines.some((line) => /^ *\d+ +\d+ {2}\* {2}".*"$/.test(line)),
    'a trained token',
  ).toBe(true);
  const beyond = await cli(['inspect', 'run.yaml', '--row', '99']);
  expect(beyond.stderr).toMatch(/^error\[ARGUMENT\]: --row: expected 0 to 19, got 99\nhint: /);
});

test('a packed run says how full its sequences are, and inspect shows one', async () => {
  const shown = await cli(['inspect', 'run.yaml', '--packed', '--row', '3']);
  expect(shown.stdout).toMatch(/^sequence \d+: \d+ rows, \d+ of 96 tokens\nrow \d+, train\.jsonl:\d+: /);
  expect(shown.stdout).toMatch(/\nrow 3, train\.jsonl:4: /);
  const full = /\d+ sequences of at most 96 tokens, [\d.]+ % full/.exec(shown.stdout)?.[0];
  expect(shown.stdout.trimEnd().endsWith(full ?? '-')).toBe(true);
  const ended = await cli(['train', 'run.yaml', '--set', 'train.packing=true', '--dry-run']);
  expect(ended.code).toBe(0);
  expect(ended.stdout).toContain(`packed    ${full}\n`);
  expect(ended.stdout).toMatch(/each 2 x 2 sequences \(batch x accumulation\)/);
  const both = await cli(['inspect', 'run.yaml', '--packed', '--loss']);
  expect(both.stderr).toMatch(/^error\[ARGUMENT\]: --packed: expected no --loss, got both\nhint: /);
});
