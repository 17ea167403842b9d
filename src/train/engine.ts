/**
 * The programs of a training run and what they share: micro-step (forward, backward, gradients add up), optimizer step
 * (clip, AdamW, clear) and evaluation. Each is traced once for a shape and replayed; nothing that changes from step to step
 * is part of a program.
 */

import { bucketLength, type FlatBatch, flattenBatch } from '../data/flatten.ts';
import { countTrained, type LabelledTokens } from '../data/labels.ts';
import { type Gpu, type GpuTraits, readBackBytes } from '../gpu/device.ts';
import { type Bytes, noBytes, sumBytes } from '../gpu/ledger.ts';
import { Readback } from '../gpu/readback.ts';
import { adamW, adamWHyper } from '../kernels/adamW.ts';
import { adamW8bit, HYPER_8BIT, momentMaps } from '../kernels/adamW8bit.ts';
import { sum } from '../kernels/add.ts';
import { bytesOf, type Tensor } from '../kernels/define.ts';
import { gradientNorm } from '../kernels/gradientNorm.ts';
import { scaleLoss } from '../kernels/lossScale.ts';
import type { Context } from '../model/layers.ts';
import type { Model } from '../model/model.ts';
import { invariant } from '../platform/errors.ts';
import { Memory, newTensor, upload } from '../tensor/memory.ts';
import * as ops from '../tensor/ops.ts';
import { mergeSlots, type Plan, planProgram, slotBytes } from '../tensor/plan.ts';
import { Pool, Program, uniformBytes } from '../tensor/program.ts';
import { Tape } from '../tensor/tape.ts';
import { Trace } from '../tensor/trace.ts';
import { LossScale, type LossScaleState } from './lossScale.ts';
import { ACTIVATION_DTYPES, type Precision } from './precision.ts';

/** Padded tokens and padded trained positions of a micro-batch: what a program is traced for. */
export interface Shape {
  readonly T: number;
  readonly R: number;
}

/** The shape that a micro-batch is padded to. */
export function shapeOf(rows: readonly LabelledTokens[]): Shape {
  const tokens = rows.reduce((total, row) => total + row.inputIds.length, 0);
  const trained = rows.reduce((total, row) => total + countTrained(row), 0);
  return shapeFor(tokens, trained);
}

/** The shape for so many tokens, so many of them with a loss. */
export function shapeFor(tokens: number, trained: number): Shape {
  return { T: bucketLength(tokens), R: bucketLength(trained) };
}

/** The smallest shape that holds all of `shapes`. */
export function largestShape(shapes: readonly Shape[]): Shape {
  return { T: Math.max(...shapes.map(({ T }) => T)), R: Math.max(...shapes.map(({ R }) => R)) };
}

export interface EngineOptions {
  /** Gradients are clipped to this norm; 0 does not clip. */
  readonly maxGradNorm: number;
  /** Keep only each layer's input for the backward pass and run the layer again there. */
  readonly checkpointing: boolean;
  /** How activations and their gradients are stored; float32 when left out. With float16, the loss is scaled. */
  readonly precision?: Precision;
  /** The largest shapes that will be asked for; null where there is no training, or no evaluation. */
  readonly trainShape: Shape | null;
  readonly evalShape: Shape | null;
}

export interface OptimizerStep {
  /** From 1; steps that were skipped do not count. */
  readonly step: number;
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
}

/** Results of an optimizer step. `loss` is the sum over trained tokens since the last one; `gradNorm` is before clipping. */
export interface StepResult {
  readonly loss: number;
  readonly gradNorm: number;
  /** After this step, which was skipped where `gradNorm` is not finite; null where the loss is not scaled. */
  readonly lossScale: LossScaleState | null;
}

/** Results that may be on their way while the next step is encoded. */
const RESULTS_IN_FLIGHT = 4;
const RESULT_BYTES = 16;

type Inputs = Readonly<
  Record<
    'ids' | 'positions' | 'starts' | 'ends' | 'rows' | 'inverse' | 'targets' | 'order' | 'groupStarts' | 'groupIds',
    Tensor
  >
