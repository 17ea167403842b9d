/** `webgpu-sft export`. */
import { SftError } from '../../platform/errors.ts';
import { type Call, type CommandSpec, oneOf } from '../command.ts';
import { exportBnb } from '../export/bnb.ts';
import { exportGguf, GGUF_TYPES } from '../export/gguf.ts';
import { exportMlx } from '../export/mlx.ts';
import { exportTrl } from '../export/trl.ts';

interface Options {
  readonly to?: string;
  readonly out?: string;
}

const TARGETS: Readonly<Record<string, (call: Call, out: string | undefined) => Promise<number>>> = {
  gguf: exportGguf,
  mlx: exportMlx,
  bnb: exportBnb,
  trl: exportTrl,
};

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
    const { to, out } = call.options as unknown as Options;
    const target = to === undefined ? undefined : TARGETS[to];
    if (target) return target(call, out);
    throw new SftError('ARGUMENT', `--to: expected one of ${Object.keys(TARGETS).join(', ')}, got none`, {
      hint: 'say what to write: --to trl',
    });
  },
};
