/**
 * A program: a traced, planned list of commands, ready to be replayed.
 *
 * Pipelines, buffers and bind groups are made once. A replay encodes the list and submits it; it allocates nothing. What
 * changes from step to step lies in persistent tensors that the caller writes before.
 */
import type { Gpu, GpuBuffer } from '../gpu/device.ts';
import { CATEGORIES, type Category } from '../gpu/ledger.ts';
import { bytesOf, type Tensor } from '../kernels/define.ts';
import { invariant } from '../platform/errors.ts';
import type { Memory, Place } from './memory.ts';
import { checkComplete, type Plan, planLike, planProgram, type SlotSizes } from './plan.ts';
import type { Clear, Dispatch, Trace } from './trace.ts';

/** Buffers for the transient tensors and the uniforms of several programs that run one after the other. */
export class Pool {
  /** Grows by one whenever buffers were replaced, so that programs know that their bind groups are stale. */
  version = 0;
  /** By `<category> <slot>`, and `uniforms`. */
  private readonly buffers = new Map<string, GpuBuffer>();
  /** The program whose uniforms lie in the buffer. */
  private owner: Program | null = null;

  /** Makes room for a program. Existing buffers that are too small are replaced. All or none. */
  async fit(gpu: Gpu, slots: SlotSizes, uniformBytes: number): Promise<void> {
    const requests = [
      ...CATEGORIES.flatMap((category) =>
        (slots[category] ?? []).map((bytes, slot) => ({ label: `${category} ${slot}`, bytes, category })),
      ),
      { label: 'uniforms', bytes: uniformBytes, category: 'staging' as const, kind: 'uniform' as const },
    ].filter(({ label, bytes }) => bytes > (this.buffers.get(label)?.size ?? 0));
    if (requests.length === 0) return;
    this.version += 1;
    this.owner = null;
    // What is replaced goes first, so that old and new are never alive together.
    const replaced = requests.flatMap(({ label }) => this.buffers.get(label) ?? []);
    if (replaced.length > 0) {
      for (const { label } of requests) this.buffers.delete(label);
      gpu.release(replaced);
      await gpu.collect();
    }
    const made = await gpu.allocate(requests);
    requests.forEach(({ label }, index) => {
      const buffer = made[index];
      if (buffer) this.buffers.set(label, buffer);
    });
  }

  locate(category: Category, slot: number): GpuBuffer {
    const buffer = this.buffers.get(`${category} ${slot}`);
    invariant(buffer, `slot ${category} ${slot} has no buffer`);
    return buffer;
  }

  get uniforms(): GpuBuffer {
    const buffer = this.buffers.get('uniforms');
    invariant(buffer, 'there is no uniform buffer');
    return buffer;
  }

  /** Puts the uniforms of a program that is about to run into the buffer that all programs share. */
  useUniforms(gpu: Gpu, program: Program, content: Uint8Array<ArrayBuffer>): void {
    if (this.owner === program || content.length === 0) return;
    gpu.write(this.uniforms, 0, content);
    this.owner = program;
  }

  close(gpu: Gpu): void {
    gpu.release([...this.buffers.values()]);
    this.buffers.clear();
    this.owner = null;
    this.version += 1;
  }
}

type Step =
  | {
      kind: 'dispatch';
      name: string;
      pipeline: GPUComputePipeline;
      group: GPUBindGroup;
      grid: readonly [number, number, number];
      flops: number;
    }
  | { kind: 'clear'; buffer: GPUBuffer; offset: number; size: number };

/** Arithmetic after which a submit is closed, so that none keeps a device for long (drivers reset at about two seconds). */
const SUBMIT_FLOPS = { software: 4e9, gpu: 2e11 };

export class Program {
  readonly plan: Plan;
  readonly flops: number;
  readonly dispatches: number;
  private readonly gpu: Gpu;
  private readonly trace: Trace;
  private readonly memory: Memory;
  private readonly pool: Pool;
  private steps: Step[] = [];
  private version = -1;
  /** Bytes of all uniforms, and where in them those of a dispatch lie. */
  private readonly uniforms: Uint8Array<ArrayBuffer>;
  private readonly places: UniformPlaces['places'];
  private pipelines: readonly GPUComputePipeline[] = [];

