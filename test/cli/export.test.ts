/** `export` as a person has it, where no GPU is needed. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { root } from '../../scripts/common.mjs';
import { bytesToF32 } from '../../src/model/dtype.ts';
import { readSafetensors } from '../../src/model/safetensors.ts';
import { openFile } from '../../src/platform/nodeFiles.ts';
import { writeRandomAdapter } from '../model/adapters.ts';
import { runCli, useCli } from './cli.ts';

const TINY = join(root, 'assets/tiny-llama');

async function tensorsOf(path: string) {
  const source = await openFile(path);
  try {
    const tensors = new Map<string, { shape: readonly number[]; values: Float32Array }>();
    for (const { name, shape, offset, length } of (await readSafetensors(source)).tensors.values()) {
      tensors.set(name, { shape, values: bytesToF32(await source.read(offset, length), 'F32') });
    }
    return tensors;
  } finally {
    await source.close();
  }
}

describe('export', () => {
  const folder = useCli();
  const at = (path: string) => join(folder(), path);
  const cli = (...args: string[]) => runCli(['export', ...args], { cwd: folder() });
  const FLAGS = ['--model', TINY, '--adapter', 'an adapter'];

  beforeAll(async () => {
    const options = { r: 4, lora_alpha: 12, use_rslora: false };
    await writeRandomAdapter(at('an adapter'), TINY, {
      ...options,
      target_modules: 'model\\.layers\\.[24]\\.(self_attn\\.q_proj|mlp\\.down_proj)',
    });
    mkdirSync(at('mine'));
    writeFileSync(at('mine/kept.txt'), 'kept');
  });

  it("mlx: names, shapes and settings of mlx-lm's adapters", async () => {
    const { code, stderr } = await cli(...FLAGS, '--to', 'mlx', '--out', 'for mlx');
    expect(code, stderr).toBe(0);
    expect(stderr).toContain('mlx_lm.generate --model');
    expect(stderr).toContain("--adapter-path 'for mlx'");
    expect(JSON.parse(readFileSync(at('for mlx/adapter_config.json'), 'utf8'))).toEqual({
      fine_tune_type: 'lora',
      model: TINY,
      // Of five layers, from the third on.
      num_layers: 3,
      lora_parameters: { rank: 4, scale: 3, dropout: 0.05, keys: ['self_attn.q_proj', 'mlp.down_proj'] },
    });
    const theirs = await tensorsOf(at('an adapter/adapter_model.safetensors'));
    const ours = await tensorsOf(at('for mlx/adapters.safetensors'));
    expect(ours.size).toBe(theirs.size);
    for (const [name, { shape, values }] of theirs) {
      const [rows = 0, columns = 0] = shape;
      const wanted = name.replace('base_model.model.', '').replace(/\.lora_([AB])\.weight$/, (_, side: string) => {
        return `.lora_${side.toLowerCase()}`;
      });
      const written = ours.get(wanted)!;
      expect(written.shape, wanted).toEqual([columns, rows]);
      const back = Array.from({ length: values.length }, (_, i) => {
        return written.values[(i % columns) * rows + Math.floor(i / columns)];
      });
      expect(back).toEqual([...values]);
    }
  });

  it('gguf: an adapter alone, or folded into the model', async () => {
    const alone = await cli(...FLAGS, '--to', 'gguf', '--out', 'alone');
    expect(alone.stderr).toContain('llama-cli -m BASE.gguf --lora alone/adapter.gguf');
    const merged = await cli(...FLAGS, '--to', 'gguf', '--merged', '--type', 'q8_0', '--out', 'merged');
    expect(merged.stderr).toMatch(/warning: llama.cpp does not know[\s\S]*llama-cli -m merged\/model.gguf/);
    expect(readFileSync(at('merged/model.gguf')).toString('latin1', 0, 4)).toBe('GGUF');
    expect(JSON.parse(readFileSync(at('merged/export.json'), 'utf8'))).toMatchObject({ to: 'gguf', type: 'q8_0' });
    // Its own folder is replaced.
    expect(await cli(...FLAGS, '--to', 'gguf', '--out', 'merged')).toMatchObject({ code: 0 });
    expect(existsSync(at('merged/model.gguf'))).toBe(false);
  });

  it.each([
    [['--to', 'ggfu'], /--to: expected one of gguf, mlx, bnb, trl, got "ggfu"\nhint: did you mean gguf\?/],
    [[], /--to: expected one of gguf, mlx, bnb, trl, got none\nhint: /],
    [['--to', 'gguf', '--model', TINY, '--merged'], /--merged: expected an adapter to fold into the model, got none/],
    [['--to', 'mlx', '--model', TINY], /export --to mlx: expected an adapter, got none/],
    [['--to', 'trl', '--model', TINY], /export --to trl: expected the config of a run, got none/],
    [['--to', 'gguf', '--model', TINY, '--type', 'q4'], /--type: expected one of f32, f16, bf16, q8_0, got "q4"/],
    [['--to', 'bnb', '--model', TINY, '--merged'], /--merged: expected it with --to gguf, got --to bnb/],
    [['--to', 'mlx', '--model', TINY, '--type', 'f16'], /--type: expected it with --to gguf, got --to mlx/],
    [['--to', 'gguf', '--model', TINY, '--out', 'mine'], /--out: .*mine: expected a new or empty folder/],
    [['--to', 'gguf', '--model', TINY, '--adapter', 'mine'], /error\[ADAPTER\]/],
  ])('%j is refused', async (args, message) => {
    const { code, stderr } = await cli(...args);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
    expect(readFileSync(at('mine/kept.txt'), 'utf8')).toBe('kept');
  });
});
