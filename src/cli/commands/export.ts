/** `webgpu-sft export`. */
import { SftError } from '../../platform/errors.ts';
import { type Call, type CommandSpec, oneOf } from '../command.ts';
import { exportBnb } from '../export/bnb.ts';
import { exportTrl } from '../export/trl.ts';

interface Options {
  readonly to?: string;
  readonly out?: string;
}

const TARGETS: Readonly<Record<string, (call: Call, out: string | undefined) => Promise<number>>> = {
  bnb: exportBnb,
  trl: exportTrl,
};

export const exportCommand: CommandSpec = {
  examples: [
    'webgpu-sft export configs/config_run.yaml --to trl',
    'webgpu-sft export --model models/base --to bnb --out models/base-bnb-4bit',
  ],
  addFlags: (command) =>
    void command
      .option(
        '--to <FORMAT>',
        'bnb: the base as a 4-bit folder of bitsandbytes; trl: the run as a script for TRL',
        oneOf('--to', Object.keys(TARGETS)),
      )
      .option('--out <DIR>', 'folder to write; <output_dir>/<FORMAT> if left out'),
  async run(call) {
    const { to, out } = call.options as unknown as Options;
    const target = to === undefined ? undefined : TARGETS[to];
    if (target) return target(call, out);
    throw new SftError('ARGUMENT', `--to: expected one of ${Object.keys(TARGETS).join(', ')}, got none`, {
      hint: 'say what to write: --to trl',
    });
  },
};
