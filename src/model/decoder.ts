/** The pre-norm decoder that Llama and its kin share. An architecture file says its sizes and options. */
import type { Tensor } from '../kernels/define.ts';
import type { Activation } from '../kernels/gatedActivation.ts';
import * as ops from '../tensor/ops.ts';
import { Attention, type AttentionSizes, type Context, GatedMlp, type Linear, RmsNorm } from './layers.ts';
import type { Parameters } from './parameters.ts';
import type { RopeConfig } from './rope.ts';

/** Sizes and options of a decoder, as its architecture reads them from `config.json`. */
export interface DecoderSpec {
  readonly modelType: string;
  readonly vocabSize: number;
  readonly layers: number;
  /** Features inside of the feed-forward block (`intermediate_size`). */
  readonly inner: number;
  readonly attention: Omit<AttentionSizes, 'window'>;
  /** Window of each layer, 0 for none. */
  readonly windows: readonly number[];
  readonly mlpBias: boolean;
  readonly activation: Activation;
  /** Added to the mean square in each norm (`rms_norm_eps`). */
  readonly normEps: number;
  /** Whether the vocabulary head is the embedding. */
  readonly tied: boolean;
  readonly rope: RopeConfig;
  /** Things to tell the user once. */
  readonly warnings: readonly string[];
}

class DecoderLayer {
  readonly attention: Attention;
  readonly mlp: GatedMlp;
  private readonly inputNorm: RmsNorm;
  private readonly postNorm: RmsNorm;

  constructor(parameters: Parameters, index: number, spec: DecoderSpec) {
    const path = `model.layers.${index}`;
    const { hidden } = spec.attention;
    this.inputNorm = new RmsNorm(parameters, `${path}.input_layernorm`, hidden, spec.normEps);
    this.attention = new Attention(parameters, `${path}.self_attn`, index, {
      ...spec.attention,
      window: spec.windows[index] ?? 0,
    });
    this.postNorm = new RmsNorm(parameters, `${path}.post_attention_layernorm`, hidden, spec.normEps);
    this.mlp = new GatedMlp(parameters, `${path}.mlp`, hidden, spec.inner, spec.mlpBias, spec.activation);
  }

  apply(context: Context, x: Tensor): Tensor {
    return this.feedForward(context, this.attend(context, x));
  }

  /**
   * As `apply`, keeping only x for the backward pass. There, attention is kept once more as its input alone, so that what it
   * saves and what the feed-forward block saves are never in memory together.
   */
  applyAgain(context: Context, x: Tensor): Tensor {
    const { tape } = context;
    return tape.checkpoint(
      (input) =>
        this.feedForward(
          context,
          tape.checkpoint((inner) => this.attend(context, inner), input),
        ),
      x,
    );
  }

  private attend(context: Context, x: Tensor): Tensor {
    return this.attention.apply(context, this.inputNorm.apply(context, x), x);
  }

  private feedForward(context: Context, x: Tensor): Tensor {
    return this.mlp.apply(context, this.postNorm.apply(context, x), x);
  }
}

export class Decoder {
  readonly spec: DecoderSpec;
  /** Linear layers that may carry LoRA, in the order of the model. The vocabulary head is not among them. */
  readonly linears: readonly Linear[];
  /** [V, C], the embedding itself when tied. */
  readonly head: Tensor;
  private readonly embedding: Tensor;
  private readonly layers: readonly DecoderLayer[];
  private readonly norm: RmsNorm;

  constructor(parameters: Parameters, spec: DecoderSpec) {
    const { hidden } = spec.attention;
    this.spec = spec;
    this.embedding = parameters.matrix('model.embed_tokens.weight', spec.vocabSize, hidden);
    this.layers = Array.from({ length: spec.layers }, (_, index) => new DecoderLayer(parameters, index, spec));
    this.norm = new RmsNorm(parameters, 'model.norm', hidden, spec.normEps);
    this.head = spec.tied ? this.embedding : parameters.matrix('lm_head.weight', spec.vocabSize, hidden);
    this.linears = this.layers.flatMap(({ attention: { q, k, v, o }, mlp: { gate, up, down } }) => [
      q,
      k,
      v,
      o,
      gate,
      up,
      down,
    ]);
  }

  /** Hidden states of all positions before the last norm: [T, C]. `checkpoint` keeps only the input of each layer. */
  hidden(context: Context, checkpoint: boolean): Tensor {
    const { tape, ids, groups } = context;
    let x = tape.apply(ops.embedding, { ids, w: this.embedding }, { groups });
    for (const layer of this.layers) x = checkpoint ? layer.applyAgain(context, x) : layer.apply(context, x);
    return x;
  }

  /** Hidden states of chosen rows after the last norm, ready for the head: [R, C]. */
  select(context: Context, hidden: Tensor, rows: Tensor, inverse: Tensor | undefined): Tensor {
    const chosen = context.tape.apply(ops.selectRows, { x: hidden, rows, inverse }, {});
    return this.norm.apply(context, chosen);
  }
}
