/**
 * The tokenizer of a model folder: `tokenizer.json` through @huggingface/tokenizers, with what training needs besides:
 * the place of each token in the text, special tokens by name, and text that streams out token by token.
 *
 * Nothing is cleaned up when decoding ("clean_up_tokenization_spaces" would lose spaces of the answer).
 */

import type { PreTokenizer } from '@huggingface/tokenizers';
import {
  ByteLevelPreTokenizer,
  Tokenizer as Core,
  DigitsPreTokenizer,
  SequenceNormalizer,
  SequencePreTokenizer,
} from '@huggingface/tokenizers';
import { SftError } from '../platform/errors.ts';
import type { ReadableFolder } from '../platform/types.ts';
import type { JsonObject } from './files.ts';
import { isObject, readJsonObject } from './files.ts';
import type { Span } from './labels.ts';
import type { CutToken } from './offsets.ts';
import { Aligner } from './offsets.ts';
import { rememberWords } from './wordMemory.ts';

export interface Encoding {
  readonly ids: number[];
  /** The vocabulary's spelling of each id, such as `Ġhello` (as `convert_ids_to_tokens` gives it). */
  readonly tokens: string[];
}

export interface AlignedEncoding extends Encoding {
  /**
   * [start, end) of each token in UTF-16 units; empty for special tokens that the tokenizer itself puts around a text.
   */
  readonly offsets: Span[];
}

export interface EncodeOptions {
  /** Adds what the tokenizer puts around a text (such as BOS). Chat templates already hold it, so false by default. */
  readonly addSpecialTokens?: boolean;
}

export interface DecodeOptions {
  readonly skipSpecialTokens?: boolean;
}

/** Text that comes out token by token. */
export interface StreamDecoder {
  /** The text that has become certain with this token; empty while a character is not complete. */
  push(id: number): string;
  /** What was held back. */
  flush(): string;
}

const NAMED = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'] as const;
type TokenName = (typeof NAMED)[number];

interface AddedToken extends CutToken {
  readonly id: number;
  readonly special: boolean;
  readonly normalized: boolean;
}

/**
 * Loads `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json` of a folder. Throws `MODEL` when there
 * is no `tokenizer.json` or it holds what is not supported.
 */
export async function loadTokenizer(folder: ReadableFolder): Promise<Tokenizer> {
  const json = await readJsonObject(folder, 'tokenizer.json', 'MODEL');
  if (json === null) {
    throw new SftError('MODEL', `${folder.name}: expected a tokenizer.json, got none`, {
      hint: "save the model's fast tokenizer beside it: AutoTokenizer.from_pretrained(…).save_pretrained(folder)",
    });
  }
  const config = (await readJsonObject(folder, 'tokenizer_config.json', 'MODEL')) ?? {};
  const map = (await readJsonObject(folder, 'special_tokens_map.json', 'MODEL')) ?? {};
  return new Tokenizer(json, { ...map, ...definedOnly(config) }, folder.name);
}

/** See `loadTokenizer`. */
export class Tokenizer {
  /** Text of the special tokens that have a name, as chat templates know them: `bos_token`, `eos_token` … */
  readonly namedTokens: Readonly<Partial<Record<TokenName, string>>>;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  readonly padTokenId: number | null;
  /** Ids that `skipSpecialTokens` leaves out. */
  readonly specialIds: ReadonlySet<number>;
  /** One more than the largest id. */
  readonly vocabSize: number;

  readonly #core: Core;
  readonly #aligner: Aligner;
  readonly #special: ReadonlySet<string>;
  readonly #before: readonly number[];
  readonly #after: readonly number[];

