/** `webgpu-sft export`. */
import type { GgufType } from '../../index.ts';
import { SftError } from '../../platform/errors.ts';
import { type Call, type CommandSpec, oneOf } from '../command.ts';

interface Options {
  readonly to?: string;
  readonly out?: string;
  readonly adapter?: string;
  readonly merged?: boolean;
  readonly type?: string;
}

/** Flags that not every format has a use for. */
const ONLY_FOR: Readonly<Record<'adapter' | 'merged' | 'type', readonly string[]>> = {
  adapter: ['gguf', 'mlx'],
  merged: ['gguf'],
  type: ['gguf'],
};

type Target = (call: Call, out: string | undefined) => Promise<number>;

/** Each is loaded when it is asked for. */
const TARGETS: Readonly<Record<string, () => Promise<Target>>> = {
  gguf: async () => (await import('../export/gguf.ts')).exportGguf,
  mlx: async () => (await import('../export/mlx.ts')).exportMlx,
  bnb: async () => (await import('../export/bnb.ts')).exportBnb,
  trl: async () => (await import('../export/trl.ts')).exportTrl,
};

const GGUF_TYPES: readonly GgufType[] = ['f32', 'f16', 'bf16', 'q8_0'];

export const exportCommand: CommandSpec = {
  examples: [
    'webgpu-sft export configs/config_run.yaml --to gguf',
    'webgpu-sft export configs/config_run.yaml --to gguf --merged --type q8_0',
    'webgpu-sft export configs/config_run.yaml --to trl',
    'webgpu-sft export --model models/base --to bnb --out models/base-bnb-4bit',
  ],
  addFlags: (command) =>
    void command
      .option(
        '--to <FORMAT>',
        'gguf: adapter or model for llama.cpp; mlx: adapter for mlx-lm; bnb: the base in 4 bits of bitsandbytes; trl: the run as a script of TRL',
        oneOf('--to', Object.keys(TARGETS)),
      )
      .option('--out <DIR>', 'folder to write; <output_dir>/<FORMAT> if left out')
      .option('--adapter <DIR>', 'adapter; <output_dir>/final_model of the config if left out')
      .option('--merged', 'gguf: the model with the adapter folded in, instead of the adapter')
      .option(
        '--type <TYPE>',
        'gguf: f32 (default of adapters), f16 (of models), bf16 or q8_0',
        oneOf('--type', GGUF_TYPES),
      ),
  async run(call) {
    const { to, out, ...flags } = call.options as unknown as Options;
    const target = to === undefined ? undefined : TARGETS[to];
    for (const [flag, targets] of Object.entries(ONLY_FOR)) {
      if (to === undefined || targets.includes(to) || flags[flag as keyof typeof ONLY_FOR] === undefined) continue;
      throw new SftError('ARGUMENT', `--${flag}: expected it with --to ${targets.join(' or ')}, got --to ${to}`, {
        hint: `leave it out: ${to} has no use for it`,
      });
    }
    if (target) return (await target())(call, out);
    throw new SftError('ARGUMENT', `--to: expected one of ${Object.keys(TARGETS).join(', ')}, got none`, {
      hint: 'say what to write: --to trl',
    });
  },
};
