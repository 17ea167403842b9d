/** The tokenizer of a model as llama.cpp wants it: `tokenizer.*` of a GGUF file. Source: llama.cpp, src/llama-vocab.cpp. */
import { isObject, type JsonObject, readJsonObject } from '../data/files.ts';
import { loadChatTemplate, type TemplateChoice } from '../data/template.ts';
import { loadTokenizer, type Tokenizer } from '../data/tokenizer.ts';
import type { GgufMetadata, GgufValue } from '../model/gguf/format.ts';
import { SftError } from '../platform/errors.ts';
import type { ReadableFolder } from '../platform/types.ts';

export interface GgufVocabulary {
  readonly metadata: GgufMetadata;
  /** What llama.cpp will do otherwise. */
  readonly warnings: readonly string[];
}

/** `llama_token_type`. */
const KIND = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** Names that llama.cpp has for ways to cut text into words, by the regular expression of a tokenizer.json. */
const SPLITS: Readonly<Record<string, string>> = {
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+":
    'llama-bpe',
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+":
    'qwen2',
  '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+':
    'tekken',
};

/** Reads a folder's tokenizer and template. Throws `MODEL`, `TEMPLATE`. */
export async function readGgufVocabulary(
  folder: ReadableFolder,
  { vocabSize, config, choice }: { vocabSize: number; config: JsonObject; choice?: TemplateChoice },
): Promise<GgufVocabulary> {
  const tokenizer = await loadTokenizer(folder);
  const json = (await readJsonObject(folder, 'tokenizer.json', 'MODEL')) ?? {};
  const template = await loadChatTemplate(folder, tokenizer.namedTokens, choice);
  const model = isObject(json['model']) ? json['model'] : {};
  if (model['type'] !== 'BPE' || !isObject(model['vocab'])) {
    throw new SftError(
      'MODEL',
      `${folder.name}/tokenizer.json: expected a BPE tokenizer for GGUF, got ${model['type']}`,
    );
  }
  const merges = mergesOf(model);
  const isByteLevel = JSON.stringify([json['pre_tokenizer'], json['decoder']]).includes('"ByteLevel"');
  const tokens = listTokens(json, model['vocab'], { tokenizer, isByteLevel, size: vocabSize, where: folder.name });
  const own = isByteLevel ? byteLevel(json, merges) : sentencePiece(json, merges, tokens);
  const ids = {
    bos: tokenizer.bosTokenId ?? firstId(config['bos_token_id']),
    eos: tokenizer.eosTokenId ?? firstId(config['eos_token_id']),
    unknown: tokenizer.tokenToId(tokenizer.namedTokens.unk_token ?? '') ?? null,
    padding: tokenizer.padTokenId,
  };
  const around = tokenizer.encode('a', { addSpecialTokens: true }).ids;
  const metadata = new Map<string, GgufValue>([
    ['tokenizer.ggml.model', { text: isByteLevel ? 'gpt2' : 'llama' }],
    ['tokenizer.ggml.pre', { text: own.pre }],
    ['tokenizer.ggml.tokens', { texts: tokens.map(({ text }) => text) }],
    ['tokenizer.ggml.token_type', { i32s: tokens.map(({ kind }) => kind) }],
    ...own.entries,
    ['tokenizer.ggml.add_bos_token', { bool: around.length > 1 && around[0] === ids.bos }],
    ['tokenizer.ggml.add_eos_token', { bool: around.length > 1 && around.at(-1) === ids.eos }],
  ]);
  for (const [name, id] of Object.entries(ids)) {
    if (id !== null) metadata.set(`tokenizer.ggml.${name}_token_id`, { u32: id });
  }
  if (template) metadata.set('tokenizer.chat_template', { text: template.text });
  return { metadata, warnings: own.warnings };
}

interface Token {
  readonly text: string;
  readonly kind: number;
}