  /** `json`: the content of tokenizer.json; `config`: of tokenizer_config.json; `name`: for messages. */
  constructor(json: JsonObject, config: JsonObject = {}, name = 'tokenizer') {
    const added = addedTokens(json, config);
    this.#core = createCore(json, config, added, name);
    rememberWords(this.#core);
    const names = NAMED.map((key) => [key, contentOf(config[key])] as const);
    this.namedTokens = Object.fromEntries(names.filter(([, content]) => content !== undefined));
    const idOf = (key: TokenName): number | null => this.tokenToId(this.namedTokens[key] ?? '') ?? null;
    this.bosTokenId = idOf('bos_token');
    this.eosTokenId = idOf('eos_token');
    this.padTokenId = idOf('pad_token');

    const special = added.filter((token) => token.special).map(({ content }) => content);
    this.#special = new Set([...special, ...Object.values(this.namedTokens)]);
    this.specialIds = new Set([...this.#special].flatMap((content) => this.tokenToId(content) ?? []));
    this.vocabSize = this.#core.model!.vocab.length;

    this.#aligner = new Aligner({
      cutTokens: added.filter((token) => !token.normalized || this.#core.normalizer === null),
      normalizers: normalizersOf(this.#core),
      byteLevel: mentions(json['pre_tokenizer'], 'ByteLevel') || mentions(json['decoder'], 'ByteLevel'),
      addedTokens: new Set(added.map(({ content }) => content)),
      unknownToken: this.#core.model!.unk_token ?? undefined,
    });

    const bare = this.#core.encode('a', { add_special_tokens: false }).ids;
    const full = this.#core.encode('a', { add_special_tokens: true }).ids;
    const first = full.findIndex((_, i) => bare.every((id, j) => full[i + j] === id));
    this.#before = full.slice(0, first);
    this.#after = full.slice(first + bare.length);
  }

  /** Token ids of a text, without special tokens around it if not asked for. Throws `MODEL` for a piece that has no id. */
  encode(text: string, options: EncodeOptions = {}): Encoding {
    return this.#frame(this.#encode(text).ids, options);
  }

  /** Encodes and finds each token's place. Throws `MODEL` when the tokens do not spell the text. */
  encodeWithOffsets(text: string, options: EncodeOptions = {}): AlignedEncoding {
    const { ids, tokens } = this.#encode(text);
    const offsets = this.#aligner.align(text, tokens);
    const framed = this.#frame(ids, options);
    if (options.addSpecialTokens !== true) return { ...framed, offsets };
    const before = this.#before.map((): Span => [0, 0]);
    const after = this.#after.map((): Span => [text.length, text.length]);
    return { ...framed, offsets: [...before, ...offsets, ...after] };
  }

  /** The text of token ids; an empty list is an empty text. */
  decode(ids: Iterable<number>, { skipSpecialTokens = false }: DecodeOptions = {}): string {
    const kept = skipSpecialTokens ? [...ids].filter((id) => !this.specialIds.has(id)) : [...ids];
    return kept.length === 0 ? '' : this.#core.decode(kept, { clean_up_tokenization_spaces: false });
  }

  /**
   * Decodes as tokens come. Each push decodes the latest tokens twice, without and with what is new, so that
   * spaces at joints and characters spread over tokens come out as in `decode`.
   */
  createStreamDecoder({ skipSpecialTokens = false }: DecodeOptions = {}): StreamDecoder {
    let recent: number[] = [];
    let shown = 0; // how many of them have their text out
    const unseen = (): string => this.decode(recent).slice(this.decode(recent.slice(0, shown)).length);
    const take = (text: string): string => {
      recent = recent.slice(shown);
      shown = recent.length;
      return text;
    };
    return {
      push: (id) => {
        if (skipSpecialTokens && this.specialIds.has(id)) return '';
        recent.push(id);
        const text = unseen();
        return text === '' || text.endsWith('\ufffd') ? '' : take(text);
      },
      flush: () => (recent.length > shown ? take(unseen()) : ''),
    };
  }

  /** The id of a token in the spelling of the vocabulary; undefined where it is none. */
  tokenToId(token: string): number | undefined {
    return this.#core.token_to_id(token);
  }

  /** The spelling of an id in the vocabulary; undefined where it has none. */
  idToToken(id: number): string | undefined {
    return this.#core.id_to_token(id);
  }

  /** Where special tokens stand in a text, in order. */
  findSpecialTokens(text: string): Span[] {
    const isSpecial = (content: string | undefined): boolean => content !== undefined && this.#special.has(content);
    return this.#aligner
      .sections(text)
      .flatMap(({ start, end, token }) => (isSpecial(token?.content) ? [[start, end]] : []));
  }

  /** Ids as the library gives them, and the spelling that it saw (which for unknown pieces is the text itself). */
  #encode(text: string): Encoding {
    if (text === '') return { ids: [], tokens: [] };
    // Half a surrogate pair has no bytes; as in UTF-8 encoders, U+FFFD stands for it.
    const { ids, tokens } = this.#core.encode(text.replace(/\p{Surrogate}/gu, '\ufffd'), { add_special_tokens: false });
    const missing = (ids as (number | undefined)[]).indexOf(undefined);
    if (missing !== -1) {
      throw new SftError(
        'MODEL',
        `tokenizer: expected an id for every token, got none for ${JSON.stringify(tokens[missing])}`,
        {
          hint: 'the vocabulary of tokenizer.json is not complete and has no unknown token',
        },
      );
    }
    return { ids, tokens };
  }

  #frame(bare: number[], { addSpecialTokens = false }: EncodeOptions): Encoding {
    const ids = addSpecialTokens ? [...this.#before, ...bare, ...this.#after] : bare;
    return { ids, tokens: ids.map((id) => this.idToToken(id) ?? '') };
  }
}

function createCore(json: JsonObject, config: JsonObject, added: readonly AddedToken[], name: string): Core {
  const model = json['model'];
  if (isObject(model) && model['type'] === 'Unigram' && model['byte_fallback'] === true) {
    throw new SftError('MODEL', `${name}: expected a Unigram tokenizer without byte fallback, got one with it`, {
      hint: 'this kind of tokenizer is not supported; choose another model',
    });
  }
  const parts = {
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    ...json,
    added_tokens: added,
  };
  const names = Object.fromEntries(NAMED.map((key) => [key, contentOf(config[key])]));
  try {
    const all = { ...config, ...names, clean_up_tokenization_spaces: false, additional_special_tokens: [] };
    const core = new Core(parts, all);
    mendPatterns(core.pre_tokenizer);
    return core;
  } catch (cause) {
    throw new SftError(
      'MODEL',
      `${name}: expected a tokenizer.json that can be read, got: ${(cause as Error).message}`,
      {
        hint: 'this tokenizer is not supported, or the file is damaged',
        cause,
      },
    );
  }
}

/**
 * Puts right where the library's built-in patterns are not those of `tokenizers`: JavaScript's `\s` takes U+FEFF for white
 * space and U+0085 not, its `\d` knows no digits but 0 to 9.
 */
function mendPatterns(part: PreTokenizer | null): void {
  if (part instanceof SequencePreTokenizer) part.tokenizers.forEach(mendPatterns);
  if (part instanceof ByteLevelPreTokenizer) {
    part.pattern = new RegExp(
      part.pattern.source.replaceAll('\\s', '\\p{White_Space}').replaceAll('\\S', '\\P{White_Space}'),
      'gu',
    );
  }
  if (part instanceof DigitsPreTokenizer)
    part.pattern = new RegExp(part.pattern.source.replaceAll('\\d', '\\p{N}'), 'gu');
}

/** `added_tokens` of tokenizer.json, and those that only tokenizer_config.json knows. */
function addedTokens(json: JsonObject, config: JsonObject): AddedToken[] {
  const listed = Array.isArray(json['added_tokens']) ? json['added_tokens'].filter(isObject) : [];
  const byId = new Map(listed.map((token) => [Number(token['id']), token]));
  const decoder = isObject(config['added_tokens_decoder']) ? config['added_tokens_decoder'] : {};
  for (const [id, token] of Object.entries(decoder))
    if (isObject(token) && !byId.has(Number(id))) byId.set(Number(id), token);
  const flag = (token: JsonObject, key: string): boolean => token[key] === true;
  return [...byId].map(([id, token]) => ({
    id,
    content: String(token['content']),
    special: flag(token, 'special'),
    normalized: typeof token['normalized'] === 'boolean' ? token['normalized'] : !flag(token, 'special'),
    single_word: flag(token, 'single_word'),
    lstrip: flag(token, 'lstrip'),
    rstrip: flag(token, 'rstrip'),
  }));
}

/** Token names hold a text or an object with one. */
function contentOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return isObject(value) && typeof value['content'] === 'string' ? value['content'] : undefined;
}

function definedOnly(config: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== null));
}

function normalizersOf(core: Core): ((text: string) => string)[] {
  const flat = (one: Core['normalizer']): NonNullable<Core['normalizer']>[] => {
    if (one === null) return [];
    return one instanceof SequenceNormalizer ? one.normalizers.flatMap(flat) : [one];
  };
  return flat(core.normalizer).map((normalizer) => (text) => normalizer.normalize(text));
}

/** Whether a part of tokenizer.json is, or holds in a sequence, one of that type. */
function mentions(part: unknown, type: string): boolean {
  if (Array.isArray(part)) return part.some((item) => mentions(item, type));
  return isObject(part) && (part['type'] === type || Object.values(part).some((value) => mentions(value, type)));
}
