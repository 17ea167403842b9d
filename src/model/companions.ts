/** Files of a model folder that go along with its weights and config. */
import { readBytes } from '../platform/sources.ts';
import type { ReadableFolder, StagedFolder } from '../platform/types.ts';

/** Those that say how text becomes tokens. */
export const TOKENIZER_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'tokenizer.model',
];

export const COMPANIONS = ['generation_config.json', ...TOKENIZER_FILES, 'chat_template.jinja'];

/** Copies each of them from the first of these folders that has it. */
export async function copyCompanions(out: StagedFolder, ...folders: readonly ReadableFolder[]): Promise<void> {
  for (const path of COMPANIONS) {
    for (const folder of folders) {
      if (!(await folder.has(path))) continue;
      await out.write(path, await readBytes(folder, path));
      break;
    }
  }
}
