/** Checkpoints of real sizes as files with holes: headers that are written and bytes that are not. */
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { shapesOf } from './checkpoints.ts';

/** The `config.json` of Llama-3.1-8B, as far as its sizes go. */
export const LLAMA_8B = {
  model_type: 'llama',
  rms_norm_eps: 1e-5,
  max_position_embeddings: 8192,
  tie_word_embeddings: false,
  vocab_size: 128256,
  hidden_size: 4096,
  intermediate_size: 14336,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
};

/** Bytes of the files of one checkpoint: transformers' default. */
const FILE_BYTES = 5e9;

/** Writes a folder whose weights are holes, as several files and an index. */
export async function writeSparse(folder: string, config: object): Promise<void> {
  const files: { name: string; shape: readonly number[]; bytes: number }[][] = [[]];
  let bytes = 0;
  for (const [name, shape] of shapesOf(config)) {
    const size = 2 * shape.reduce((product, length) => product * length, 1);
    if (bytes + size > FILE_BYTES) {
      files.push([]);
      bytes = 0;
    }
    files.at(-1)!.push({ name, shape, bytes: size });
    bytes += size;
  }
  const map: Record<string, string> = {};
  for (const [index, tensors] of files.entries()) {
    const file = `model-${String(index + 1).padStart(5, '0')}-of-${String(files.length).padStart(5, '0')}.safetensors`;
    let end = 0;
    const header: Record<string, object> = {};
    for (const { name, shape, bytes: size } of tensors) {
      header[name] = { dtype: 'BF16', shape, data_offsets: [end, end + size] };
      end += size;
      map[name] = file;
    }
    const text = Buffer.from(JSON.stringify(header));
    const start = Buffer.alloc(8);
    start.writeBigUInt64LE(BigInt(text.length));
    const handle = await open(join(folder, file), 'w');
    await handle.write(Buffer.concat([start, text]));
    await handle.truncate(8 + text.length + end);
    await handle.close();
  }
  await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: map }));
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
}
