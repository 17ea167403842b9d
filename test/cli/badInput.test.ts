/** Whatever is wrong: two lines on stderr, exit code 1 or 2, and nothing half-written. None of this needs a GPU. */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { openFolder } from '../../src/platform/nodeFiles.ts';
import { makeTinyModel, sums } from '../fixtures.ts';
import { listFiles, runCli, useCli } from './cli.ts';

const folder = useCli();
const at = (...parts: string[]) => join(folder(), ...parts);

const CONFIG = {
  output_dir: 'outputs/run',
  model: { name: 'model', max_seq_len: 64 },
  tuning: { mode: 'lora' },
  data: { train_path: 'train.jsonl', val_path: null },
};

beforeAll(async () => {
  await makeTinyModel(at('model'));
  await makeTinyModel(at('wider'), 'qwen2');
  writeFileSync(at('train.jsonl'), sums(6));
  writeFileSync(at('run.yaml'), stringify(CONFIG));
  const zeros = (name: string, shape: number[]) => ({ name, shape });
  await writeAdapter(at('adapter'), 48, zeros);
});

/** A PEFT adapter of rank 1 on every q_proj of a model that is `width` wide. */
async function writeAdapter(
  path: string,
  width: number,
  tensor: (name: string, shape: number[]) => { name: string; shape: number[] },
) {
  mkdirSync(path, { recursive: true });
  const tensors = [0, 1].flatMap((layer) => [
    tensor(`base_model.model.model.layers.${layer}.self_attn.q_proj.lora_A.weight`, [1, width]),
    tensor(`base_model.model.model.layers.${layer}.self_attn.q_proj.lora_B.weight`, [width, 1]),
  ]);
  const header: Record<string, unknown> = {};
  let offset = 0;
  for (const { name, shape } of tensors) {
    const bytes = shape.reduce((a, b) => a * b, 4);
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  writeFileSync(join(path, 'adapter_model.safetensors'), safetensors(header, offset));
  const config = { peft_type: 'LORA', task_type: 'CAUSAL_LM', r: 1, lora_alpha: 1, target_modules: ['q_proj'] };
  writeFileSync(
    join(path, 'adapter_config.json'),
    JSON.stringify({ ...config, base_model_name_or_path: 'another/base' }),
  );
}

function safetensors(header: unknown, bytes: number): Buffer {
  const text = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([size, text, Buffer.alloc(bytes)]);
}

interface Expected {
  readonly code: string;
  readonly exit: 1 | 2;
  readonly says: RegExp;
  readonly shell?: string;
  readonly uid?: number;
  readonly env?: Record<string, string>;
}

/** Runs a command that must fail in the right way and leave the folder as it was. */
async function expectError(args: readonly string[], { code, exit, says, ...options }: Expected): Promise<void> {
  const before = listFiles(folder());
  const ended = await runCli(args, { cwd: folder(), ...options });
  const lines = ended.stderr.trimEnd().split('\n');
  const errors = lines.filter((line) => line.startsWith('error['));
  expect(errors, ended.stderr).toHaveLength(1);
  expect(errors[0]).toMatch(new RegExp(`^error\\[${code}\\]: \\S+: `));
  expect(errors[0]).toMatch(says);
  expect(lines.at(-1)).toMatch(/^hint: \S.+/);
  expect(lines.at(-2)).toBe(errors[0]);
  expect(ended.code).toBe(exit);
  expect(listFiles(folder())).toEqual(before);
}

const withModel = (name: string) => ['train', 'run.yaml', '--set', `model.name=${name}`];
const withData = (name: string) => ['train', 'run.yaml', '--train-data', name];

describe('model', () => {
  test('no folder', () =>
    expectError(withModel('nowhere'), { code: 'MODEL', exit: 2, says: /model\.name: nowhere: .*no such/ }));

  test('no model.safetensors', async () => {
    cpSync(at('model'), at('bare'), { recursive: true });
    rmSync(at('bare', 'model.safetensors'));
    await expectError(withModel('bare'), { code: 'MODEL', exit: 2, says: /bare: .*safetensors/ });
  });

  test('a header that lies', async () => {
    cpSync(at('model'), at('liar'), { recursive: true });
    truncateSync(at('liar', 'model.safetensors'), 100_000);
    await expectError(withModel('liar'), { code: 'MODEL', exit: 2, says: /liar\/model\.safetensors: / });
    writeFileSync(
      at('liar', 'model.safetensors'),
      safetensors({ a: { dtype: 'F32', shape: [4], data_offsets: [0, 8] } }, 8),
    );
    await expectError(withModel('liar'), { code: 'MODEL', exit: 2, says: /liar\/model\.safetensors: / });
  });

  test('a tensor with another shape', async () => {
    cpSync(at('model'), at('other'), { recursive: true });
    const config = JSON.parse(readFileSync(at('other', 'config.json'), 'utf8')) as object;
    writeFileSync(at('other', 'config.json'), JSON.stringify({ ...config, intermediate_size: 80 }));
    const says = /model\.layers\.0\.mlp\.gate_proj\.weight: expected \[80, 48\], got \[72, 48\]/;
    await expectError(['memory-check', 'run.yaml', '--set', 'model.name=other'], { code: 'MODEL', exit: 2, says });
  });

  test('an unknown architecture', async () => {
    cpSync(at('model'), at('mamba'), { recursive: true });
    const config = JSON.parse(readFileSync(at('mamba', 'config.json'), 'utf8')) as object;
    writeFileSync(at('mamba', 'config.json'), JSON.stringify({ ...config, model_type: 'mamba' }));
    await expectError(withModel('mamba'), { code: 'MODEL', exit: 2, says: /model_type "mamba" is not supported/ });
  });

  test('an adapter for another base', async () => {
    await writeAdapter(at('narrow'), 40, (name, shape) => ({ name, shape }));
    const args = ['merge', '--model', 'model', '--adapter', 'narrow', '--out', 'merged'];
    await expectError(args, { code: 'ADAPTER', exit: 2, says: /lora_A\.weight: expected \[1, 48\], got \[1, 40\]/ });
  });

  test('no adapter folder', async () => {
    const says = /outputs\/run\/final_model: .*no such folder/;
    await expectError(['merge', 'run.yaml'], { code: 'ADAPTER', exit: 2, says });
    await expectError(['infer', 'run.yaml', '--prompt', 'x'], { code: 'ADAPTER', exit: 2, says });
  });
});

describe('data', () => {
  const cases: [string, string, RegExp][] = [
    ['an empty file', '', /rows\.jsonl: expected at least one row/],
    ['a row that is no JSON', `${sums(2)}{"question": \n`, /rows\.jsonl:3: expected a JSON object, got invalid JSON/],
    [
      'a row with no assistant turn',
      `${sums(1)}{"messages": [{"role": "user", "content": "?"}]}\n`,
      /rows\.jsonl:2: expected at least one assistant turn/,
    ],
    ['a row of no known shape', '{"a": 1}\n', /rows\.jsonl:1: expected a row of a known shape/],
    [
      'rows of two shapes',
      '{"prompt": "a", "completion": "b", "text": "c"}\n'.repeat(2),
      /rows\.jsonl:1: expected a row of one shape, .* prompt_completion and text: .*; on line 2 "prompt"/,
    ],
    [
      'mixed kinds of rows',
      `${sums(2)}{"text": "b"}\n`,
      /rows\.jsonl:3: expected rows of one kind .* \("text"\) after a chat at rows\.jsonl:1 \("question", "answer"\)/,
    ],
  ];
  test.each(cases)('%s', async (_, content, says) => {
    writeFileSync(at('rows.jsonl'), content);
    await expectError(withData('rows.jsonl'), { code: 'DATA', exit: 2, says });
  });

  test.each<[string, string, string | Uint8Array, RegExp]>([
    [
      'bytes that are no UTF-8',
      'rows.csv',
      Buffer.from('user,assistant\na,\xe9\n', 'latin1'),
      /rows\.csv:2: expected UTF-8/,
    ],
    ['a null byte', 'rows.jsonl', `${sums(1)}{"text": "\0"}\n`, /rows\.jsonl:2: expected text, got a null byte/],
    ['cells that are missing', 'rows.csv', 'user,assistant\na,b\nc\n', /rows\.csv:3: expected 2 cells, got 1/],
    ['a list that does not end', 'rows.json', '[{"text": "a"},\n{"text"', /rows\.json:2: .* it does not end/],
    ['no DOCX', 'rows.docx', 'text', /rows\.docx: expected a DOCX document, got one that cannot be read/],
    ['no Parquet file', 'rows.parquet', 'text', /rows\.parquet: expected a Parquet file/],
    ['another kind of file', 'rows.xlsx', 'text', /rows\.xlsx: expected a format that can be read, got \.xlsx/],
  ])('process: %s', async (_, name, content, says) => {
    writeFileSync(at(name), content);
    await expectError(['process', '--set', `data.raw_path=${name}`], { code: 'DATA', exit: 2, says });
    rmSync(at(name));
  });

  test('process: a line of 100 MiB', async () => {
    writeFileSync(at('long.jsonl'), '');
    truncateSync(at('long.jsonl'), 100 << 20);
    const says = /long\.jsonl:1: expected a row of at most 64 MiB/;
    await expectError(['process', '--set', 'data.raw_path=long.jsonl'], { code: 'DATA', exit: 2, says });
    rmSync(at('long.jsonl'));
  });

  test('process: a named pipe', async () => {
    execFileSync('mkfifo', [at('pipe.jsonl')]);
    const says = /data\.raw_path: pipe\.jsonl: expected a regular file, got a named pipe/;
    await expectError(['process', '--set', 'data.raw_path=pipe.jsonl'], { code: 'DATA', exit: 2, says });
    rmSync(at('pipe.jsonl'));
  });

  test('a column that is not there', async () => {
    const says = /train\.jsonl:1: expected the column "Frage", got "question", "answer"/;
    const columns = ['--set', 'data.columns={user: Frage, assistant: answer}'];
    await expectError(['train', 'run.yaml', ...columns], { code: 'DATA', exit: 2, says });
    const template = ['--set', 'data.prompt_template="User: {Frage}\\nAssistant: {answer}"'];
    await expectError(['train', 'run.yaml', ...template], { code: 'DATA', exit: 2, says });
  });

  test('no file', () =>
    expectError(withData('none.jsonl'), { code: 'DATA', exit: 2, says: /data\.train_path: none\.jsonl/ }));

  test('a template that raises', async () => {
    writeFileSync(at('raises.jinja'), "{{ raise_exception('only three turns') }}");
    const args = ['train', 'run.yaml', '--set', 'model.chat_template=raises.jinja'];
    await expectError(args, { code: 'TEMPLATE', exit: 2, says: /train\.jsonl:1: .*only three turns/ });
  });

  test('a template that does not end', async () => {
    writeFileSync(
      at('endless.jinja'),
      '{% for a in range(9999999) %}{% for b in range(9999999) %}{% endfor %}{% endfor %}',
    );
    const args = ['train', 'run.yaml', '--set', 'model.chat_template=endless.jinja'];
    await expectError(args, {
      code: 'TEMPLATE',
      exit: 2,
      says: /endless\.jinja: expected the chat template to render/,
    });
  });
});

describe('config', () => {
  test('an unknown key', async () => {
    writeFileSync(at('typo.yaml'), 'model: {name: model}\ntrain:\n  epoch: 2\n');
    await expectError(['train', 'typo.yaml'], {
      code: 'CONFIG',
      exit: 2,
      says: /typo\.yaml:3:3: train\.epoch: unknown key/,
    });
  });
  test('a file that grows without end', async () => {
    const letters = [...'abcdefgh'];
    const line = (name: string, i: number) =>
      `${name}: &${name} [${Array(9)
        .fill(i ? `*${letters[i - 1]}` : 'x')
        .join(',')}]`;
    writeFileSync(at('bomb.yaml'), `${letters.map(line).join('\n')}\nmodel: {name: *h}\n`);
    const says = /bomb\.yaml:\d+:\d+: expected at most 10000 values/;
    await expectError(['process', 'bomb.yaml'], { code: 'CONFIG', exit: 2, says });
  });
  test('two precisions', async () => {
    writeFileSync(at('both.yaml'), 'model: {name: model}\ntrain:\n  bf16: true\n  fp16: true\n');
    const says = /both\.yaml:3:3: train\.bf16: unknown key \(and 1 more problem\)/;
    await expectError(['train', 'both.yaml'], { code: 'CONFIG', exit: 2, says });
    writeFileSync(at('both.yaml'), 'model: {name: model}\ntrain: {precision: float16, precision: float32}\n');
    const twice = /both\.yaml:2:29: precision: duplicate key/;
    await expectError(['train', 'both.yaml'], { code: 'CONFIG', exit: 2, says: twice });
  });
  test('no file', () => expectError(['train', 'none.yaml'], { code: 'CONFIG', exit: 2, says: /none\.yaml/ }));
  test('two files', async () => {
    const says = /expected one file, got run\.yaml and --config other\.yaml/;
    await expectError(['train', 'run.yaml', '--config', 'other.yaml'], { code: 'ARGUMENT', exit: 2, says });
  });
  test('a flag that sets nothing', () =>
    expectError(['train', 'run.yaml', '--set', 'train.epochs'], {
      code: 'ARGUMENT',
      exit: 2,
      says: /--set: expected key\.path=value/,
    }));
  test('no model', () =>
    expectError(['infer', '--prompt', 'x'], { code: 'ARGUMENT', exit: 2, says: /expected a config or --model/ }));
});

test('no adapter of that name', async () => {
  const env = { WEBGPU_SFT_ADAPTER: 'abacus' };
  await expectError(['gpu-info'], { code: 'NO_GPU', exit: 1, says: /adapter/, env });
  await expectError(['train', 'run.yaml'], { code: 'NO_GPU', exit: 1, says: /adapter/, env });
});

describe('writing', () => {
  const merge = (out: string) => ['merge', '--model', 'model', '--adapter', 'adapter', '--out', out];

  test('a full disk', async () => {
    // No file may become larger than 32 blocks; the merged weights are.
    const shell = 'ulimit -f 32; exec "$@"';
    await expectError(merge('merged'), {
      code: 'IO',
      exit: 1,
      says: /merged\/model\.safetensors: could not be written/,
      shell,
    });
  });

  test('a read-only folder', async () => {
    symlinkSync('/proc', at('proc'));
    const says = /could not be written/;
    await expectError(merge('proc/merged'), { code: 'IO', exit: 1, says });
    rmSync(at('proc'));
  });

  test('a folder that is not its own', async () => {
    await expectError(merge('wider'), { code: 'ARGUMENT', exit: 2, says: /expected a new or empty folder/ });
    copyFileSync(at('run.yaml'), at('file'));
    await expectError(merge('file/merged'), { code: 'IO', exit: 1, says: /could not be written/ });
  });
});

test('everything is as it was made', async () => {
  // What the tests above compare with is there at all.
  expect(await (await openFolder(at('model'))).list()).toContain('model.safetensors');
});
