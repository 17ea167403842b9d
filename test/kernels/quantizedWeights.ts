/** Matrices of random codes with their statistics, as `Quantization` in src/kernels/define.ts lays them out. */
import { random, randomArray } from './harness.ts';

const NF4 = [
  -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
  -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
];

export interface QuantizedMatrix {
  /** Packed codes, a whole number of words. */
  readonly words: Uint32Array<ArrayBuffer>;
  readonly statistics: Uint32Array<ArrayBuffer>;
  readonly blockSize: number;
  readonly nested: boolean;
  /** The numbers that the codes stand for. */
  readonly values: Float64Array;
}

export interface QuantizedKind {
  readonly dtype: 'nf4' | 'i8';
  /** Of nf4; blocks of i8 are rows. */
  readonly blockSize?: number;
  readonly nested?: boolean;
}

/** Each part of a matrix that is split every `partRows` rows begins at a whole word. */
export function quantizedMatrix(
  [rows, columns]: readonly [number, number],
  { dtype, blockSize: wanted = 64, nested = false }: QuantizedKind,
  seed: number,
  partRows = rows,
): QuantizedMatrix {
  const next = random(seed);
  const whole = (limit: number) => Math.floor(((next() + 1) / 2) * limit);
  const count = rows * columns;
  const blockSize = dtype === 'i8' ? columns : wanted;
  const blocks = Math.ceil(count / blockSize);
  const { absmax, statistics } = (nested ? nestedStatistics : plainStatistics)(blocks, seed + 1);

  const perByte = dtype === 'nf4' ? 2 : 1;
  const wordsOfPart = Math.ceil((partRows * columns) / (4 * perByte));
  const bytes = new Uint8Array(Math.ceil(rows / partRows) * wordsOfPart * 4);
  const values = new Float64Array(count);
  for (let e = 0; e < count; e++) {
    const part = Math.floor(e / (partRows * columns));
    const within = e - part * partRows * columns;
    const at = part * wordsOfPart * 4 + Math.floor(within / perByte);
    const scale = absmax[Math.floor(e / blockSize)]!;
    if (dtype === 'nf4') {
      const code = whole(16);
      bytes[at]! |= within % 2 === 0 ? code << 4 : code;
      values[e] = NF4[code]! * scale;
    } else {
      const code = whole(255) - 127;
      bytes[at] = code & 255;
      values[e] = (code / 127) * scale;
    }
  }
  return { words: new Uint32Array(bytes.buffer), statistics, blockSize, nested, values };
}

interface Statistics {
  readonly absmax: ArrayLike<number>;
  readonly statistics: Uint32Array<ArrayBuffer>;
}

function plainStatistics(blocks: number, seed: number): Statistics {
  const absmax = randomArray(blocks, seed).map((value) => 1 + value / 2);
  return { absmax, statistics: new Uint32Array(absmax.buffer) };
}

function nestedStatistics(blocks: number, seed: number): Statistics {
  const map = randomArray(256, seed);
  const offset = Float32Array.of(0.75);
  const nestedAbsmax = randomArray(Math.ceil(blocks / 256), seed + 1).map((value) => 0.5 + value / 4);
  const codes = new Uint8Array(Math.ceil(blocks / 4) * 4);
  const next = random(seed + 2);
  for (let i = 0; i < blocks; i++) codes[i] = Math.floor(((next() + 1) / 2) * 256);
  const numbers = [map, offset, nestedAbsmax].flatMap((part) => [...new Uint32Array(part.buffer)]);
  const statistics = Uint32Array.from([...numbers, ...new Uint32Array(codes.buffer)]);
  const absmax = Float64Array.from({ length: blocks }, (_, i) => {
    return map[codes[i]!]! * nestedAbsmax[Math.floor(i / 256)]! + offset[0]!;
  });
  return { absmax, statistics };
}