>;

/** The inputs of a micro-batch. Programs of smaller shapes see the beginning of the same buffers. */
class BatchInputs {
  readonly seed: Tensor;
  readonly scale: Tensor;
  readonly groupCount: Tensor;
  private readonly memory: Memory;
  private readonly places = new Map<string, ReturnType<Memory['block']>>();
  private readonly views = new Map<string, Inputs>();

  constructor(memory: Memory, largest: Shape) {
    this.memory = memory;
    const sizes = this.sizes(largest);
    for (const [name, [count]] of Object.entries(sizes))
      this.places.set(name, memory.block(name, 'staging', count * 4));
    this.seed = memory.declare('seed', [1], { dtype: 'u32', category: 'staging' });
    this.scale = memory.declare('scale', [1], { category: 'staging' });
    this.groupCount = memory.declare('groupCount', [1], { dtype: 'u32', category: 'staging' });
  }

  of(shape: Shape): Inputs {
    const key = `${shape.T} ${shape.R}`;
    let inputs = this.views.get(key);
    if (!inputs) {
      const entries = Object.entries(this.sizes(shape)).map(([name, [count, dtype]]) => {
        const tensor = newTensor(name, [count], { dtype, category: 'staging' });
        const block = this.places.get(name);
        invariant(block && count * 4 <= block.bytes, `${name} of ${count} is larger than planned`);
        this.memory.place(tensor, block, 0);
        return [name, tensor];
      });
      inputs = Object.fromEntries(entries) as Inputs;
      this.views.set(key, inputs);
    }
    return inputs;
  }

  write(gpu: Gpu, shape: Shape, batch: FlatBatch, scale: number, seed: number): void {
    const inputs = this.of(shape);
    const put = (
      tensor: Tensor,
      values: Uint32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Float32Array<ArrayBuffer>,
    ) => upload(gpu, this.memory, tensor, values);
    put(inputs.ids, batch.ids);
    put(inputs.positions, batch.positions);
    put(inputs.starts, batch.documentStart);
    put(inputs.ends, batch.documentEnd);
    put(inputs.rows, batch.trainedRows);
    put(inputs.inverse, batch.rowOfPosition);
    put(inputs.targets, batch.targets);
    put(inputs.order, batch.sortedPositions);
    put(inputs.groupStarts, batch.segmentStarts);
    put(inputs.groupIds, batch.segmentIds);
    put(this.groupCount, new Uint32Array([batch.uniqueCount]));
    put(this.scale, new Float32Array([scale]));
    put(this.seed, new Uint32Array([seed]));
  }

  private sizes({ T, R }: Shape): Record<keyof Inputs, [number, 'u32' | 'i32']> {
    return {
      ids: [T, 'u32'],
      positions: [T, 'u32'],
      starts: [T, 'u32'],
      ends: [T, 'u32'],
      rows: [R, 'u32'],
      inverse: [T, 'i32'],
      targets: [R, 'u32'],
      order: [T, 'u32'],
      groupStarts: [T + 1, 'u32'],
      groupIds: [T, 'u32'],
    };
  }
}

type Kind = 'train' | 'optimizer' | 'eval';

interface LargestProgram {
  readonly plan: Plan;
  /** Bytes. */
  readonly uniforms: number;
}

/** Everything that a run needs on the GPU beside the model, symbolic until `prepare`. */
export class Engine {
  readonly model: Model;
  readonly options: EngineOptions;
  /** Where the loss is scaled. Its state may be set before `prepare`. */
  readonly lossScale: LossScale | null;
  private readonly traits: GpuTraits;
  private readonly memory: Memory;
  private readonly inputs: BatchInputs;
  private readonly total: Tensor;
  private readonly evalTotal: Tensor;
  /** (loss) and (norm, clip) of the last optimizer step. */
  private readonly lossResult: Tensor;
  private readonly normResult: Tensor;
  private readonly hyper: Tensor;
  private readonly scaler: Tensor | null;
  private readonly losses: Tensor;
  private readonly pool = new Pool();
  private readonly programs = new Map<string, Program>();
  private readback: Readback | null = null;
  private lastResult: Promise<unknown> = Promise.resolve();
  private planned: ReadonlyMap<Kind, LargestProgram> | null = null;

