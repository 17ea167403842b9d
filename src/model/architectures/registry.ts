/** Supported architectures by `model_type`. */
import type { Architecture } from '../architecture.ts';
import { llama } from './llama.ts';
import { qwen2 } from './qwen2.ts';

export const ARCHITECTURES: Readonly<Record<string, Architecture>> = { llama, qwen2 };
