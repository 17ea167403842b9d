/** Writes a model, with an adapter folded in or not, or an adapter alone, as one GGUF file in a folder. Needs no GPU. */
import type { TemplateChoice } from '../data/template.ts';
import { Decoder } from '../model/decoder.ts';
import { adapterContents, type GgufContents, modelContents } from '../model/gguf/contents.ts';
import { type GgufType, writeGguf } from '../model/gguf/format.ts';
import { openAdapterFolder } from '../model/lora.ts';
import { type ModelFiles, openModel, readSpec } from '../model/modelFiles.ts';
import { Parameters } from '../model/parameters.ts';
import type { Adapter } from '../model/peft.ts';
import { EXPORT_FILE } from '../model/recordFiles.ts';
import { UNBOUND_LIMITS } from '../model/unbound.ts';
import { saveFolder } from '../platform/stores.ts';
import type { ReadableFolder, WritableStore } from '../platform/types.ts';
import { VERSION } from '../platform/version.ts';
import { Memory } from '../tensor/memory.ts';
import { readGgufVocabulary } from './ggufVocabulary.ts';

/** Names of the files that are written. */
export const GGUF_FILES = { model: 'model.gguf', adapter: 'adapter.gguf' } as const;

/** What a GGUF file holds, and who is told while it is written. */
export interface GgufOptions {
  readonly type: GgufType;
  readonly signal?: AbortSignal | undefined;
  /** Tensors that are written and that will be. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** As for an adapter alone, and what else becomes a part of the model. */
export interface GgufModelOptions extends GgufOptions {
  /** Folded into the weights. */
  readonly adapter?: ReadableFolder | undefined;
  readonly template?: TemplateChoice;
}

/**
 * Writes `model.gguf`; what llama.cpp will do otherwise is returned. An adapter's own tokenizer and template go before those of the base.
 * Throws `MODEL`, `ADAPTER`, `TEMPLATE`, `NUMERIC`.
 */
export async function exportModelToGguf(
  folder: ReadableFolder,
  store: WritableStore,
  out: string,
  options: GgufModelOptions,
): Promise<readonly string[]> {
  const { type, adapter: adapterFolder, template, signal, onProgress } = options;
  const files = await openModel(folder);
  try {
    const adapter = adapterFolder ? await openAdapter(files, adapterFolder) : null;
    const hasText = (await adapterFolder?.has('tokenizer.json')) === true;
    const { metadata: vocabulary, warnings } = await readGgufVocabulary(
      hasText && adapterFolder ? adapterFolder : folder,
      { vocabSize: files.spec.vocabSize, config: files.config, ...(template && { choice: template }) },
    );
    const onTensor = (done: number, total: number) => {
      signal?.throwIfAborted();
      onProgress?.(done, total);
    };
    const contents = modelContents(files, { type, name: nameOf(folder), adapter, vocabulary, onTensor });
    await write(store, out, GGUF_FILES.model, contents, {
      base: folder.name,
      ...(adapterFolder && { adapter: adapterFolder.name }),
      type,
    });
    return warnings;
  } finally {
    await files.checkpoint.close();
  }
}

/** Writes `adapter.gguf`. Of the base only its config is read. Throws `MODEL`, `ADAPTER`, `NUMERIC`. */
export async function exportAdapterToGguf(
  base: ReadableFolder,
  adapterFolder: ReadableFolder,
  store: WritableStore,
  out: string,
  { type }: GgufOptions,
): Promise<void> {
  const spec = await readSpec(base);
  const adapter = await openAdapter(spec, adapterFolder);
  const contents = adapterContents(spec.spec, adapter, { type, name: nameOf(adapterFolder), where: base.name });
  await write(store, out, GGUF_FILES.adapter, contents, { base: base.name, adapter: adapterFolder.name, type });
}

/** Reads an adapter for a base of which only the config is known. Throws `ADAPTER`. */
export function openAdapter({ spec }: Pick<ModelFiles, 'spec'>, folder: ReadableFolder): Promise<Adapter> {
  const parameters = new Parameters(new Memory(UNBOUND_LIMITS), { trained: null, storage: () => 'f32' });
  return openAdapterFolder(folder, new Decoder(parameters, spec));
}

async function write(
  store: WritableStore,
  out: string,
  name: string,
  { metadata, tensors }: GgufContents,
  made: object,
): Promise<void> {
  await saveFolder(store, out, async (staged) => {
    const file = await staged.create(name);
    await writeGguf(file, metadata, tensors);
    await file.close();
    const record = { ...made, to: 'gguf', 'webgpu-sft': VERSION };
    await staged.write(EXPORT_FILE, `${JSON.stringify(record, null, 2)}\n`);
  });
}

/** The last part of a folder's path. */
function nameOf({ name }: ReadableFolder): string {
  return (
    name
      .replace(/[/\\]+$/, '')
      .split(/[/\\]/)
      .at(-1) ?? name
  );
}
