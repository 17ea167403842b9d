/** A model that is loaded and can be talked to: weights, tokenizer and chat template of one folder, on one device. */
import { rawPromptIds } from '../data/promptRows.ts';
import type { Message } from '../data/rows.ts';
import type { ChatTemplate, TemplateChoice } from '../data/template.ts';
import type { Tokenizer } from '../data/tokenizer.ts';
import type { Gpu } from '../gpu/device.ts';
import { loraScaling, readAdapterConfig } from '../model/adapterConfig.ts';
import { openAdapterFolder, optionsOf } from '../model/lora.ts';
import { Model, type WeightDtype } from '../model/model.ts';
import { type ModelFiles, openModel } from '../model/modelFiles.ts';
import type { QuantizationOptions } from '../model/quantization.ts';
import { SftError } from '../platform/errors.ts';
import type { ReadableFolder } from '../platform/types.ts';
import { endTokens } from './endTokens.ts';
import { generate, type Piece } from './generate.ts';
import { Generator, type GeneratorOptions } from './generator.ts';
import { type ModelText, openModelText } from './modelText.ts';
import { GREEDY, type SamplingOptions } from './sampling.ts';

/** A `chatTemplate` is used instead of the adapter's, if it brings one, or the model's own. */
export interface LoadOptions extends TemplateChoice {
  /** A PEFT adapter folder to apply. */
  readonly adapter?: ReadableFolder | undefined;
  /** Storage of the weights: `auto` is as in the checkpoint. */
  readonly dtype?: WeightDtype;
  /** How the weights of linear layers are quantised; as they are stored if left out. */
  readonly quantization?: QuantizationOptions | null;
  /** Most tokens of prompt and answer together, 2048 if left out; never more than the model was made for. */
  readonly maxLength?: number;
  /** Told of the bytes of weights that are loaded, and of all. */
  readonly onProgress?: ((loadedBytes: number, totalBytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How an answer is made: greedily, unless a temperature is given. */
export interface AnswerOptions extends Partial<SamplingOptions> {
  /** Most tokens of the answer; 256 if left out. */
  readonly maxNewTokens?: number;
  /** Texts that end the answer; they are not part of it. */
  readonly stop?: readonly string[];
  readonly signal?: AbortSignal | undefined;
  /** Whether the adapter takes part; true if left out. */
  readonly useAdapter?: boolean;
}

/** A conversation, or the token ids of a prompt. */
export type Question = readonly Message[] | readonly number[];

export interface Completion {
  /** Number of the prompt, from 0. */
  readonly index: number;
  readonly text: string;
}

const DEFAULT_LENGTH = 2048;
/** Answers that are made side by side: what a tile of a matrix product has room for. */
const MOST_LANES = 16;

/**
 * Weights on a device with their tokenizer and template. `load` makes one, and `close` gives back what it has on the GPU.
 */
export class LanguageModel {
  readonly gpu: Gpu;
  readonly files: ModelFiles;
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  /** Of the adapter that was loaded last, unless it was chosen. */
  template: ChatTemplate | null;
  /** Ids that end an answer. */
  readonly endTokens: readonly number[];
  private readonly generators = new Map<boolean, Generator>();
  /** How the template was chosen; null where the weights belong to somebody else. */
  private readonly choice: TemplateChoice | null;

  private constructor(gpu: Gpu, model: Model, { tokenizer, template }: ModelText, choice: TemplateChoice | null) {
    const { files } = model;
    this.gpu = gpu;
    this.files = files;
    this.model = model;
    this.tokenizer = tokenizer;
    this.template = template;
    this.choice = choice;
    this.endTokens = endTokens(files, tokenizer);
  }

  /** Loads a model folder. Throws `MODEL`, `ADAPTER`, `TEMPLATE` or `OUT_OF_MEMORY`; nothing stays behind. */
  static async load(folder: ReadableFolder, gpu: Gpu, options: LoadOptions = {}): Promise<LanguageModel> {
    const { adapter, dtype = 'auto', quantization = null, chatTemplate, defaultTemplate, onProgress, signal } = options;
    const files = await openModel(folder);
    try {
      const text = await openModelText(folder, { adapter, chatTemplate, defaultTemplate });
      const maxLength = Math.min(options.maxLength ?? DEFAULT_LENGTH, files.spec.rope.maxPositions);
      const tuning = adapter
        ? ({ mode: 'lora', lora: optionsOf(await readAdapterConfig(adapter)), trained: false } as const)
        : ({ mode: 'none' } as const);
      const model = new Model(files, gpu.limits, { dtype, quantization, maxLength, tuning });
      const weights = adapter ? await openAdapterFolder(adapter, model.decoder) : null;
      try {
        await model.load(gpu, onProgress, signal);
        if (weights) model.lora?.load(gpu, model.memory, weights);
      } catch (error) {
        model.close(gpu);
        throw error;
      }
      return new LanguageModel(gpu, model, text, { chatTemplate, defaultTemplate });
    } finally {
      await files.checkpoint.close();
    }
  }

  /**
   * A model whose weights are on the GPU and belong to somebody else, such as a run: `close` frees what answers took and leaves
   * the model. What is done with it changes nothing of the model.
   */
  static over(gpu: Gpu, model: Model, text: ModelText): LanguageModel {
    return new LanguageModel(gpu, model, text, null);
  }

  /** Replaces the adapter by another one of the same shape, its chat template included. Throws `ADAPTER`. */
  async loadAdapter(folder: ReadableFolder): Promise<void> {
    const { lora, memory, decoder } = this.model;
    const wanted = await readAdapterConfig(folder);
    if (
      !lora ||
      wanted.r !== lora.config.r ||
      loraScaling(wanted) !== loraScaling(lora.config) ||
      JSON.stringify(wanted.target_modules) !== JSON.stringify(lora.config.target_modules)
    ) {
      throw new SftError(
        'ADAPTER',
        `${folder.name}: expected an adapter with the rank, scaling and layers of the one that was loaded first`,
        {
          hint: 'load the model again with this adapter',
        },
      );
    }
    const weights = await openAdapterFolder(folder, decoder);
    const { choice, files } = this;
    if (choice) this.template = (await openModelText(files.folder, { adapter: folder, ...choice })).template;
    lora.load(this.gpu, memory, weights);
  }

  /** Token ids of a conversation, ready for an answer. Throws `TEMPLATE` when the model has no chat template. */
  promptIds(messages: readonly Message[]): number[] {
    if (!this.template) {
      throw new SftError('TEMPLATE', `${this.files.folder.name}: expected a chat template, the model has none`, {
        hint: 'give one with model.chat_template',
      });
    }
    return this.tokenizer.encode(this.template.render({ messages, addGenerationPrompt: true }).text).ids;
  }

  /** Token ids of raw text that is to go on: as rows of raw text begin. */
  textIds(text: string): number[] {
    return rawPromptIds(text, this.tokenizer);
  }

  /** Yields the answer to a conversation, or to the token ids of a prompt, piece by piece. Greedy unless told otherwise. */
  async *answer(prompt: Question, options: AnswerOptions = {}): AsyncGenerator<string, void> {
    for await (const { text } of this.pieces([prompt], options)) if (text !== '') yield text;
  }

  /** The whole answer at once; what there is of it when `signal` is aborted. */
  async complete(prompt: Question, options: AnswerOptions = {}): Promise<string> {
    let text = '';
    for await (const piece of this.answer(prompt, options)) text += piece;
    return text;
  }

  /**
   * Answers many prompts, several side by side, and yields each answer when it is whole, in whatever order they end. Prompt n
   * draws from seed + n. Ends without the others when `signal` is aborted.
   */
  async *completions(prompts: readonly Question[], options: AnswerOptions = {}): AsyncGenerator<Completion, void> {
    const texts = prompts.map(() => '');
    for await (const { index, text, done } of this.pieces(prompts, options)) {
      texts[index] += text;
      if (done && !options.signal?.aborted) yield { index, text: texts[index] as string };
    }
  }

  /** Frees what it owns on the GPU. */
  async close(): Promise<void> {
    for (const generator of this.generators.values()) generator.close();
    this.generators.clear();
    if (this.choice) this.model.close(this.gpu);
    await this.gpu.collect();
  }

  private async *pieces(prompts: readonly Question[], options: AnswerOptions): AsyncGenerator<Piece, void> {
    const { maxNewTokens = 256, stop = [], signal, useAdapter = true, ...sampling } = options;
    const { maxLength, lora } = this.model;
    const ids = prompts.map((prompt) => (isIds(prompt) ? prompt : this.promptIds(prompt)));
    const wrong = ids.findIndex(({ length }) => length === 0 || length > maxLength);
    if (wrong !== -1) {
      const which = prompts.length > 1 ? `prompt ${wrong + 1}` : 'prompt';
      throw new SftError('ARGUMENT', `${which}: expected 1 to ${maxLength} tokens, got ${ids[wrong]?.length}`, {
        hint: 'shorten the prompt, or raise model.max_seq_len',
      });
    }
    // A conversation grows; many prompts are known.
    const longest = ids.reduce((most, { length }) => Math.max(most, length), 0);
    const capacity = prompts.length > 1 ? Math.min(maxLength, longest + maxNewTokens) : maxLength;
    const lanes = Math.min(prompts.length, MOST_LANES);
    const generator = await this.generator({ capacity, lanes, adapters: useAdapter && lora !== null });
    const all = { ...GREEDY, ...sampling, maxNewTokens, stop, signal, endTokens: this.endTokens };
    yield* generate(generator, this.tokenizer, ids, all);
  }

  private async generator(options: GeneratorOptions & { readonly lanes: number }): Promise<Generator> {
    const { adapters, capacity, lanes } = options;
    const existing = this.generators.get(adapters);
    if (existing && existing.capacity >= capacity && existing.wanted >= lanes) return existing;
    existing?.close();
    this.generators.delete(adapters);
    await this.gpu.collect();
    const generator = await Generator.create(this.gpu, this.model, options);
    this.generators.set(adapters, generator);
    return generator;
  }
}

function isIds(prompt: Question): prompt is readonly number[] {
  return typeof prompt[0] === 'number';
}
