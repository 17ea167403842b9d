/** How `webgpu-sft merge` is called. */
import { type CommandSpec, oneOf } from '../command.ts';

export const merge: CommandSpec = {
  examples: [
    'webgpu-sft merge configs/lora_smollm2.yaml',
    'webgpu-sft merge --model models/base --adapter outputs/run/final_model --out merged --dtype bfloat16',
    'webgpu-sft merge configs/qlora.yaml --base dequantized',
  ],
  addFlags: (command) =>
    void command
      .option('--out <DIR>', 'folder of the merged model; <output_dir>/merged if left out')
      .option(
        '--dtype <TYPE>',
        'float32, float16 or bfloat16',
        oneOf('--dtype', ['float32', 'float16', 'bfloat16']),
        'float16',
      )
      .option(
        '--base <WEIGHTS>',
        'what to fold the adapter into: original (default), or dequantized, the 4-bit weights that it was trained over',
        oneOf('--base', ['original', 'dequantized']),
      )
      .option('--adapter <DIR>', 'folder or hub id of the adapter; <output_dir>/final_model of the config if left out'),
  action: () => import('../actions/merge.ts'),
};