  constructor(model: Model, traits: GpuTraits, options: EngineOptions) {
    this.model = model;
    this.traits = traits;
    this.options = options;
    this.lossScale = options.precision === 'float16' ? new LossScale() : null;
    this.memory = new Memory(traits.limits, model.memory);
    const shapes = [options.trainShape, options.evalShape].filter((shape) => shape !== null);
    this.inputs = new BatchInputs(this.memory, largestShape(shapes));
    const scalar = (label: string, count: number) => this.memory.declare(label, [count], { category: 'staging' });
    this.total = scalar('loss total', 1);
    this.evalTotal = scalar('evaluation total', 1);
    this.lossResult = scalar('loss', 1);
    this.normResult = scalar('gradient norm', 2);
    this.hyper = scalar('hyper', model.trained?.has8bit ? HYPER_8BIT : 8);
    this.scaler = this.lossScale && scalar('scaler', 2);
    this.losses = scalar('losses', largestShape(shapes).R);
  }

  /** Exact bytes that `prepare` and the run will allocate, the model included, by category. Needs no GPU. */
  plan(): Bytes {
    const plans = [...this.largest.values()];
    const bytes = noBytes();
    const add = (more: Bytes) => {
      for (const category of Object.keys(bytes) as (keyof Bytes)[]) bytes[category] += more[category];
    };
    add(this.model.memory.bytes());
    add(this.memory.bytes());
    add(slotBytes(mergeSlots(plans.map(({ plan }) => plan.slots))));
    bytes.staging += Math.max(...plans.map(({ uniforms }) => uniforms));
    bytes.staging += RESULTS_IN_FLIGHT * RESULT_BYTES;
    // Checkpoints are saved tensor by tensor.
    bytes.staging += Math.max(0, ...(this.model.trained?.entries ?? []).map(({ p }) => readBackBytes(bytesOf(p))));
    // Weights are quantised before the rest is there.
    const loading = this.model.memory.bytes();
    loading.staging += this.model.stagingBytes();
    return sumBytes(loading) > sumBytes(bytes) ? loading : bytes;
  }

  /** Allocates what the largest shapes need, so that no later step has to. */
  async prepare(gpu: Gpu): Promise<void> {
    await this.model.memory.allocate(gpu);
    await this.memory.allocate(gpu);
    if (this.lossScale && this.scaler) upload(gpu, this.memory, this.scaler, this.lossScale.values);
    const plans = [...this.largest.values()];
    const slots = mergeSlots(plans.map(({ plan }) => plan.slots));
    await this.pool.fit(gpu, slots, Math.max(...plans.map(({ uniforms }) => uniforms)));
    this.readback = await Readback.create(gpu, RESULT_BYTES, RESULTS_IN_FLIGHT);
    const { trainShape, evalShape } = this.options;
    if (trainShape) {
      await this.microProgram(gpu, trainShape);
      await this.optimizerProgram(gpu);
    }
    if (evalShape) await this.evalProgram(gpu, evalShape);
  }

  /** Whether `prepare` has run to its end, and `close` not since. */
  get isPrepared(): boolean {
    return this.readback !== null && this.programs.size > 0;
  }

  /** Forgets the micro-steps since the last optimizer step. */
  clearGradients(gpu: Gpu): void {
    const encoder = gpu.device.createCommandEncoder();
    for (const { g } of this.model.trained?.chunks() ?? []) {
      const { buffer, offset, size } = this.model.memory.locate(g);
      encoder.clearBuffer(buffer.buffer, offset, size);
    }
    gpu.device.queue.submit([encoder.finish()]);
  }

