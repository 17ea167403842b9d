/** A ring of small buffers through which results come back while the GPU goes on. Nothing is allocated after the start. */
import { invariant, SftError } from '../platform/errors.ts';
import type { Gpu } from './device.ts';

/** A range of a buffer, bytes, multiples of 4. */
export interface Range {
  readonly buffer: { readonly buffer: GPUBuffer };
  readonly offset: number;
  readonly size: number;
}

export class Readback {
  private readonly gpu: Gpu;
  private readonly bytes: number;
  private readonly buffers: readonly GPUBuffer[];
  private next = 0;
  private pending = 0;

  private constructor(gpu: Gpu, bytes: number, buffers: readonly GPUBuffer[]) {
    this.gpu = gpu;
    this.bytes = bytes;
    this.buffers = buffers;
  }

  /** `depth` results of `bytes` bytes may be on their way at once. */
  static async create(gpu: Gpu, bytes: number, depth: number): Promise<Readback> {
    const buffers = await gpu.guarded('readback buffers', () =>
      Array.from({ length: depth }, () =>
        gpu.device.createBuffer({ label: 'readback', size: bytes, usage: 0x01 | 0x08 }),
      ),
    );
    for (const _ of buffers) gpu.ledger.add('staging', bytes);
    return new Readback(gpu, bytes, buffers);
  }

  /** Copies ranges, one after the other, as they are once all submitted work is done; resolves with the bytes. */
  async read(ranges: readonly Range[]): Promise<ArrayBuffer> {
    const buffer = this.buffers[this.next];
    if (!buffer || this.pending >= this.buffers.length)
      throw new SftError('INTERNAL', 'too many results are on their way');
    this.next = (this.next + 1) % this.buffers.length;
    this.pending += 1;
    const encoder = this.gpu.device.createCommandEncoder();
    let at = 0;
    for (const range of ranges) {
      encoder.copyBufferToBuffer(range.buffer.buffer, range.offset, buffer, at, range.size);
      at += range.size;
    }
    invariant(at <= this.bytes, `a result of ${at} bytes does not fit ${this.bytes}`);
    this.gpu.device.queue.submit([encoder.finish()]);
    await this.gpu.wait(() => buffer.mapAsync(0x01));
    const result = buffer.getMappedRange(0, at).slice(0);
    buffer.unmap();
    this.pending -= 1;
    return result;
  }

  close(): void {
    for (const buffer of this.buffers) {
      buffer.destroy();
      this.gpu.ledger.remove('staging', this.bytes);
    }
  }
}
