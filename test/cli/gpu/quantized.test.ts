/** Quantised bases on the command line: trained over, exported, answered with and merged. */
import { existsSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import { useTinyRun } from './tinyRun.ts';

const { cli, at, read } = useTinyRun();
const json = (path: string) => JSON.parse(read(path)) as Record<string, unknown>;
const QLORA = ['run.yaml', '--set', 'tuning.mode=qlora', '--set', 'output_dir=outputs/qlora'];

beforeAll(async () => {
  const { code, stderr } = await cli(['train', ...QLORA, '--max-steps', '3']);
  expect(code, stderr).toBe(0);
});

test('a run says how its base was stored', () => {
  expect(json('outputs/qlora/backend.json')).toMatchObject({ mode: 'qlora', quantization: 'nf4' });
});

test('export: the base in 4 bits, which can be trained over and answered with as it is', async () => {
  const exported = await cli(['export', ...QLORA, '--to', 'bnb', '--out', 'small']);
  expect(exported).toMatchObject({ code: 0, stdout: '' });
  expect(exported.stderr).toContain('in 4 bits: small');
  expect(existsSync(at('small/tokenizer.json'))).toBe(true);
  expect(json('small/config.json').quantization_config).toMatchObject({ bnb_4bit_quant_type: 'nf4' });

  const flags = ['--prompt', 'What is 1 + 1?', '--temperature', '0', '--max-new-tokens', '8'];
  const [apart, stored] = [
    await cli(['infer', ...QLORA, ...flags]),
    await cli(['infer', '--model', 'small', '--adapter', 'outputs/qlora/final_model', ...flags]),
  ];
  expect(stored).toMatchObject({ code: 0, stdout: apart.stdout });

  const set = ['--set', 'model.name=small', '--set', 'tuning.mode=lora', '--set', 'output_dir=outputs/small'];
  const trained = await cli(['train', 'run.yaml', ...set, '--max-steps', '3']);
  expect(trained.code, trained.stderr).toBe(0);
  const losses = (path: string) => (json(path).log_history as { loss?: number }[]).map(({ loss }) => loss);
  expect(losses('outputs/small/trainer_state.json')).toEqual(losses('outputs/qlora/trainer_state.json'));

  const again = await cli(['export', '--model', 'small', '--to', 'bnb', '--out', 'smaller']);
  expect(again.stderr).toMatch(
    /^error\[MODEL\]: small: expected unquantised weights, got weights in 4 bits already\nhint: /,
  );
  expect(existsSync(at('smaller'))).toBe(false);
});

test('export: what it does not write is refused by name', async () => {
  const onnx = await cli(['export', 'run.yaml', '--to', 'onnx']);
  expect(onnx).toMatchObject({ code: 2 });
  expect(onnx.stderr).toMatch(/^error\[ARGUMENT\]: --to: expected one of .*bnb.*, got "onnx"/);
  expect((await cli(['export', 'run.yaml'])).stderr).toContain('got none');
  const foreign = await cli(['export', 'run.yaml', '--to', 'bnb', '--out', 'model']);
  expect(foreign.stderr).toMatch(/^error\[ARGUMENT\]: --out: .*model: expected a new or empty folder/);
});

test('merge: into either base, with the measured difference of each', async () => {
  const original = await cli(['merge', ...QLORA, '--dtype', 'float32', '--out', 'original']);
  expect(original.code, original.stderr).toBe(0);
  expect(original.stderr).toMatch(/merged weights differ .* % in original ones, 0 % in dequantized ones/);
  expect(original.stderr).toMatch(/logits differ by \d/);
  const flags = ['--dtype', 'float32', '--base', 'dequantized', '--out', 'dequantized'];
  const dequantized = await cli(['merge', ...QLORA, ...flags]);
  expect(dequantized.code, dequantized.stderr).toBe(0);
  const [one, other] = ['original', 'dequantized'].map((name) => json(`${name}/merge.json`)) as Record<
    string,
    { relative: number; same_token: number; original: number }
  >[];
  expect(one).toMatchObject({ base_weights: 'original', quantization: 'nf4' });
  expect(other).toMatchObject({ base_weights: 'dequantized', weight_error: one?.weight_error });
  expect(one?.weight_error?.original).toBeGreaterThan(0.02);
  expect(one?.logit_error?.relative).toBeGreaterThan(1e-3);
  expect(other?.logit_error?.relative).toBeLessThan(1e-5);
  expect(other?.logit_error?.same_token).toBe(1);
});
