/** What the engine says, in the words of the page: its messages are those of the command line too, which has files, keys and commands. */
import { text } from '../text.ts';

/** `model`: the chosen model, which its messages call by its path in storage. */
export function inPageWords(said: string, model: { readonly path: string; readonly title: string } | null): string {
  const { rows, commands, keys, others } = text.wording;
  let told = model ? said.replaceAll(model.path, () => model.title) : said;
  told = told.replaceAll(/\bdata\/[\w-]+\/processed\/(train|val|test)\.jsonl(?::(\d+))?/g, (_, split, row) =>
    rows(split as 'train' | 'val' | 'test', row as string | undefined),
  );
  told = told.replaceAll(/\bruns\/[\dT-]+\//g, '').replaceAll(commands, '');
  for (const [pattern, words] of others) told = told.replaceAll(pattern, words);
  for (const [key, name] of Object.entries(text.plan.keyNames)) told = told.replaceAll(key, () => keys(name));
  return told;
}
