/**
 * Real tokenizers and templates against what tokenizers and transformers made of the same (`golden/`, written by
 * `test/oracle/golden.py`). Set-up fetches the tokenizers (`scripts/tokenizers.mjs`); SmolLM2's is tested where
 * WEBGPU_SFT_SMOLLM2 names the model's folder.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { tokenizersFolder } from '../../scripts/tokenizers.mjs';
import { IGNORE_INDEX } from '../../src/data/labels.ts';
import { maskRow } from '../../src/data/mask.ts';
import type { ChatRow, Message } from '../../src/data/rows.ts';
import { ChatTemplate, loadChatTemplate } from '../../src/data/template.ts';
import { tokenizeRow } from '../../src/data/tokenize.ts';
import { loadTokenizer, type Tokenizer } from '../../src/data/tokenizer.ts';
import { openFolder } from '../../src/platform/node.ts';

interface Encodings {
  sha256: string;
  ids: string[];
  hashes: string;
}

interface Chat {
  text: string;
  /** How many characters the text and the prompt have in common, where it begins with it. */
  prompt: string | number;
  tokens: number;
  ids: string;
  /** Runs of trained tokens; not there where a text does not tell. */
  trained?: string;
}

type Conversations = Record<string, { messages: Message[]; tools?: unknown[] }>;

const golden = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`golden/${name}.json`, import.meta.url), 'utf8')) as T;
const corpus = golden<{ texts: string[]; pieces: string[]; shuffled: number }>('corpus');
const conversations = golden<Conversations>('conversations');
const encodings = golden<Record<string, Encodings>>('tokenizers');
const chats = golden<Record<string, Record<'own' | 'default', Record<string, Chat | null>>>>('chats');
const defaultTemplate = readFileSync(new URL('../../assets/default.jinja', import.meta.url), 'utf8');

const folderOf = (name: string): string =>
  name === 'smollm2' ? (process.env.WEBGPU_SFT_SMOLLM2 ?? '') : join(tokenizersFolder, name);
const hashOf = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 8);

/** As `shuffled` of golden.py. */
function shuffledTexts(): string[] {
  let state = 7;
  const below = (limit: number): number => {
    state = (state * 48271) % 2147483647;
    return state % limit;
  };
  const piece = (): string => corpus.pieces[below(corpus.pieces.length)]!;
  return Array.from({ length: corpus.shuffled }, () => Array.from({ length: 1 + below(12) }, piece).join(''));
}

