/** How `webgpu-sft gpu-info` is called. */
import type { CommandSpec } from '../command.ts';

export const gpuInfo: CommandSpec = {
  json: 'adapters, features and limits as one document',
  examples: ['webgpu-sft gpu-info', 'WEBGPU_SFT_ADAPTER=nvidia webgpu-sft gpu-info --json'],
  action: () => import('../actions/gpuInfo.ts'),
};