  /** Forward and backward of one micro-batch. `scale` is 1 ÷ the trained tokens of the whole optimizer step. */
  async microStep(gpu: Gpu, rows: readonly LabelledTokens[], scale: number, seed: number): Promise<void> {
    const shape = shapeOf(rows);
    const program = await this.microProgram(gpu, shape);
    this.inputs.write(gpu, shape, flattenBatch(rows, shape.T, shape.R, this.model.spec.vocabSize), scale, seed);
    await program.run();
  }

  /** Optimizer steps of the run that were skipped. Waits for the last result where any may be. */
  async skippedSteps(): Promise<number> {
    if (!this.lossScale) return 0;
    await this.lastResult;
    return this.lossScale.state.skipped_steps;
  }

  /** Clips, updates, clears. Resolves when the result is back; the work is submitted before the first await returns. */
  async optimizerStep(gpu: Gpu, step: OptimizerStep): Promise<{ result: Promise<StepResult> }> {
    const program = await this.optimizerProgram(gpu);
    const hyper = adamWHyper({ ...step, t: step.step });
    upload(gpu, this.memory, this.hyper, this.model.trained?.has8bit ? withMaps(hyper) : hyper);
    await program.run();
    invariant(this.readback, 'the engine was not prepared');
    const back = this.readback.read([this.memory.locate(this.lossResult), this.memory.locate(this.normResult)]);
    const result = back.then((bytes) => {
      const [loss = Number.NaN, gradNorm = Number.NaN] = new Float32Array(bytes);
      return { loss, gradNorm, lossScale: this.lossScale?.book(gradNorm) ?? null };
    });
    this.lastResult = result;
    // When a run ends before its time nobody waits for this any more, and that is no error of its own.
    result.catch(() => {});
    return { result };
  }

  /** Sum of the losses of all trained tokens of these rows, without adapters' dropout and without gradients. */
  async evaluate(gpu: Gpu, batches: Iterable<readonly LabelledTokens[]>): Promise<{ loss: number; tokens: number }> {
    invariant(this.readback, 'the engine was not prepared');
    upload(gpu, this.memory, this.evalTotal, new Float32Array(1));
    let tokens = 0;
    for (const rows of batches) {
      const shape = shapeOf(rows);
      const program = await this.evalProgram(gpu, shape);
      const batch = flattenBatch(rows, shape.T, shape.R, this.model.spec.vocabSize);
      this.inputs.write(gpu, shape, batch, 0, 0);
      tokens += batch.trained;
      await program.run();
      await gpu.done();
    }
    const [loss = Number.NaN] = new Float32Array(await this.readback.read([this.memory.locate(this.evalTotal)]));
    return { loss, tokens };
  }

  /** The loss of each trained position of these rows, in their order. */
  async tokenLosses(gpu: Gpu, rows: readonly LabelledTokens[]): Promise<Float32Array> {
    const { loss: _, tokens } = await this.evaluate(gpu, [rows]);
    const { buffer, offset } = this.memory.locate(this.losses);
    return new Float32Array(await gpu.read(buffer.buffer, offset, Math.max(4, tokens * 4))).subarray(0, tokens);
  }

  /** Arithmetic of a micro-step, for throughput figures. */
  async microFlops(gpu: Gpu, shape: Shape): Promise<number> {
    return (await this.microProgram(gpu, shape)).flops;
  }

  /** The micro-step program of a shape, for profiles. */
  microProgram(gpu: Gpu, shape: Shape): Promise<Program> {
    return this.program(gpu, 'train', `${shape.T} ${shape.R}`, () => this.traceMicro(shape));
  }

  optimizerProgram(gpu: Gpu): Promise<Program> {
    return this.program(gpu, 'optimizer', '', () => this.traceOptimizer());
  }

  close(gpu: Gpu): void {
    for (const program of this.programs.values()) program.close();
    this.programs.clear();
    this.pool.close(gpu);
    this.memory.close(gpu);
    this.readback?.close();
    this.readback = null;
  }

  private evalProgram(gpu: Gpu, shape: Shape): Promise<Program> {
    return this.program(gpu, 'eval', `${shape.T} ${shape.R}`, () => this.traceEval(shape));
  }

