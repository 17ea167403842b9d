/** What turns text into tokens and back: the tokenizer and the chat template of a model folder. */
import { type ChatTemplate, loadChatTemplate, type TemplateChoice, type TemplateText } from '../data/template.ts';
import { loadTokenizer, type Tokenizer } from '../data/tokenizer.ts';
import { readText } from '../platform/sources.ts';
import type { ReadableFolder } from '../platform/types.ts';

/** What makes text of tokens and tokens of text. */
export interface ModelText {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate | null;
}

/** The tokenizer of a model folder, and the template that conversations are written with. Throws `MODEL`, `TEMPLATE`. */
export async function openModelText(
  folder: ReadableFolder,
  { adapter, chatTemplate, defaultTemplate }: TemplateChoice & { readonly adapter?: ReadableFolder | undefined },
): Promise<ModelText> {
  const tokenizer = await loadTokenizer(folder);
  const template = await loadChatTemplate(folder, tokenizer.namedTokens, {
    chatTemplate: chatTemplate ?? (await templateOf(adapter)),
    defaultTemplate,
  });
  return { tokenizer, template };
}

/** The chat template that an adapter was trained with lies beside it. */
async function templateOf(adapter: ReadableFolder | undefined): Promise<TemplateText | undefined> {
  const file = 'chat_template.jinja';
  if (!adapter || !(await adapter.has(file))) return undefined;
  return { text: await readText(adapter, file), source: `${adapter.name}/${file}` };
}
