/** How `webgpu-sft export` is called. */
import { type CommandSpec, oneOf } from '../command.ts';

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
        oneOf('--to', ['gguf', 'mlx', 'bnb', 'trl']),
      )
      .option('--out <DIR>', 'folder to write; <output_dir>/<FORMAT> if left out')
      .option('--adapter <DIR>', 'adapter; <output_dir>/final_model of the config if left out')
      .option('--merged', 'gguf: the model with the adapter folded in, instead of the adapter')
      .option(
        '--type <TYPE>',
        'gguf: f32 (default of adapters), f16 (of models), bf16 or q8_0',
        oneOf('--type', ['f32', 'f16', 'bf16', 'q8_0']),
      ),
  action: () => import('../actions/export.ts'),
};
