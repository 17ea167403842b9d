/** `doctor --report` with secrets all around it, where there is no adapter. With one: `gpu/results.test.ts`. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { redactConfig, scrub } from '../../src/cli/report/redact.ts';
import { parseConfig } from '../../src/train/configCheck.ts';
import { runCli, useCli } from './cli.ts';

const TOKEN = 'hf_AbCdEfGhIjKlMnOpQrStUv';
const WANDB = '0123456789abcdef0123456789abcdef01234567';
const PLANTED = 'zzplanted';

/** Strings that a person may choose freely and that are no secrets: a branch, names of layers, of adapters. */
const KEPT = ['model.revision', 'tuning.lora.target_modules', 'devices'];

describe('doctor --report', () => {
  const folder = useCli();
  const at = (path: string) => join(folder(), path);
  const doctor = (...args: string[]) =>
    runCli(['doctor', ...args], {
      cwd: at('acme/merger'),
      env: {
        WEBGPU_SFT_ADAPTER: 'no such adapter',
        HOME: at('acme'),
        USER: 'jdoe',
        HF_TOKEN: TOKEN,
        WANDB_API_KEY: WANDB,
        MY_SECRET: 'open sesame 42',
        HF_ENDPOINT: `https://jdoe:pass@hub.acme.test/?token=${TOKEN}`,
      },
    });

  beforeAll(() => {
    mkdirSync(at('acme/merger/run'), { recursive: true });
    const config = {
      output_dir: 'run',
      model: { name: at('acme/models/secret-base'), hub_url: 'https://hub.acme.test' },
      data: {
        train_path: at('acme/merger/customers.jsonl'),
        val_path: '/srv/acme/payroll/val.jsonl',
        style: 'Be open sesame 42.',
      },
      logging: { project: 'acme-merger', run_name: 'jdoe-1', backend: 'wandb' },
      generation: { stop: ['acme'] },
    };
    writeFileSync(at('acme/merger/config.yaml'), stringify(config));
    writeFileSync(at('acme/merger/wrong.yaml'), stringify({ ...config, train: { epochs: TOKEN } }));
    const backend = { backend: 'fast', adapter: 'llvmpipe', driver: `${at('acme')}/driver.so ${TOKEN}` };
    writeFileSync(at('acme/merger/run/backend.json'), JSON.stringify(backend));
    writeFileSync(at('acme/merger/mine.txt'), 'mine');
  });

  function expectNothingPrivate(text: string): void {
    const names = [userInfo().username, hostname()].filter((name) => name.length > 4);
    for (const secret of [TOKEN, WANDB, 'sesame', 'jdoe', 'acme', 'secret-base', 'payroll', folder(), ...names]) {
      expect(text).not.toContain(secret);
    }
  }

  it('says what a bug report needs and nothing private', async () => {
    const { code, stderr } = await doctor('config.yaml', '--report', 'report.yaml');
    expect(stderr).toContain('wrote report.yaml: look through it');
    expect(stderr).toContain('error[NO_GPU]');
    expect(code).toBe(1);
    const text = readFileSync(at('acme/merger/report.yaml'), 'utf8');
    expectNothingPrivate(text);
    expect(parse(text)).toMatchObject({
      versions: { node: process.versions.node, system: expect.stringContaining(process.arch) as string },
      environment: { WEBGPU_SFT_ADAPTER: 'no such adapter', HF_TOKEN: 'set', WANDB_API_KEY: 'set', HF_ENDPOINT: 'set' },
      failure: { code: 'NO_GPU' },
      kernels: { tested: 0, wrong: [] },
      config: {
        model: { name: '<path>', max_seq_len: 1024 },
        data: { train_path: '<path>.jsonl', val_path: '<path>.jsonl', style: '<18 characters>' },
        logging: { project: '<11 characters>', backend: 'wandb' },
        generation: { stop: '<1 entries>', temperature: 0.7 },
      },
      run: { backend: { backend: 'fast', adapter: 'llvmpipe', driver: '~/driver.so <HF_TOKEN>' } },
    });
  });

  it('of a config that is wrong its problems', async () => {
    const { code, stderr } = await doctor('wrong.yaml', '--report');
    expect(code, stderr).toBe(2);
    const text = readFileSync(at('acme/merger/webgpu-sft-report.yaml'), 'utf8');
    expectNothingPrivate(text);
    expect((parse(text) as { config_problems: string[] }).config_problems.join()).toContain('train.epochs');
    // An earlier report is replaced, another file is not.
    expect((await doctor('wrong.yaml', '--report')).stderr).toContain('wrote webgpu-sft-report.yaml');
    const refused = await doctor('--report', 'mine.txt');
    expect(refused.stderr).toMatch(
      /^error\[ARGUMENT\]: --report: mine.txt: expected a new file or an earlier report\nhint: /,
    );
    expect(readFileSync(at('acme/merger/mine.txt'), 'utf8')).toBe('mine');
  });

  it('without a config, nothing is told of one', async () => {
    await doctor('--report', 'plain.yaml');
    expect(existsSync(at('acme/merger/plain.yaml'))).toBe(true);
    expect(Object.keys(parse(readFileSync(at('acme/merger/plain.yaml'), 'utf8')) as object)).not.toContain('config');
  });
});

