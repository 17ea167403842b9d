/**
 * Makes the text side of the embedded model, the same bytes each time: tokenizer, configuration and chat template in
 * `assets/tiny-llama`, the fine-tuning rows in `assets/json-requests`.
 *
 *     node scripts/embedded/make.mjs            writes the files
 *     node scripts/embedded/make.mjs --check    compares them with what is there, exit code 1 when they differ
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { drawDocument } from './documents.mjs';
import { Random } from './random.mjs';
import { requestRows, requestSchema } from './requests.mjs';
import { chatTemplate, specialTokens, tokenizerConfig, tokenizerJson, trainBpe } from './tokenizer.mjs';

const MAX_LENGTH = 512;
const TOKENIZER_DOCUMENTS = 20_000;

/** Every field of transformers' LlamaConfig that says what the model is. About one million weights. */
function modelConfig(vocabSize) {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: vocabSize,
    hidden_size: 128,
    intermediate_size: 352,
    num_hidden_layers: 5,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 32,
    hidden_act: 'silu',
    max_position_embeddings: MAX_LENGTH,
    initializer_range: 0.06,
    rms_norm_eps: 1e-5,
    rope_theta: 10000.0,
    rope_scaling: null,
    attention_bias: false,
    attention_dropout: 0.0,
    mlp_bias: false,
    tie_word_embeddings: true,
    use_cache: true,
    pretraining_tp: 1,
    pad_token_id: specialTokens.indexOf('<|pad|>'),
    bos_token_id: specialTokens.indexOf('<|bos|>'),
    eos_token_id: specialTokens.indexOf('<|end|>'),
    torch_dtype: 'float32',
  };
}

function generationConfig() {
  const { bos_token_id, eos_token_id, pad_token_id } = modelConfig(0);
  return { bos_token_id, eos_token_id, pad_token_id, do_sample: false, max_new_tokens: 128 };
}

function* tokenizerTexts() {
  const random = new Random('tokenizer');
  for (let i = 0; i < TOKENIZER_DOCUMENTS; i++) {
    const document = drawDocument(random);
    if (document.text !== undefined) yield document.text;
    else for (const { content } of document.messages) yield content;
  }
}

/** Path under `assets/` → content. */
function makeFiles() {
  const bpe = trainBpe(tokenizerTexts());
  const json = (value) => `${JSON.stringify(value, null, 2)}\n`;
  const files = {
    'tiny-llama/config.json': json(modelConfig(Object.keys(bpe.vocab).length)),
    'tiny-llama/generation_config.json': json(generationConfig()),
    'tiny-llama/tokenizer.json': json(tokenizerJson(bpe)),
    'tiny-llama/tokenizer_config.json': json(tokenizerConfig(MAX_LENGTH)),
    'tiny-llama/chat_template.jinja': chatTemplate,
    'json-requests/schema.json': json(requestSchema()),
  };
  for (const [split, rows] of Object.entries(requestRows())) {
    files[`json-requests/${split}.jsonl`] = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  }
  return files;
}

function main() {
  const assets = new URL('../../assets/', import.meta.url);
  const check = process.argv.includes('--check');
  const different = [];
  for (const [path, content] of Object.entries(makeFiles())) {
    const url = new URL(path, assets);
    if (!check) {
      mkdirSync(new URL('.', url), { recursive: true });
      writeFileSync(url, content);
    } else if (readOrEmpty(url) !== content) {
      different.push(path);
    }
  }
  if (different.length > 0) {
    console.error(`assets differ from what scripts/embedded makes: ${different.join(', ')}`);
    process.exitCode = 1;
  }
}

function readOrEmpty(url) {
  try {
    return readFileSync(url, 'utf8');
  } catch {
    return '';
  }
}

main();
