/** Layers that architectures are made of. A layer holds tensors and appends ops; its path spells its Hugging Face name. */
import type { Tensor } from '../kernels/define.ts';
import type { TokenGroups } from '../kernels/embedding.ts';
import type { Activation } from '../kernels/gatedActivation.ts';
import * as ops from '../tensor/ops.ts';
import type { Tape } from '../tensor/tape.ts';
import type { Parameters } from './parameters.ts';

/** The low-rank pair of a linear layer (see `lora.ts`). */
export interface LoraPair {
  /** [r, in] and [out, r]. */
  readonly a: Tensor;
  readonly b: Tensor;
  readonly scale: number;
  readonly dropout: number;
  /** Tells the dropout masks of modules apart. */
  readonly stream: number;
}

/** What a forward pass shares between its layers. T tokens, padded. */
export interface Context {
  readonly tape: Tape;
  /** [T] u32 token ids and positions. */
  readonly ids: Tensor;
  readonly positions: Tensor;
  /** Rotary table [P, head size]. */
  readonly table: Tensor;
  /** Tokens by id, for the gradient of the embedding; null where it is frozen. */
  readonly groups: TokenGroups | null;
  /** Dropout seed of the micro-step; null without dropout. */
  readonly seed: Tensor | null;
  /** Whether adapters take part. */
  readonly adapters: boolean;
  /** Attention of one layer over whatever the keys are: the batch itself, or a cache. */
  readonly attend: (layer: number, q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions) => Tensor;
}

export interface AttentionOptions {
  readonly heads: number;
  readonly groups: number;
  readonly scale: number;
  readonly window: number;
}

export class Linear {
  readonly path: string;
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly inFeatures: number;
  readonly outFeatures: number;
  lora: LoraPair | null = null;

  constructor(parameters: Parameters, path: string, inFeatures: number, outFeatures: number, bias: boolean) {
    this.path = path;
    this.inFeatures = inFeatures;
    this.outFeatures = outFeatures;
    this.weight = parameters.linear(`${path}.weight`, outFeatures, inFeatures);
    this.bias = bias ? parameters.vector(`${path}.bias`, outFeatures) : undefined;
  }

  /** x [T, in] → [T, out], plus `residual` where given. */
  apply({ tape, seed, adapters }: Context, x: Tensor, residual?: Tensor): Tensor {
    const { weight: w, bias } = this;
    const lora = adapters ? this.lora : null;
    if (!lora) return tape.apply(ops.linear, { x, w, bias, residual }, {});
    const dropout = lora.dropout > 0 && seed ? { p: lora.dropout, stream: lora.stream } : null;
    const inputs = { x, w, bias, residual, loraA: lora.a, loraB: lora.b, seed: dropout && seed ? seed : undefined };
    return tape.apply(ops.linear, inputs, { scale: lora.scale, dropout });
  }
}

export class RmsNorm {
  readonly weight: Tensor;
  readonly eps: number;

  constructor(parameters: Parameters, path: string, size: number, eps: number) {
    this.weight = parameters.vector(`${path}.weight`, size);
    this.eps = eps;
  }

  apply({ tape }: Context, x: Tensor): Tensor {
    return tape.apply(ops.rmsNorm, { x, w: this.weight }, { eps: this.eps });
  }
}

export interface AttentionSizes {
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  /** Tokens that a token may look back to; 0 for all. */
  readonly window: number;
}

export class Attention {
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  readonly o: Linear;
  private readonly layer: number;
  private readonly sizes: AttentionSizes;

  constructor(parameters: Parameters, path: string, layer: number, sizes: AttentionSizes) {
    const { hidden, heads, kvHeads, headSize, qkvBias, outputBias } = sizes;
    this.layer = layer;
    this.sizes = sizes;
    this.q = new Linear(parameters, `${path}.q_proj`, hidden, heads * headSize, qkvBias);
    this.k = new Linear(parameters, `${path}.k_proj`, hidden, kvHeads * headSize, qkvBias);
    this.v = new Linear(parameters, `${path}.v_proj`, hidden, kvHeads * headSize, qkvBias);
    this.o = new Linear(parameters, `${path}.o_proj`, heads * headSize, hidden, outputBias);
  }

  apply(context: Context, x: Tensor, residual: Tensor): Tensor {
    const { tape, positions, table } = context;
    const { heads, kvHeads: groups, headSize, window } = this.sizes;
    const rotate = (tensor: Tensor) => tape.apply(ops.rope, { x: tensor, positions, table }, {});
    const q = rotate(this.q.apply(context, x));
    const k = rotate(this.k.apply(context, x));
    const v = this.v.apply(context, x);
    const o = context.attend(this.layer, q, k, v, { heads, groups, window, scale: headSize ** -0.5 });
    return this.o.apply(context, o, residual);
  }
}

export class GatedMlp {
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;
  private readonly activation: Activation;

  constructor(
    parameters: Parameters,
    path: string,
    hidden: number,
    inner: number,
    bias: boolean,
    activation: Activation,
  ) {
    this.gate = new Linear(parameters, `${path}.gate_proj`, hidden, inner, bias);
    this.up = new Linear(parameters, `${path}.up_proj`, hidden, inner, bias);
    this.down = new Linear(parameters, `${path}.down_proj`, inner, hidden, bias);
    this.activation = activation;
  }

  apply(context: Context, x: Tensor, residual: Tensor): Tensor {
    const gate = this.gate.apply(context, x);
    const up = this.up.apply(context, x);
    const inner = context.tape.apply(ops.gatedActivation, { gate, up }, { kind: this.activation });
    return this.down.apply(context, inner, residual);
  }
}
