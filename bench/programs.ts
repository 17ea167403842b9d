/** Small programs to be measured, and models of real shapes with random weights. */
import type { Gpu } from '../src/gpu/device.ts';
import type { Tensor } from '../src/kernels/define.ts';
import { ARCHITECTURES } from '../src/model/architectures/registry.ts';
import { Decoder } from '../src/model/decoder.ts';
import type { ModelFiles } from '../src/model/modelFiles.ts';
import { Parameters } from '../src/model/parameters.ts';
import type { TensorInfo } from '../src/model/safetensors.ts';
import { bytesFolder } from '../src/platform/sources.ts';
import type { ReadableSource } from '../src/platform/types.ts';
import { Memory, upload } from '../src/tensor/memory.ts';
import { Pool, Program } from '../src/tensor/program.ts';
import { Tape } from '../src/tensor/tape.ts';
import type { Side } from './measure.ts';

/** Numbers in (-0.05, 0.05), cheap and the same each time. */
function fill(values: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  let state = 12345;
  for (let i = 0; i < values.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    values[i] = (state / 2 ** 32 - 0.5) * 0.1;
  }
  return values;
}

/** Traces, builds and fills a program. `close` frees it. */
export async function sideOf(
  gpu: Gpu,
  trace: (tape: Tape, declare: (shape: readonly number[], values?: Uint32Array<ArrayBuffer>) => Tensor) => void,
  options: { repeat?: number; parameters?: boolean } = {},
): Promise<Side & { close(): Promise<void> }> {
  const memory = new Memory(gpu.limits);
  const uploads: [Tensor, Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>][] = [];
  const gradients = new Map<number, Tensor>();
  const declare = (shape: readonly number[], values?: Uint32Array<ArrayBuffer>) => {
    const trained = options.parameters === true && values === undefined;
    const tensor = memory.declare('input', shape, {
      dtype: values ? 'u32' : 'f32',
      category: 'weights',
      requiresGrad: trained,
    });
    if (trained) gradients.set(tensor.id, memory.declare('gradient', shape));
    uploads.push([tensor, values ?? fill(new Float32Array(shape.reduce((a, b) => a * b, 1)))]);
    return tensor;
  };
  const tape = new Tape(gpu, options.parameters ? gradients : null);
  trace(tape, declare);
  const pool = new Pool();
  await memory.allocate(gpu);
  for (const [tensor, values] of uploads) upload(gpu, memory, tensor, values);
  const program = await Program.build(gpu, tape, memory, pool);
  const { repeat = 1 } = options;
  return {
    flops: program.flops * repeat,
    async run() {
      for (let i = 0; i < repeat; i++) await program.run();
      await gpu.done();
    },
    async close() {
      program.close();
      pool.close(gpu);
      memory.close(gpu);
      await gpu.collect();
    },
  };
}

/** A model folder that exists only as its config.json; its float32 weights are made up as they are read. */
export function randomModel(config: Readonly<Record<string, unknown>>): ModelFiles {
  const architecture = ARCHITECTURES[String(config.model_type)];
  if (!architecture) throw new Error(`unknown model_type ${config.model_type}`);
  const spec = architecture.parse(config, 'bench');
  const limits = {
    bufferBytes: Infinity,
    bindingBytes: Infinity,
    workgroupInvocations: 256,
    workgroupStorageBytes: 16384,
    storageBuffers: 8,
  };
  const parameters = new Parameters(new Memory(limits), { trained: null, storage: () => 'f32' });
  new Decoder(parameters, spec);
  const tensors = new Map<string, TensorInfo>();
  for (const { name, shape } of parameters.all.values()) {
    const length = shape.reduce((product, size) => product * size, 4);
    const norm = name.endsWith('norm.weight');
    const source: ReadableSource = {
      name,
      size: length,
      read: async (_, count) =>
        new Uint8Array((norm ? new Float32Array(count / 4).fill(1) : fill(new Float32Array(count / 4))).buffer),
      close: async () => {},
    };
    tensors.set(name, { name, dtype: 'F32', shape, source, offset: 0, length });
  }
  const totalBytes = [...tensors.values()].reduce((sum, { length }) => sum + length, 0);
  return {
    folder: bytesFolder('random weights', new Map()),
    config,
    generation: {},
    spec,
    checkpoint: { tensors, files: [], totalBytes, close: async () => {} },
    quantized: new Map(),
  };
}