  private constructor(gpu: Gpu, trace: Trace, memory: Memory, pool: Pool, larger: Plan | null) {
    this.gpu = gpu;
    this.trace = trace;
    this.memory = memory;
    this.pool = pool;
    this.plan = (larger && planLike(trace, larger)) ?? planProgram(trace);
    const dispatches = trace.commands.filter((command) => command.kind === 'dispatch');
    this.dispatches = dispatches.length;
    this.flops = dispatches.reduce((sum, { flops }) => sum + flops, 0);
    const { places, bytes } = uniformPlaces(trace);
    this.places = places;
    this.uniforms = new Uint8Array(bytes);
    for (const { offset, content } of places.values()) this.uniforms.set(content, offset);
  }

  /**
   * Compiles and allocates. The tensors that the trace did not make must lie in `memory`. `larger` is the plan of a program
   * of the same structure, whose memory this one then uses.
   */
  static async build(gpu: Gpu, trace: Trace, memory: Memory, pool: Pool, larger: Plan | null = null): Promise<Program> {
    const program = new Program(gpu, trace, memory, pool, larger);
    checkComplete(program.plan, (tensor) => memory.has(tensor));
    await pool.fit(gpu, program.plan.slots, program.uniforms.length);
    const dispatches = trace.commands.filter((command): command is Dispatch => command.kind === 'dispatch');
    program.pipelines = await Promise.all(dispatches.map(({ name, code }) => gpu.pipeline(name, code)));
    await program.bind();
    return program;
  }

  /** Encodes and submits everything once. Returns before the device is done. */
  async run(): Promise<void> {
    this.gpu.check();
    if (this.version !== this.pool.version) await this.bind();
    this.pool.useUniforms(this.gpu, this, this.uniforms);
    const limit = this.gpu.software ? SUBMIT_FLOPS.software : SUBMIT_FLOPS.gpu;
    const { device } = this.gpu;
    let encoder = device.createCommandEncoder();
    let pass: GPUComputePassEncoder | null = null;
    let pending = 0;
    let pipeline: GPUComputePipeline | null = null;
    const submit = () => {
      pass?.end();
      pass = null;
      device.queue.submit([encoder.finish()]);
      encoder = device.createCommandEncoder();
      pending = 0;
    };
    for (const step of this.steps) {
      if (step.kind === 'clear') {
        pass?.end();
        pass = null;
        encoder.clearBuffer(step.buffer, step.offset, step.size);
        continue;
      }
      if (pending > 0 && pending + step.flops > limit) submit();
      if (!pass) {
        pass = encoder.beginComputePass();
        pipeline = null;
      }
      if (step.pipeline !== pipeline) {
        pass.setPipeline(step.pipeline);
        pipeline = step.pipeline;
      }
      pass.setBindGroup(0, step.group);
      pass.dispatchWorkgroups(...step.grid);
      pending += step.flops;
    }
    submit();
  }