  private async program(gpu: Gpu, kind: Kind, shape: string, trace: () => Trace): Promise<Program> {
    const key = `${kind} ${shape}`;
    let program = this.programs.get(key);
    if (!program) {
      program = await Program.build(gpu, trace(), this.memory, this.pool, this.largest.get(kind)?.plan);
      this.programs.set(key, program);
    }
    return program;
  }

  /** The plans of the programs of the largest shapes, in whose memory all others run. */
  private get largest(): ReadonlyMap<Kind, LargestProgram> {
    if (this.planned) return this.planned;
    const { trainShape, evalShape } = this.options;
    const planned = new Map<Kind, LargestProgram>();
    const add = (kind: Kind, trace: Trace) =>
      planned.set(kind, { plan: planProgram(trace), uniforms: uniformBytes(trace) });
    if (trainShape) {
      add('train', this.traceMicro(trainShape));
      add('optimizer', this.traceOptimizer());
    }
    if (evalShape) add('eval', this.traceEval(evalShape));
    this.planned = planned;
    return planned;
  }

  private get activation() {
    return ACTIVATION_DTYPES[this.options.precision ?? 'float32'];
  }

  private traceMicro(shape: Shape): Trace {
    const { trained } = this.model;
    invariant(trained, 'nothing is trained');
    const tape = new Tape(this.traits, trained.gradients(), this.activation);
    const loss = this.traceLoss(tape, shape, this.total, true);
    tape.backward(loss);
    tape.prune();
    return tape;
  }

  private traceEval(shape: Shape): Trace {
    const tape = new Tape(this.traits, null, this.activation);
    this.traceLoss(tape, shape, this.evalTotal, false);
    return tape;
  }

  private traceLoss(tape: Tape, shape: Shape, total: Tensor, training: boolean): Tensor {
    const { decoder } = this.model;
    const { ids, positions, starts, ends, rows, inverse, targets, order, groupStarts, groupIds } =
      this.inputs.of(shape);
    const context: Context = {
      tape,
      ids,
      positions,
      table: this.model.table,
      groups: training ? { order, starts: groupStarts, ids: groupIds, count: this.inputs.groupCount } : null,
      seed: training ? this.inputs.seed : null,
      adapters: true,
      attend: (_layer, q, k, v, options) => tape.apply(ops.attention, { q, k, v, starts, ends }, options),
    };
    const hidden = decoder.hidden(context, training && this.options.checkpointing);
    const x = decoder.select(context, hidden, rows, inverse);
    const scale = training && this.scaler ? scaleLoss(tape, this.inputs.scale, this.scaler) : this.inputs.scale;
    const inputs = { x, w: decoder.head, targets, scale, total };
    return tape.apply(ops.linearCrossEntropy, inputs, { losses: training ? null : this.lossesOf(shape), training });
  }

  /** The beginning of `losses`, as long as the shape needs. */
  private lossesOf({ R }: Shape): Tensor {
    const tensor = newTensor('losses', [R], { category: 'staging' });
    this.memory.alias(tensor, this.losses);
    return tensor;
  }

  private traceOptimizer(): Trace {
    const { trained } = this.model;
    invariant(trained, 'nothing is trained');
    const trace = new Trace(this.traits);
    const chunks = trained.chunks();
    gradientNorm(
      trace,
      chunks.map(({ g }) => g),
      this.normResult,
      this.options.maxGradNorm,
      this.scaler,
    );
    for (const { decay, absmax, ...chunk } of chunks) {
      const tensors = { ...chunk, clip: this.normResult, hyper: this.hyper };
      if (absmax) adamW8bit(trace, { ...tensors, absmax }, decay);
      else adamW(trace, tensors, decay);
    }
    sum(trace, this.total, null, this.lossResult);
    trace.clear(this.total);
    for (const { g } of chunks) trace.clear(g);
    return trace;
  }
}

let maps: Float32Array<ArrayBuffer> | null = null;

function withMaps(hyper: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  maps ??= momentMaps();
  const all = new Float32Array(HYPER_8BIT);
  all.set(hyper);
  all.set(maps, hyper.length);
  return all;
}
