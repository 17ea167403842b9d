/** Matrices of random codes for the self-test, laid out as `Quantization` in kernels/define.ts says. */
import { NESTED_BLOCK, NF4 } from '../kernels/codebooks.ts';
import { randomValues } from './selfTestLab.ts';
import type { Numbers } from './selfTestReferences.ts';

export interface QuantizedMatrix {
  /** Packed codes. */
  readonly values: Uint32Array<ArrayBuffer>;
  readonly statistics: Uint32Array<ArrayBuffer>;
  readonly blockSize: number;
  readonly nested: boolean;
  /** What the codes stand for. */
  readonly numbers: Numbers;
}

const randomBytes = (count: number, stream: number) =>
  Uint8Array.from(randomValues(Math.ceil(count / 4) * 4, stream, 128), (value) => value + 128);

/** nf4 in blocks of 32 with double quantisation, or i8 in rows of `columns`. */
export function quantizedMatrix(rows: number, columns: number, dtype: 'nf4' | 'i8', stream: number): QuantizedMatrix {
  const count = rows * columns;
  const nf4 = dtype === 'nf4';
  const blockSize = nf4 ? 32 : columns;
  const blocks = Math.ceil(count / blockSize);
  const bytes = randomBytes(nf4 ? Math.ceil(count / 2) : count, stream);
  const codes = new Int8Array(bytes.buffer);
  const code = (e: number) => (nf4 ? ((bytes[e >> 1] ?? 0) >> (e % 2 === 0 ? 4 : 0)) & 15 : (codes[e] ?? 0));
  const { absmax, statistics } = nf4 ? nestedStatistics(blocks, stream + 1) : plainStatistics(blocks, stream + 1);
  const numbers = Float64Array.from({ length: count }, (_, e) => {
    const value = nf4 ? (NF4[code(e)] ?? 0) : code(e) / 127;
    return value * (absmax[Math.floor(e / blockSize)] ?? 0);
  });
  return { values: new Uint32Array(bytes.buffer), statistics, blockSize, nested: nf4, numbers };
}

interface Statistics {
  readonly absmax: Numbers;
  readonly statistics: Uint32Array<ArrayBuffer>;
}

function plainStatistics(blocks: number, stream: number): Statistics {
  const absmax = randomValues(blocks, stream).map((value) => value + 2);
  return { absmax, statistics: new Uint32Array(absmax.buffer) };
}

function nestedStatistics(blocks: number, stream: number): Statistics {
  const map = randomValues(256, stream);
  const offset = 1.25;
  const outer = randomValues(Math.ceil(blocks / NESTED_BLOCK), stream + 1);
  const codes = randomBytes(blocks, stream + 2);
  const absmax = Float64Array.from(
    { length: blocks },
    (_, i) => (map[codes[i] ?? 0] ?? 0) * (outer[Math.floor(i / NESTED_BLOCK)] ?? 0) + offset,
  );
  const numbers = Float32Array.from([...map, offset, ...outer]);
  return {
    absmax,
    statistics: Uint32Array.from([...new Uint32Array(numbers.buffer), ...new Uint32Array(codes.buffer)]),
  };
}
