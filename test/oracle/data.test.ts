/**
 * Tokens, places, templates and masks against tokenizers and transformers. Needs WEBGPU_SFT_ORACLE_PYTHON (a Python
 * with transformers); WEBGPU_SFT_SMOLLM2=<folder> adds the real tokenizer of SmolLM2-Instruct.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/data/files.ts';
import { labelsFromSpans } from '../../src/data/labels.ts';
import { maskRow } from '../../src/data/mask.ts';
import type { ChatRow, Message } from '../../src/data/rows.ts';
import { ChatTemplate, loadChatTemplate } from '../../src/data/template.ts';
import { loadTokenizer, Tokenizer } from '../../src/data/tokenizer.ts';
import { openFolder } from '../../src/platform/node.ts';

const python = process.env['WEBGPU_SFT_ORACLE_PYTHON'];
const smollm2 = process.env['WEBGPU_SFT_SMOLLM2'];
const templatesFile = fileURLToPath(new URL('../../../shared/data/templates/hf-jinja.json', import.meta.url));

interface Case {
  text: string;
  ids: number[];
  offsets: [number, number][];
  full_ids: number[];
  decoded: string;
  skipped: string;
}

interface MaskCase {
  template: string;
  conversation: string;
  tokenizer: JsonObject;
  text: string;
  spans: [number, number][];
  ids: number[];
  labels: number[];
  mask: number[];
}

interface Golden {
  tokenizers: { kind: string; json: JsonObject; cases: Case[] }[];
  conversations: Record<string, { messages: Message[]; tools?: unknown[] }>;
  rendered: Record<string, Record<string, { text: string | { error: string }; prompt: string | { error: string } }>>;
  generation_masks: MaskCase[];
  written_masks: MaskCase[];
  folder: { encodings: Case[]; chats: { messages: Message[]; text: string; prompt: string; ids: number[] }[] } | null;
}

const NAMES = { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>', pad_token: '<pad>' };

describe.skipIf(!python || !existsSync(templatesFile))('data against transformers', () => {
  let templates: Record<string, string>;
  let golden: Golden;

  beforeAll(() => {
    const input = readFileSync(templatesFile, 'utf8');
    templates = JSON.parse(input) as Record<string, string>;
    const script = fileURLToPath(new URL('data_golden.py', import.meta.url));
    const done = spawnSync(python!, smollm2 ? [script, smollm2] : [script], {
      input,
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
    });
    expect(done.status, done.stderr).toBe(0);
    golden = JSON.parse(done.stdout) as Golden;
  }, 120_000);

  const rowOf = (conversation: string): ChatRow => ({
    kind: 'chat',
    file: conversation,
    line: 1,
    ...golden.conversations[conversation]!,
  });
  const maskOf = (one: MaskCase) => {
    const tokenizer = new Tokenizer(one.tokenizer, NAMES);
    const template = new ChatTemplate(templates[one.template]!, one.template, tokenizer.namedTokens);
    const masked = maskRow(rowOf(one.conversation), { tokenizer, template, trainOn: 'assistant' });
    const { ids, offsets } = tokenizer.encodeWithOffsets(masked.text);
    return { ...masked, ids, labels: [...labelsFromSpans(ids, offsets, masked.spans)] };
  };

  it('gives the ids, places and texts of every kind of tokenizer', () => {
    for (const { kind, json, cases } of golden.tokenizers) checkEncodings(kind, new Tokenizer(json, NAMES), cases);
  });

  it('renders every template as transformers does', () => {
    const differences: string[] = [];
    let texts = 0;
    for (const [name, cases] of Object.entries(golden.rendered)) {
      const template = new ChatTemplate(templates[name]!, name, NAMES);
      for (const [conversation, expected] of Object.entries(cases)) {
        const { messages, tools } = golden.conversations[conversation]!;
        const got = [
          renderOrNull(template, messages, tools, false),
          renderOrNull(template, messages.slice(0, -1), tools, true),
        ];
        texts += got.length;
        const wanted = [expected.text, expected.prompt].map((text) => (typeof text === 'string' ? text : null));
        if (JSON.stringify(got) !== JSON.stringify(wanted))
          differences.push(`${name.split('/').at(-1)!}: ${conversation}`);
      }
    }
    expect(differences).toEqual([]);
    console.log(`${texts} texts of ${Object.keys(golden.rendered).length} templates as transformers renders them`);
  });

  it('trains what transformers masks where a template has generation blocks', () => {
    expect(golden.generation_masks.length).toBeGreaterThan(4);
    for (const one of golden.generation_masks) {
      const { ids, labels } = maskOf(one);
      expect(ids, one.template).toEqual(one.ids);
      expect(
        labels.map((label) => (label === -100 ? 0 : 1)),
        `${one.template} / ${one.conversation}`,
      ).toEqual(one.mask);
    }
  });

  it('trains what is written down by hand where a template has none', () => {
    expect(golden.written_masks.length).toBeGreaterThan(10);
    for (const one of golden.written_masks) {
      const { text, spans, ids, labels } = maskOf(one);
      const name = `${one.template} / ${one.conversation}`;
      expect(text, name).toBe(one.text);
      expect(
        spans.map(([a, b]) => text.slice(a, b)),
        name,
      ).toEqual(one.spans.map(([a, b]) => text.slice(a, b)));
      expect(spans, name).toEqual(one.spans);
      expect(ids, name).toEqual(one.ids);
      expect(labels, name).toEqual(one.labels);
    }
  });

  it.skipIf(!smollm2)('agrees on the real tokenizer and template of SmolLM2-Instruct', async () => {
    const folder = await openFolder(smollm2!);
    const tokenizer = await loadTokenizer(folder);
    checkEncodings('smollm2', tokenizer, golden.folder!.encodings);
    const template = (await loadChatTemplate(folder, tokenizer.namedTokens))!;
    for (const { messages, text, prompt, ids } of golden.folder!.chats) {
      expect(template.render({ messages }).text).toBe(text);
      expect(template.render({ messages: messages.slice(0, -1), addGenerationPrompt: true }).text).toBe(prompt);
      expect(tokenizer.encode(text).ids).toEqual(ids);
    }
  });
});

function checkEncodings(kind: string, tokenizer: Tokenizer, cases: readonly Case[]): void {
  expect(cases.length).toBeGreaterThan(5);
  for (const { text, ids, offsets, full_ids, decoded, skipped } of cases) {
    const name = `${kind}: ${JSON.stringify(text)}`;
    const got = tokenizer.encodeWithOffsets(text);
    expect(got.ids, name).toEqual(ids);
    // Where a normaliser changes lengths, a piece of text has one place here; tokenizers tells its letters apart.
    const exact = kind !== 'unigram' && text === text.normalize();
    if (exact) expect(got.offsets, name).toEqual(offsets);
    else
      expect(
        offsets.every(([start, end], i) => got.offsets[i]![0] <= start && got.offsets[i]![1] >= end),
        name,
      ).toBe(true);
    expect(tokenizer.encode(text, { addSpecialTokens: true }).ids, name).toEqual(full_ids);
    expect(tokenizer.decode(ids), name).toBe(decoded);
    expect(tokenizer.decode(ids, { skipSpecialTokens: true }), name).toBe(skipped);
    const stream = tokenizer.createStreamDecoder();
    expect(ids.map((id) => stream.push(id)).join('') + stream.flush(), name).toBe(decoded);
  }
}

function renderOrNull(
  template: ChatTemplate,
  messages: Message[],
  tools: unknown[] | undefined,
  prompt: boolean,
): string | null {
  try {
    return template.render({ messages, tools, addGenerationPrompt: prompt }).text;
  } catch {
    return null;
  }
}
