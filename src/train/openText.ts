/** The tokenizer and chat template that a configuration asks for. */
import { openFolder } from '#platform';
import type { TemplateChoice, TemplateText } from '../data/template.ts';
import { type ModelText, openModelText } from '../eval/modelText.ts';
import type { ReadableFolder } from '../platform/types.ts';
import type { Config } from './config.ts';
import { asWrong, openModelFolder, type SourceOptions } from './namedFiles.ts';
import { readWhole } from './readWhole.ts';

/**
 * The tokenizer and template that rows are prepared with: of the model that the configuration names, or of another, and as the
 * adapter on top of it was trained. Needs no weights.
 */
export async function openText(
  config: Config,
  options: SourceOptions & { readonly model?: ReadableFolder; readonly adapter?: ReadableFolder | undefined } = {},
): Promise<ModelText> {
  const folder = options.model ?? (await openModelFolder(config.model, options));
  return openModelText(folder, { adapter: options.adapter, ...(await templateChoice(config)) });
}

/** Where the template for models without one lies in the folder that this runs in; `webgpu-sft init` puts one there. */
const DEFAULT_TEMPLATE = { folder: 'chat_templates', file: 'default.jinja' };

/** Which template to use instead of a model's own, and which where it has none. Throws `TEMPLATE`. */
export async function templateChoice({ model }: Config): Promise<TemplateChoice> {
  const path = model.chat_template;
  if (path !== null) return { chatTemplate: await readTemplate(path, 'model.chat_template') };
  const { folder, file } = DEFAULT_TEMPLATE;
  return {
    async defaultTemplate() {
      const there = await openFolder(folder).then(
        (opened) => opened.has(file),
        () => false,
      );
      return there ? readTemplate(`${folder}/${file}`, 'the chat template for models without one') : undefined;
    },
  };
}

async function readTemplate(path: string, where: string): Promise<TemplateText> {
  try {
    return { text: await readWhole(path), source: path };
  } catch (cause) {
    throw asWrong(cause, 'TEMPLATE', where, 'name a .jinja file, or leave the key out');
  }
}