describe.each(Object.keys(encodings))('%s', (name) => {
  const there = existsSync(join(folderOf(name), 'tokenizer.json'));
  let tokenizer: Tokenizer;

  beforeAll(async () => {
    if (there) tokenizer = await loadTokenizer(await openFolder(folderOf(name)));
  });
  // Large vocabularies take hundreds of megabytes.
  afterAll(() => {
    tokenizer = undefined as unknown as Tokenizer;
  });

  it.skipIf(!there)('is the tokenizer that the golden files were made with', () => {
    const file = readFileSync(join(folderOf(name), 'tokenizer.json'));
    expect(createHash('sha256').update(file).digest('hex')).toBe(encodings[name]!.sha256);
  });

  const texts = [...corpus.texts, ...shuffledTexts()];
  it.skipIf(!there)(`gives the ids, places and texts of tokenizers for ${texts.length} texts`, () => {
    const { ids, hashes } = encodings[name]!;
    const wanted = hashes.split(' ');
    expect(wanted.length).toBe(texts.length);
    for (const [i, text] of texts.entries()) {
      const encoding = tokenizer.encodeWithOffsets(text);
      if (i < ids.length) expect(encoding.ids.join(' '), JSON.stringify(text)).toBe(ids[i]);
      const full = tokenizer.encode(text, { addSpecialTokens: true }).ids;
      const decoded = [false, true].map((skipSpecialTokens) => tokenizer.decode(encoding.ids, { skipSpecialTokens }));
      const results = [encoding.offsets, null].map((offsets) => hashOf([encoding.ids, full, offsets, ...decoded]));
      // Without places where the tokenizer composes characters: they are coarser here.
      expect(text === text.normalize() ? results.slice(0, 1) : results, JSON.stringify(text)).toContain(wanted[i]);
      const stream = tokenizer.createStreamDecoder();
      expect(encoding.ids.map((id) => stream.push(id)).join('') + stream.flush()).toBe(decoded[0]);
    }
  });

  describe.each(Object.keys(chats[name]!) as ('own' | 'default')[])('%s template', (kind) => {
    const cases = Object.entries(chats[name]![kind]).filter(([, chat]) => chat !== null) as [string, Chat][];
    let template: ChatTemplate;

    beforeAll(async () => {
      // Templates print the day.
      vi.useFakeTimers({ toFake: ['Date'], now: new Date(2024, 6, 26) });
      if (!there) return;
      template =
        kind === 'default'
          ? new ChatTemplate(defaultTemplate, 'default.jinja', tokenizer.namedTokens)
          : (await loadChatTemplate(await openFolder(folderOf(name)), tokenizer.namedTokens))!;
    });
    afterAll(() => {
      vi.useRealTimers();
    });

    it.skipIf(!there)(`renders ${cases.length} conversations and prompts as transformers does`, () => {
      for (const [conversation, { text, prompt }] of cases) {
        const { messages, tools } = conversations[conversation]!;
        expect(template.render({ messages, tools }).text, conversation).toBe(text);
        const expected = typeof prompt === 'number' ? text.slice(0, prompt) : prompt;
        const rest = { messages: messages.slice(0, -1), tools, addGenerationPrompt: true };
        expect(template.render(rest).text, conversation).toBe(expected);
      }
    });

    it.skipIf(!there)('trains the tokens that transformers marks', () => {
      for (const [conversation, { tokens, ids, trained }] of cases) {
        const row: ChatRow = { kind: 'chat', file: conversation, line: 1, ...conversations[conversation]! };
        const done = tokenizeRow(row, 0, {
          tokenizer,
          template,
          trainOn: 'assistant',
          maxSeqLen: 4096,
          truncation: 'error',
        });
        if ('dropped' in done) throw new Error(`${conversation}: ${done.dropped}`);
        expect(done.inputIds.length, conversation).toBe(tokens);
        expect(hashOf([...done.inputIds]), conversation).toBe(ids);
        if (trained !== undefined) expect(runsOf(done.labels), conversation).toBe(trained);
      }
    });

    it.skipIf(!there)('refuses what transformers refuses', () => {
      for (const [conversation, chat] of Object.entries(chats[name]![kind])) {
        if (chat === null) expect(() => template.render(conversations[conversation]!), conversation).toThrow();
      }
    });

    it.skipIf(!there)('trains all that an assistant says, its stop token, and nothing that others say', () => {
      for (const [conversation] of cases) {
        const row: ChatRow = { kind: 'chat', file: conversation, line: 1, ...conversations[conversation]! };
        const { text, spans } = maskRow(row, { tokenizer, template, trainOn: 'assistant' });
        const answers = row.messages.filter(({ role, content }) => role === 'assistant' && content);
        const trained = spans.map(([start, end]) => text.slice(start, end));
        for (const { content } of answers) {
          const said = content!.split('</think>').at(-1)!.trim();
          expect(
            trained.some((part) => part.includes(said)),
            `${conversation}: ${said}`,
          ).toBe(true);
        }
        const special = new Set(tokenizer.findSpecialTokens(text).map(([, end]) => end));
        for (const [, end] of spans) expect(special.has(end), `${conversation} to ${end}`).toBe(true);
      }
    });
  });
});

function runsOf(labels: Int32Array): string {
  const runs: [number, number][] = [];
  for (const [i, label] of labels.entries()) {
    if (label === IGNORE_INDEX) continue;
    const last = runs.at(-1);
    if (last?.[1] === i - 1) last[1] = i;
    else runs.push([i, i]);
  }
  return runs.map(([first, last]) => `${first}-${last}`).join(' ');
}
