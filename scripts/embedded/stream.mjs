/** The pretraining text as token ids. */
import { readFileSync } from 'node:fs';
import { Tokenizer } from '@huggingface/tokenizers';
import { drawDocument } from './documents.mjs';
import { Random } from './random.mjs';
import { specialTokens } from './tokenizer.mjs';

const assets = new URL('../../assets/tiny-llama/', import.meta.url);
const readJson = (name) => JSON.parse(readFileSync(new URL(name, assets), 'utf8'));
const [BOS, END, ASSISTANT] = ['<|bos|>', '<|end|>', '<|assistant|>'].map((token) => specialTokens.indexOf(token));

/**
 * One document; labels are unshifted, -100 where not trained.
 * @typedef {{ inputIds: Int32Array, labels: Int32Array }} Row
 */

/**
 * An endless, reproducible sequence of batches: as many whole documents as fit into `tokens`.
 * @param {{ seed: number | string, tokens: number }} options
 * @returns {Generator<Row[]>}
 */
export function* pretrainingBatches({ seed, tokens }) {
  let batch = [];
  let used = 0;
  for (const row of pretrainingRows(seed)) {
    if (used + row.inputIds.length > tokens) {
      yield batch;
      batch = [];
      used = 0;
    }
    batch.push(row);
    used += row.inputIds.length;
  }
}

/** The documents one by one, without end. @returns {Generator<Row>} */
export function* pretrainingRows(seed) {
  const random = new Random(`pretraining ${seed}`);
  const tokenizer = new Tokenizer(readJson('tokenizer.json'), readJson('tokenizer_config.json'));
  for (;;) {
    const text = documentText(drawDocument(random));
    const inputIds = Int32Array.from(tokenizer.encode(text, { add_special_tokens: false }).ids);
    yield { inputIds, labels: labelsOf(inputIds) };
  }
}

/** A document as the chat template writes it; plain text stands alone between `<|bos|>` and `<|end|>`. */
function documentText(document) {
  if (document.text !== undefined) return `<|bos|>${document.text}<|end|>`;
  return `<|bos|>${document.messages.map(({ role, content }) => `<|${role}|>${content}<|end|>`).join('')}`;
}

/**
 * Learnt is what an assistant says, with its end, and all of a plain text. What people ask is chance: learning to
 * foresee it would take most of a small model's attention.
 */
function labelsOf(ids) {
  let speaker = BOS;
  return ids.map((id) => {
    if (specialTokens[id] !== undefined && id !== END) {
      speaker = id;
      return -100;
    }
    return speaker === BOS || speaker === ASSISTANT ? id : -100;
  });
}
