/**
 * One WebGPU device with everything the engine asks of it.
 *
 * - Every creation call runs inside error scopes; WebGPU reports allocation and validation errors in no other way.
 * - Every wait races the loss of the device: after a loss WebGPU calls succeed silently.
 * - Bytes are counted exactly (`ledger`); buffers are destroyed only after the work that uses them is done.
 */
import { openAdapter, pollGently } from '#platform';
import { SftError } from '../platform/errors.ts';
import { type Category, Ledger, sumBytes } from './ledger.ts';

/** Which kernels suit the adapter: see `Family` in docs/architecture.md. */
export type Family = 'broadcast' | 'registers' | 'tiled';

export interface GpuLimits {
  /** Bytes of the largest buffer and of the largest range bound to a kernel. */
  readonly bufferBytes: number;
  readonly bindingBytes: number;
  readonly workgroupInvocations: number;
  readonly workgroupStorageBytes: number;
  readonly storageBuffers: number;
}

/** What decides the text of a kernel: the adapter's kind, or a stand-in for it when planning without one. */
export interface GpuTraits {
  readonly family: Family;
  /** Lanes of a subgroup where all subgroups have the same number, else 0. */
  readonly subgroupSize: number;
  /** Whether kernels may use the type f16. Activations are stored in 16 bits without it, too. */
  readonly nativeF16: boolean;
  readonly limits: GpuLimits;
}

export interface GpuBuffer {
  readonly buffer: GPUBuffer;
  readonly size: number;
  readonly category: Category;
}

/** Which adapter is opened, and which kernels run on it. */
export interface OpenOptions {
  /** Part of the adapter's name (Node) or a power preference (browser). */
  adapter?: string | undefined;
  /** Kernels to use instead of those that suit the adapter; `portable` needs no optional feature. */
  family?: Family | 'portable' | undefined;
  /** Called before each buffer is made; throwing stands for an allocation that fails. */
  beforeAllocation?: ((bytes: number, category: Category) => void) | undefined;
}

const NEWS_OF_LOSS_MS = 20;
const FEATURES = ['shader-f16', 'subgroups', 'timestamp-query'] as const;
/** Buffers are read as vectors of 16 bytes, so they end at a multiple of that. */
export function bufferSize(bytes: number): number {
  return Math.max(16, Math.ceil(bytes / 16) * 16);
}

/** Bytes of the buffer through which `bytes` bytes are read back: they go in parts. */
export function readBackBytes(bytes: number): number {
  return Math.min(bytes, 16 * 2 ** 20);
}

const STORAGE = 0x80 | 0x04 | 0x08; // GPUBufferUsage.STORAGE | COPY_SRC | COPY_DST
const UNIFORM = 0x40 | 0x08;

export class Gpu implements GpuTraits {
  readonly device: GPUDevice;
  readonly name: string;
  readonly driver: string;
  readonly software: boolean;
  readonly features: ReadonlySet<string>;
  readonly limits: GpuLimits;
  readonly subgroupSize: number;
  readonly nativeF16: boolean;
  readonly family: Family;
  /** Which set of kernels was asked for: `portable` needs no optional feature. */
  readonly backend: 'portable' | 'fast';
  readonly ledger = new Ledger();
  /** Bytes that may be alive together: what would go beyond is refused as by the device itself. */
  limit = Number.POSITIVE_INFINITY;
  /** Rejects when the device is lost; never resolves. */
  private readonly lost: Promise<never>;
  private failure: SftError | null = null;
  private readonly pipelines = new Map<string, Promise<GPUComputePipeline>>();
  private readonly retired: GpuBuffer[] = [];
  private readonly beforeAllocation: OpenOptions['beforeAllocation'];