describe('redacting', () => {
  /** Every key that takes any text, found by trying. */
  function* freeKeys(value: object, path: readonly string[] = []): Generator<readonly string[]> {
    for (const [name, inner] of Object.entries(value)) {
      const key = [...path, name];
      if (
        typeof inner === 'object' &&
        inner !== null &&
        !Array.isArray(inner) &&
        Object.keys(inner as object).length > 0
      ) {
        yield* freeKeys(inner as object, key);
      } else yield key;
    }
  }

  it('leaves no text of a person in any key', () => {
    const plain = parseConfig({ model: { name: PLANTED } });
    const tried: string[] = [];
    for (const key of freeKeys(plain)) {
      for (const value of [PLANTED, [PLANTED], { user: PLANTED }]) {
        const input = { model: { name: 'm' } } as Record<string, unknown>;
        const leaf = key.slice(0, -1).reduce<Record<string, unknown>>((at, name) => {
          at[name] ??= {};
          return at[name] as Record<string, unknown>;
        }, input);
        leaf[key.at(-1)!] = value;
        let config: ReturnType<typeof parseConfig>;
        try {
          config = parseConfig(input as never);
        } catch {
          continue;
        }
        tried.push(key.join('.'));
        if (!KEPT.includes(key.join('.')))
          expect(JSON.stringify(redactConfig(config, false)), key.join('.')).not.toContain(PLANTED);
      }
    }
    expect(new Set(tried).size).toBeGreaterThan(15);
    for (const key of KEPT) expect(tried).toContain(key);
  });

  it('keeps the id of a model on a hub, and numbers', () => {
    const config = parseConfig({ model: { name: 'owner/name' }, train: { learning_rate: 1e-3 } });
    expect(redactConfig(config, true)).toMatchObject({ model: { name: 'owner/name' }, train: { learning_rate: 1e-3 } });
  });

  it.each([
    ['see https://u:p@host.test/x?token=abc', 'see <address>'],
    ['Bearer abcdefgh12345678', 'Bearer <token>'],
    ['sk-abcdefgh12345 ghp_abcdefgh12345', '<token> <token>'],
    ['cannot open /srv/a b/x', 'cannot open <path> b/x'],
    ["'/opt/mine/data.csv' and /usr/lib/libvulkan.so", "'<path>.csv' and /usr/lib/libvulkan.so"],
    ['C:\\Users\\jo\\x.jsonl', '<path>.jsonl'],
    ['adamW8bit 1/2 and/or a:b', 'adamW8bit 1/2 and/or a:b'],
  ])('%j', (text, wanted) => {
    expect(scrub({ text: [text] }, { USER: 'jdoe' })).toEqual({ text: [wanted] });
  });
});
