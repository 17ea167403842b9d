/**
 * LoRA on a model: which linear layers carry a pair A, B, how it is initialised, and what PEFT is told about it.
 *
 * Knows no architecture: layers are found by their paths. Initialisation as in PEFT: A Kaiming-uniform with a = √5, which is
 * U(−1/√in, 1/√in); B zero. Numbers come from `train.seed` and the layer's number alone.
 */
import type { Gpu } from '../gpu/device.ts';
import type { Tensor } from '../kernels/define.ts';
import { randomStream } from '../platform/random.ts';
import type { ReadableFolder } from '../platform/types.ts';
import { download, type Memory, upload } from '../tensor/memory.ts';
import { type AdapterConfig, loraScaling } from './adapterConfig.ts';
import type { Decoder } from './decoder.ts';
import type { Linear } from './layers.ts';
import { defaultTargetModules, selectTargets, type TargetModules } from './loraTargets.ts';
import type { TrainedSet } from './parameters.ts';
import { type Adapter, type LinearShapes, type LoraWeights, readAdapter } from './peft.ts';

export interface LoraOptions {
  readonly r: number;
  readonly alpha: number;
  readonly dropout: number;
  readonly targetModules: TargetModules | 'auto';
  readonly useRslora: boolean;
}

/** The linear layers of a decoder, as PEFT's rules for targets want to see them. */
export function linearShapes(decoder: Decoder): LinearShapes {
  const linears = new Map(decoder.linears.map((linear) => [linear.path, linear]));
  return { linears, outputLayer: 'lm_head', others: ['model.embed_tokens', 'model.norm'] };
}

export class Lora {
  readonly config: AdapterConfig;
  /** Layers that carry a pair, in the order of the model. */
  readonly layers: readonly Linear[];

  /**
   * Adds pairs to the layers that `options` name. With `trained` they are trained; else they are only applied. Symbolic: the
   * tensors have no values until `initialize` or `load`. Throws `CONFIG` when no layer is named.
   */
  constructor(
    decoder: Decoder,
    base: { readonly name: string; readonly revision: string | null },
    options: LoraOptions,
    memory: Memory,
    trained: TrainedSet | null,
  ) {
    const shapes = linearShapes(decoder);
    const paths = decoder.linears.map(({ path }) => path);
    const targets =
      options.targetModules === 'auto' ? defaultTargetModules(decoder.spec.modelType, paths) : options.targetModules;
    const selected = selectTargets(targets, { ...shapes, linears: paths });
    this.config = {
      base_model_name_or_path: base.name,
      revision: base.revision,
      r: options.r,
      lora_alpha: options.alpha,
      lora_dropout: options.dropout,
      target_modules: selected.targetModules,
      use_rslora: options.useRslora,
      task_type: 'CAUSAL_LM',
    };
    const chosen = new Set(selected.paths);
    const scale = loraScaling(this.config);
    this.layers = decoder.linears.filter(({ path }) => chosen.has(path));
    this.layers.forEach((layer, index) => {
      const declare = (side: 'A' | 'B', shape: readonly [number, number]): Tensor => {
        const name = `base_model.model.${layer.path}.lora_${side}.weight`;
        return trained ? trained.declare(name, shape, true) : memory.declare(name, shape, { category: 'adapters' });
      };
      const a = declare('A', [options.r, layer.inFeatures]);
      const b = declare('B', [layer.outFeatures, options.r]);
      layer.lora = { a, b, scale, dropout: options.dropout, stream: index + 1 };
    });
  }

  /** Fills A from `seed` and B with zeros. */
  initialize(gpu: Gpu, memory: Memory, seed: number): void {
    this.layers.forEach((layer, index) => {
      const { lora, inFeatures, outFeatures } = layer;
      if (!lora) return;
      const next = randomStream(seed, 2 ** 32 + index);
      const bound = 1 / Math.sqrt(inFeatures);
      const a = Float32Array.from({ length: this.config.r * inFeatures }, () => (2 * (next() / 2 ** 32) - 1) * bound);
      upload(gpu, memory, lora.a, a);
      upload(gpu, memory, lora.b, new Float32Array(outFeatures * this.config.r));
    });
  }

  /** Fills all pairs with the weights of an adapter folder that was opened by `openAdapterFolder`. */
  load(gpu: Gpu, memory: Memory, adapter: Adapter): void {
    for (const { path, lora } of this.layers) {
      const weights = adapter.weights.get(path);
      if (!lora || !weights) continue;
      upload(gpu, memory, lora.a, weights.A);
      upload(gpu, memory, lora.b, weights.B);
    }
  }

  /** Reads all pairs back. */
  async weights(gpu: Gpu, memory: Memory): Promise<Map<string, LoraWeights>> {
    const weights = new Map<string, LoraWeights>();
    for (const { path, lora } of this.layers) {
      if (!lora) continue;
      const A = new Float32Array(await download(gpu, memory, lora.a));
      const B = new Float32Array(await download(gpu, memory, lora.b));
      weights.set(path, { A, B });
    }
    return weights;
  }
}

/** The options that an adapter's own config asks for; dropout is a matter of training, so it comes from there too. */
export function optionsOf(config: AdapterConfig): LoraOptions {
  return {
    r: config.r,
    alpha: config.lora_alpha,
    dropout: config.lora_dropout,
    targetModules: config.target_modules,
    useRslora: config.use_rslora,
  };
}

/** Reads an adapter for a model. Throws `ADAPTER` when it does not fit. */
export function openAdapterFolder(folder: ReadableFolder, decoder: Decoder): Promise<Adapter> {
  return readAdapter(folder, linearShapes(decoder));
}