/** One for each row of the embedding. */
function listTokens(
  json: JsonObject,
  vocab: JsonObject,
  options: { tokenizer: Tokenizer; isByteLevel: boolean; size: number; where: string },
): Token[] {
  const { tokenizer, isByteLevel, size, where } = options;
  const tokens: Token[] = Array.from({ length: size }, (_, id) => ({ text: `[PAD${id}]`, kind: KIND.unused }));
  const put = (id: number, text: string, kind: number) => {
    if (id < size) tokens[id] = { text, kind };
    else throw tooMany(where, id, size);
  };
  for (const [text, id] of Object.entries(vocab)) {
    put(Number(id), text, !isByteLevel && /^<0x[0-9A-F]{2}>$/.test(text) ? KIND.byte : KIND.normal);
  }
  // A byte-level vocabulary has a token for everything; where it names an unknown one, that ends texts.
  const unknown = isByteLevel ? undefined : tokenizer.namedTokens.unk_token;
  for (const token of Array.isArray(json['added_tokens']) ? json['added_tokens'].filter(isObject) : []) {
    const id = Number(token['id']);
    const text = String(token['content']);
    const isSpecial = token['special'] === true || tokenizer.specialIds.has(id);
    put(id, text, text === unknown ? KIND.unknown : isSpecial ? KIND.control : KIND.userDefined);
  }
  return tokens;
}

function tooMany(where: string, id: number, size: number): SftError {
  return new SftError('MODEL', `${where}: expected token ids below the model's vocab_size ${size}, got ${id}`, {
    hint: 'the tokenizer has tokens that the model has no embedding for; use the tokenizer of this model',
  });
}

/** Pairs, the first to be merged first. Files write them as two texts or as one with a space. */
function mergesOf(model: JsonObject): (readonly [string, string])[] {
  const merges = Array.isArray(model['merges']) ? model['merges'] : [];
  return merges.map((merge: unknown) => {
    const [left = '', right = ''] = Array.isArray(merge) ? merge.map(String) : String(merge).split(' ');
    return [left, right];
  });
}

interface Own {
  readonly pre: string;
  readonly entries: readonly [string, GgufValue][];
  readonly warnings: readonly string[];
}

function byteLevel(json: JsonObject, merges: readonly (readonly [string, string])[]): Own {
  const pre = preTokenizer(json['pre_tokenizer']);
  return {
    pre: pre ?? 'gpt-2',
    entries: [['tokenizer.ggml.merges', { texts: merges.map((pair) => pair.join(' ')) }]],
    warnings:
      pre === null
        ? [
            'llama.cpp does not know how this tokenizer cuts text into words; it will do as gpt-2, and some tokens may differ',
          ]
        : [],
  };
}

function preTokenizer(value: unknown): string | null {
  const parts = isObject(value) && Array.isArray(value['pretokenizers']) ? value['pretokenizers'] : [value];
  const [first, second] = parts.filter(isObject);
  if (first?.['type'] === 'ByteLevel' && first['use_regex'] !== false && parts.length === 1) return 'gpt-2';
  if (second?.['type'] !== 'ByteLevel' || parts.length !== 2) return null;
  if (first?.['type'] === 'Digits' && first['individual_digits'] === true) return 'smollm';
  const pattern = first?.['type'] === 'Split' && isObject(first['pattern']) ? first['pattern']['Regex'] : undefined;
  return typeof pattern === 'string' && Object.hasOwn(SPLITS, pattern) ? (SPLITS[pattern] ?? null) : null;
}

/**
 * llama.cpp merges the pair whose result has the highest score first. The scores of the SentencePiece file are not in a tokenizer.json, but
 * its merges are in the order of them.
 */
function sentencePiece(
  json: JsonObject,
  merges: readonly (readonly [string, string])[],
  tokens: readonly Token[],
): Own {
  const ranks = new Map<string, number>();
  for (const [rank, [left, right]] of merges.entries()) {
    if (!ranks.has(left + right)) ranks.set(left + right, rank);
  }
  const scores = tokens.map(({ text, kind }) => {
    return kind === KIND.normal ? -(ranks.get(text) ?? merges.length) : 0;
  });
  const prefixes = JSON.stringify([json['normalizer'], json['pre_tokenizer']]);
  const addsSpace = /"Prepend"|"prepend_scheme":"(always|first)"|"add_prefix_space":true/.test(prefixes);
  return {
    pre: 'default',
    entries: [
      ['tokenizer.ggml.scores', { f32s: scores }],
      ['tokenizer.ggml.add_space_prefix', { bool: addsSpace }],
    ],
    warnings: [],
  };
}

/** Configs may name several tokens that end a text. */
function firstId(value: unknown): number | null {
  const id: unknown = Array.isArray(value) ? value[0] : value;
  return typeof id === 'number' ? id : null;
}