  private constructor(
    device: GPUDevice,
    opened: { name: string; driver: string; software: boolean },
    info: GPUAdapterInfo,
    options: OpenOptions,
  ) {
    this.device = device;
    this.name = opened.name;
    this.driver = opened.driver;
    this.software = opened.software;
    this.beforeAllocation = options.beforeAllocation;
    this.features = new Set(device.features);
    const { limits } = device;
    this.limits = {
      bufferBytes: limits.maxBufferSize,
      // Ranges are bound at multiples of 256 bytes and read as vectors of 16.
      bindingBytes: Math.floor(limits.maxStorageBufferBindingSize / 256) * 256,
      workgroupInvocations: limits.maxComputeInvocationsPerWorkgroup,
      workgroupStorageBytes: limits.maxComputeWorkgroupStorageSize,
      storageBuffers: limits.maxStorageBuffersPerShaderStage,
    };
    const { subgroupMinSize = 0, subgroupMaxSize = 0 } = info;
    const fixed = this.features.has('subgroups') && subgroupMinSize === subgroupMaxSize && subgroupMinSize >= 4;
    this.family = chooseFamily(opened.software, fixed, options.family);
    this.backend = options.family === 'portable' ? 'portable' : 'fast';
    this.nativeF16 = this.features.has('shader-f16') && this.backend === 'fast';
    this.subgroupSize = this.family === 'broadcast' ? subgroupMinSize : 0;
    this.lost = device.lost.then((lost) => {
      this.failure ??= new SftError(
        'DEVICE_LOST',
        `WebGPU device "${this.name}" was lost: ${lost.message || lost.reason}`,
        {
          hint: 'continue from the last checkpoint with --resume-from last; close other programs that use the GPU',
        },
      );
      throw this.failure;
    });
    this.lost.catch(() => {});
    device.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      this.failure ??= new SftError('GPU', `WebGPU: ${event.error.message}`);
    });
  }

  /** Opens a device with every useful limit and feature of its adapter raised. Throws `NO_GPU` or `GPU`. */
  static async open(options: OpenOptions = {}): Promise<Gpu> {
    const opened = await openAdapter(options.adapter);
    const { adapter } = opened;
    const { limits } = adapter;
    const requiredLimits = {
      maxBufferSize: limits.maxBufferSize,
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
      maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
      maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
    };
    const requiredFeatures = FEATURES.filter((feature) => adapter.features.has(feature)) as GPUFeatureName[];
    const device = await pollGently(() => adapter.requestDevice({ requiredLimits, requiredFeatures }));
    return new Gpu(device, opened, adapter.info, options);
  }

  /** Waits for `start()` without keeping a core busy, and throws when the device is lost or has failed meanwhile. */
  async wait<T>(start: () => Promise<T>): Promise<T> {
    try {
      const result = await Promise.race([pollGently(start), this.lost]);
      this.check();
      return result;
    } catch (error) {
      // Browsers reject what waits for a device a moment before they say that it is lost.
      if (!this.failure)
        await Promise.race([this.lost, new Promise((resolve) => setTimeout(resolve, NEWS_OF_LOSS_MS))]);
      this.check();
      throw error;
    }
  }

  /** Whether the device has failed or is gone; a new one is needed then. */
  get isLost(): boolean {
    return this.failure !== null;
  }

  /** Throws the first error that the device reported outside a scope, or its loss. */
  check(): void {
    if (this.failure) throw this.failure;
  }

  /** Runs creation calls inside error scopes; throws `OUT_OF_MEMORY` or `GPU` naming `what`. */
  async guarded<T>(what: string, create: () => T): Promise<T> {
    this.check();
    for (const filter of ['internal', 'validation', 'out-of-memory'] as const) this.device.pushErrorScope(filter);
    let result: T;
    let errors: (GPUError | null)[];
    try {
      result = create();
    } finally {
      const pops = [0, 1, 2].map(() => pollGently(() => this.device.popErrorScope()));
      errors = await this.wait(() => Promise.all(pops));
    }
    const [memory, ...others] = errors;
    if (memory) {
      throw new SftError('OUT_OF_MEMORY', `${what}: ${memory.message}`, {
        hint: 'use a smaller batch, shorter sequences or a lower rank',
      });
    }
    for (const error of others) if (error) throw new SftError('GPU', `${what}: ${error.message}`);
    return result;
  }

  /** Makes buffers, all or none, of `bufferSize(bytes)` each. */
  async allocate(
    requests: readonly { label: string; bytes: number; category: Category; kind?: 'storage' | 'uniform' }[],
  ): Promise<GpuBuffer[]> {
    const made: GpuBuffer[] = [];
    try {
      for (const { label, bytes } of requests) {
        if (bytes > this.limits.bufferBytes) {
          throw new SftError(
            'OUT_OF_MEMORY',
            `${label}: expected at most ${this.limits.bufferBytes} bytes in one buffer on "${this.name}", got ${bytes}`,
            { hint: 'use a smaller batch or shorter sequences' },
          );
        }
      }
      const wanted = requests.reduce((sum, { bytes }) => sum + bufferSize(bytes), 0);
      const free = this.limit - sumBytes(this.ledger.live);
      if (wanted > free) {
        const label = requests[0]?.label ?? 'buffers';
        throw new SftError('OUT_OF_MEMORY', `${label}: expected at most ${Math.max(0, free)} bytes, got ${wanted}`, {
          hint: 'set memory.budget_gib to what the GPU has, or use a smaller batch',
        });
      }
      await this.guarded(`allocating ${requests[0]?.label ?? 'buffers'}`, () => {
        for (const { label, bytes, category, kind } of requests) {
          const size = bufferSize(bytes);
          this.beforeAllocation?.(size, category);
          const buffer = this.device.createBuffer({ label, size, usage: kind === 'uniform' ? UNIFORM : STORAGE });
          this.ledger.add(category, size);
          made.push({ buffer, size, category });
        }
      });
    } catch (error) {
      // No work uses them yet.
      this.destroy(made);
      throw error;
    }
    return made;
  }

  /** Gives buffers back once the work submitted so far is done (see `collect`). */
  release(buffers: readonly GpuBuffer[]): void {
    this.retired.push(...buffers);
  }

  /** Waits for all submitted work, then destroys what was released. */
  async collect(): Promise<void> {
    const buffers = this.retired.splice(0);
    await this.done();
    this.destroy(buffers);
  }

  /** Dawn frees memory only at a later submit. */
  private destroy(buffers: readonly GpuBuffer[]): void {
    for (const { buffer, size, category } of buffers) {
      buffer.destroy();
      this.ledger.remove(category, size);
    }
    if (buffers.length > 0) this.device.queue.submit([]);
  }

  /** Waits until the device has finished all submitted work. */
  async done(): Promise<void> {
    await this.wait(() => this.device.queue.onSubmittedWorkDone());
  }

  /** Compiles a kernel, once for each text. Errors carry the kernel's name, the line and the numbered source. */
  pipeline(label: string, code: string): Promise<GPUComputePipeline> {
    let pipeline = this.pipelines.get(code);
    if (!pipeline) {
      pipeline = this.compile(label, code);
      pipeline.catch(() => this.pipelines.delete(code));
      this.pipelines.set(code, pipeline);
    }
    return pipeline;
  }

  private async compile(label: string, code: string): Promise<GPUComputePipeline> {
    try {
      const module = await this.guarded(label, () => this.device.createShaderModule({ label, code }));
      return await this.wait(() =>
        this.device.createComputePipelineAsync({ label, layout: 'auto', compute: { module } }),
      );
    } catch (cause) {
      this.check();
      const reason = cause instanceof Error ? cause.message : String(cause);
      const numbered = code.split('\n').map((line, index) => `${String(index + 1).padStart(4)} ${line}`);
      throw new SftError('KERNEL', `kernel ${label} does not compile: ${reason}\n${numbered.join('\n')}`, { cause });
    }
  }

  /** Writes `data` into a buffer from byte `offset` on, before whatever is submitted next. Both are multiples of 4 bytes. */
  write(target: GpuBuffer, offset: number, data: ArrayBufferView<ArrayBuffer>): void {
    this.device.queue.writeBuffer(target.buffer, offset, data.buffer, data.byteOffset, data.byteLength);
  }

  /** Copies bytes back, through one small buffer. `offset` and `bytes` are multiples of 4. */
  async read(source: GPUBuffer, offset: number, bytes: number): Promise<ArrayBuffer> {
    const size = readBackBytes(bytes);
    const staging = this.device.createBuffer({ label: 'read back', size, usage: 0x01 | 0x08 });
    this.ledger.add('staging', size);
    try {
      const result = new Uint8Array(bytes);
      for (let done = 0; done < bytes; done += size) {
        const part = Math.min(size, bytes - done);
        const encoder = this.device.createCommandEncoder();
        encoder.copyBufferToBuffer(source, offset + done, staging, 0, part);
        this.device.queue.submit([encoder.finish()]);
        await this.wait(() => staging.mapAsync(0x01, 0, part));
        result.set(new Uint8Array(staging.getMappedRange(0, part)), done);
        staging.unmap();
      }
      return result.buffer;
    } finally {
      staging.destroy();
      this.ledger.remove('staging', size);
    }
  }

  /** Finishes all work, frees what was released and lets the device go. */
  async close(): Promise<void> {
    if (!this.failure) await this.collect();
    this.failure ??= new SftError('GPU', `WebGPU device "${this.name}" is closed`);
    this.device.destroy();
  }
}

/**
 * Software adapters run kernels on the CPU, where workgroup memory and barriers are slow and register reuse decides:
 * `broadcast` shares values between the lanes of a subgroup, `registers` does without subgroups. GPUs get `tiled`.
 */
function chooseFamily(software: boolean, fixedSubgroups: boolean, wanted: OpenOptions['family']): Family {
  if (wanted && wanted !== 'portable') {
    if (wanted === 'broadcast' && !fixedSubgroups) {
      throw new SftError('GPU', 'kernel family broadcast: expected an adapter with one subgroup size');
    }
    return wanted;
  }
  if (!software) return 'tiled';
  return fixedSubgroups && wanted !== 'portable' ? 'broadcast' : 'registers';
}
