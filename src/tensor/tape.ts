/**
 * Reverse-mode differentiation over ops. Knows no op.
 *
 * `apply` appends an op's forward work and remembers what its backward pass needs; `backward` walks the ops in reverse and
 * appends their backward work. Gradients are never copied where one tensor can serve (residual connections) and never
 * summed by a kernel of their own where an op can add to what is there.
 */
import type { GpuTraits } from '../gpu/device.ts';
import { sum } from '../kernels/add.ts';
import type { ActivationDtype, Gradient, Gradients, Inputs, OpDefinition, Tensor } from '../kernels/define.ts';
import { invariant } from '../platform/errors.ts';
import { Trace } from './trace.ts';

interface Entry {
  readonly out: Tensor;
  readonly backward: (dOut: Tensor) => void;
}

/**
 * Ops in the order in which they run, and how to differentiate them. Nothing is computed before a program is built of it.
 */
export class Tape extends Trace {
  /** Null while nothing is recorded: inference, and the first pass of a checkpointed function. */
  private entries: Entry[] | null;
  /** Persistent gradients of parameters, by the parameter's id. */
  private readonly parameters: ReadonlyMap<number, Tensor>;
  private readonly gradients = new Map<number, Tensor>();
  /** How many not yet consumed tensors share a gradient tensor, by its id. */
  private readonly sharers = new Map<number, number>();
  /** How many ops read a tensor, by its id; tensors that the op which made them kept for its backward pass count once more. */
  private readonly readers = new Map<number, number>();

  /** `parameters` maps the id of each trained tensor to its gradient; null makes a tape that records nothing. */
  constructor(traits: GpuTraits, parameters: ReadonlyMap<number, Tensor> | null, activation?: ActivationDtype) {
    super(traits, activation);
    this.parameters = parameters ?? new Map();
    this.entries = parameters ? [] : null;
  }

  /** Appends an op and returns its result, which has no values yet. Throws what the `check` of the op throws. */
  apply<I extends Inputs, A, S>(op: OpDefinition<I, A, S>, inputs: I, attributes: A): Tensor {
    op.check(inputs, attributes);
    const { out, saved } = op.forward(this, inputs, attributes);
    const { backward } = op;
    for (const input of Object.values(inputs)) if (input) this.addReader(input);
    if (Object.values(saved ?? {}).some((kept) => (kept as Partial<Tensor> | null)?.id === out.id)) this.addReader(out);
    const differentiable = Object.values(inputs).some((input) => input?.requiresGrad);
    if (!this.entries || !differentiable || !backward) return out;
    const result = { ...out, requiresGrad: true };
    this.entries.push({
      out: result,
      backward: (dOut) => backward(this, saved, dOut, this.sink(inputs)),
    });
    return result;
  }

  /**
   * Runs `fn` without keeping what its backward pass needs; the backward pass runs `fn` again. `fn` must be a function of
   * `input` and of parameters alone.
   */
  checkpoint(fn: (input: Tensor) => Tensor, input: Tensor): Tensor {
    const { entries } = this;
    if (!entries) return fn(input);
    this.addReader(input);
    this.entries = null;
    const first = fn(input);
    this.entries = entries;
    const out = { ...first, requiresGrad: true };
    entries.push({
      out,
      backward: (dOut) => {
        const outer = this.entries;
        const inner: Entry[] = [];
        this.entries = inner;
        const again = fn(input);
        this.entries = outer;
        // `again` takes the place of `out` as the one that shares this gradient.
        this.gradients.set(again.id, dOut);
        this.walk(inner);
        this.sharers.set(dOut.id, (this.sharers.get(dOut.id) ?? 0) + 1);
      },
    });
    return out;
  }

  /**
   * Appends the backward pass from `out`, which the last op must have made. `gradient` is that of `out`; losses need none,
   * because they are scaled where they are computed.
   */
  backward(out: Tensor, gradient: Tensor = out): void {
    const { entries } = this;
    invariant(entries?.at(-1)?.out === out, 'backward: not the last thing that was computed');
    this.entries = null;
    // The caller counts as one more who needs `gradient`, so that nothing is added to it.
    this.sharers.set(gradient.id, 1);
    this.share(out, gradient);
    this.walk(entries);
  }

  private walk(entries: readonly Entry[]): void {
    for (const { out, backward } of [...entries].reverse()) {
      const dOut = this.gradients.get(out.id);
      if (!dOut) continue;
      backward(dOut);
      this.gradients.delete(out.id);
      this.sharers.set(dOut.id, (this.sharers.get(dOut.id) ?? 1) - 1);
    }
  }

  private addReader({ id }: Tensor): void {
    this.readers.set(id, (this.readers.get(id) ?? 0) + 1);
  }

  private share(tensor: Tensor, gradient: Tensor): void {
    this.gradients.set(tensor.id, gradient);
    this.sharers.set(gradient.id, (this.sharers.get(gradient.id) ?? 0) + 1);
  }

  private sink<I extends Inputs>(inputs: I): Gradients<I> {
    return {
      into: (name) => {
        const input = inputs[name];
        return input?.requiresGrad ? this.into(input) : null;
      },
      over: (name) => {
        const input = inputs[name];
        if (!input?.requiresGrad) return null;
        const free = this.transients.has(input.id) && this.readers.get(input.id) === 1;
        if (!free || this.gradients.has(input.id)) return this.into(input);
        this.share(input, input);
        return { tensor: input, accumulate: 0 };
      },
      pass: (name, gradient) => {
        const input = inputs[name];
        if (!input?.requiresGrad) return;
        const parameter = this.parameters.get(input.id);
        if (parameter) {
          invariant(gradient.dtype === 'f32', `d ${input.label}: expected a gradient in f32, got ${gradient.dtype}`);
          // A kernel cannot write what it reads.
          const total = this.tensor(`d ${input.label}`, input.shape);
          sum(this, parameter, gradient, total);
          sum(this, total, null, parameter);
          return;
        }
        const existing = this.gradients.get(input.id);
        if (!existing) {
          this.share(input, gradient);
          return;
        }
        const total = this.newGradient(input);
        sum(this, existing, gradient, total);
        this.replace(input, existing, total);
      },
    };
  }

  /** Gradients are stored as what they are gradients of. */
  private newGradient({ label, shape, dtype }: Tensor): Tensor {
    return this.tensor(`d ${label}`, shape, { dtype });
  }

  private into(input: Tensor): Gradient {
    const parameter = this.parameters.get(input.id);
    if (parameter) return { tensor: parameter, accumulate: 1 };
    const existing = this.gradients.get(input.id);
    if (!existing) {
      const fresh = this.newGradient(input);
      this.share(input, fresh);
      return { tensor: fresh, accumulate: 0 };
    }
    if (this.sharers.get(existing.id) === 1) return { tensor: existing, accumulate: 1 };
    // Somebody else still needs the gradient that this one shares: go on with a copy.
    const copy = this.newGradient(input);
    sum(this, existing, null, copy);
    this.replace(input, existing, copy);
    return { tensor: copy, accumulate: 1 };
  }

  private replace(input: Tensor, existing: Tensor, next: Tensor): void {
    this.sharers.set(existing.id, (this.sharers.get(existing.id) ?? 1) - 1);
    this.gradients.delete(input.id);
    this.share(input, next);
  }
}