  /** Runs once with a timestamp around each dispatch; seconds and arithmetic by kernel, the slowest first. */
  async profile(): Promise<{ name: string; seconds: number; flops: number; count: number }[]> {
    const { device } = this.gpu;
    this.pool.useUniforms(this.gpu, this, this.uniforms);
    const dispatches = this.steps.filter((step) => step.kind === 'dispatch');
    const totals = new Map<string, { name: string; seconds: number; flops: number; count: number }>();
    for (let start = 0; start < dispatches.length; start += 1024) {
      const part = dispatches.slice(start, start + 1024);
      const querySet = device.createQuerySet({ type: 'timestamp', count: part.length * 2 });
      const resolved = device.createBuffer({ size: part.length * 16, usage: 0x200 | 0x04 });
      const encoder = device.createCommandEncoder();
      part.forEach(({ pipeline, group, grid }, index) => {
        const pass = encoder.beginComputePass({
          timestampWrites: { querySet, beginningOfPassWriteIndex: index * 2, endOfPassWriteIndex: index * 2 + 1 },
        });
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(...grid);
        pass.end();
      });
      encoder.resolveQuerySet(querySet, 0, part.length * 2, resolved, 0);
      device.queue.submit([encoder.finish()]);
      const times = new BigUint64Array(await this.gpu.read(resolved, 0, part.length * 16));
      part.forEach(({ name, flops }, index) => {
        const total = totals.get(name) ?? { name, seconds: 0, flops: 0, count: 0 };
        total.seconds += Number((times[index * 2 + 1] ?? 0n) - (times[index * 2] ?? 0n)) / 1e9;
        total.flops += flops;
        total.count += 1;
        totals.set(name, total);
      });
      resolved.destroy();
      querySet.destroy();
    }
    return [...totals.values()].sort((a, b) => b.seconds - a.seconds);
  }

  close(): void {
    this.steps = [];
  }

  private async bind(): Promise<void> {
    // A larger program that did not fit may have left the pool without buffers.
    await this.pool.fit(this.gpu, this.plan.slots, this.uniforms.length);
    this.steps = await this.gpu.guarded('binding a program', () => {
      let next = 0;
      return this.trace.commands.map((command): Step => {
        if (command.kind === 'clear') return this.bindClear(command);
        const pipeline = this.pipelines[next++];
        invariant(pipeline, 'a dispatch without a pipeline');
        return this.bindDispatch(command, pipeline);
      });
    });
    this.version = this.pool.version;
  }

  private bindClear({ tensors: [tensor] }: Clear): Step {
    const { buffer, offset, size } = this.place(tensor);
    return { kind: 'clear', buffer: buffer.buffer, offset, size: Math.ceil(size / 4) * 4 };
  }

  private bindDispatch(command: Dispatch, pipeline: GPUComputePipeline): Step {
    const { name, tensors, uniforms, workgroups, flops } = command;
    const entries: GPUBindGroupEntry[] = [];
    if (uniforms) {
      const offset = this.places.get(keyOf(uniforms))?.offset ?? 0;
      const { buffer } = this.pool.uniforms;
      entries.push({ binding: 0, resource: { buffer, offset, size: uniforms.byteLength } });
    }
    tensors.forEach((tensor, index) => {
      const { buffer, offset, size } = this.place(tensor);
      entries.push({
        binding: index + 1,
        resource: { buffer: buffer.buffer, offset, size: Math.ceil(size / 16) * 16 },
      });
    });
    const group = this.gpu.device.createBindGroup({ label: name, layout: pipeline.getBindGroupLayout(0), entries });
    return { kind: 'dispatch', name, pipeline, group, grid: workgroups, flops };
  }

  private place(tensor: Tensor): Place {
    const slot = this.plan.slotOf.get(tensor.id);
    if (!slot) return this.memory.locate(tensor);
    return { buffer: this.pool.locate(slot.category, slot.slot), offset: slot.offset, size: bytesOf(tensor) };
  }
}

interface UniformPlaces {
  readonly places: Map<string, { offset: number; content: Uint8Array<ArrayBuffer> }>;
  readonly bytes: number;
}

const keyOf = (content: Uint8Array) => content.join();

/** Lays the uniforms of all dispatches side by side; those with equal bytes share a place. */
function uniformPlaces({ commands }: Trace): UniformPlaces {
  const places: UniformPlaces['places'] = new Map();
  for (const command of commands) {
    if (command.kind !== 'dispatch' || !command.uniforms) continue;
    const key = keyOf(command.uniforms);
    if (!places.has(key)) places.set(key, { offset: places.size * 256, content: command.uniforms });
  }
  return { places, bytes: places.size * 256 };
}

/** Bytes of the uniforms of a program, for memory plans. */
export function uniformBytes(trace: Trace): number {
  return uniformPlaces(trace).bytes;
}
