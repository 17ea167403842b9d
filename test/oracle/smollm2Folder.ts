import { spawnSync } from 'node:child_process';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { python } from './python.ts';

const shared = join(import.meta.dirname, '../../../shared');
export const gsm8k = join(shared, 'data/gsm8k/train.jsonl');

/** The folder of the model, made where there is none; null where that is not possible, and then it says why. */
export function smollm2(): string | null {
  const given = process.env.WEBGPU_SFT_SMOLLM2;
  if (given) return given;
  const tool = join(shared, 'tools/real_model.py');
  if (!python || !existsSync(tool) || !existsSync(gsm8k)) return null;
  const folder = join(tmpdir(), 'webgpu-sft-smollm2');
  if (existsSync(folder)) return folder;
  const unfinished = `${folder}.${process.pid}`;
  const { status, stderr } = spawnSync(python, [tool, 'smollm2', unfinished], { encoding: 'utf8' });
  if (status === 0) {
    try {
      renameSync(unfinished, folder);
    } catch (error) {
      // Another test process was faster.
      rmSync(unfinished, { recursive: true, force: true });
      if (!existsSync(folder)) throw error;
    }
    return folder;
  }
  rmSync(unfinished, { recursive: true, force: true });
  console.warn(`skipped: the model could not be made: ${stderr.trim().split('\n').at(-1)}`);
  return null;
}
