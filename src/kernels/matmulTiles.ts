/** Which tile of C a workgroup of the matrix product owns, and how it reads B, for a problem and an adapter. */
import type { GpuTraits } from '../gpu/device.ts';
import type { Tensor } from './define.ts';
import type { MatmulVariant } from './matmulLoaders.ts';

/** Speeds measured for tiles of so many rows and columns of a lane (GFLOP per CPU second, docs/performance.md). */
const SPEED_OF_ROWS = { 1: 3, 2: 5, 4: 9, 8: 14, 16: 17 };
const SPEED_OF_COLUMNS = {
  along: { 1: 12, 2: 16, 3: 17, 4: 18 },
  across: { 1: 11, 2: 12.5, 3: 13 },
  quads: { 4: 16.5 },
  codes: { 1: 12, 2: 17.5, 3: 21, 4: 23 },
};
/** Rows up to which GPUs give each column of C, not each tile, its own invocations. */
const FEW_ROWS = 4;

/** The tile that is fastest after what it wastes at the edges. */
function bestTile(
  size: number,
  unit: number,
  speeds: Readonly<Record<number, number>>,
  multiple = 1,
): { count: number; score: number } {
  return Object.entries(speeds)
    .filter(([count]) => Number(count) % multiple === 0)
    .map(([count, speed]) => {
      const tile = Number(count) * unit;
      return { count: Number(count), score: (speed * size) / (Math.ceil(size / tile) * tile) };
    })
    .reduce((a, b) => (b.score > a.score ? b : a));
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

export interface TileProblem {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly b: Tensor;
  readonly bLayout: 'nk' | 'kn';
  /** Whether rows of B begin at multiples of four elements. */
  readonly aligned: boolean;
  readonly masked: boolean;
  /** Whether C is stored in pairs of columns. */
  readonly pairs: boolean;
}

export interface Tile {
  readonly variant: Pick<MatmulVariant, 'rows' | 'columns' | 'bVectors' | 'scales' | 'single'>;
  /** Rows and columns of C of one workgroup. */
  readonly group: readonly [number, number];
  /** Steps of k for which the scale of a quantised weight is constant, where the variant uses that. */
  readonly run: number;
}

export function chooseTile(traits: GpuTraits, problem: TileProblem): Tile {
  if (traits.family === 'broadcast') return broadcastTile(traits.subgroupSize, problem);
  const { m, bLayout, aligned, masked } = problem;
  const single = traits.family === 'tiled' && bLayout === 'nk' && m <= FEW_ROWS && !masked;
  const rows = m > 2 || (traits.family === 'tiled' && !single) ? 4 : m;
  const variant = { rows, columns: 4, bVectors: aligned, scales: 'element', single } as const;
  if (single) return { variant, group: [rows, 4], run: 0 };
  return { variant, group: traits.family === 'tiled' ? [64, 64] : [8 * rows, 32], run: 0 };
}

function broadcastTile(S: number, { m, n, k, b, bLayout, aligned, pairs }: TileProblem): Tile {
  const rows = bestTile(m, 1, SPEED_OF_ROWS).count;
  const tile = (columns: number, bVectors: boolean, scales: MatmulVariant['scales'], run = 0): Tile => ({
    variant: { rows, columns, bVectors, scales, single: false },
    group: [rows, columns * S],
    run,
  });
  const blockSize = b.quantization?.blockSize ?? 0;
  const nf4 = b.dtype === 'nf4';
  const { along, across, quads, codes } = SPEED_OF_COLUMNS;
  const multiple = pairs ? 2 : 1;
  if (bLayout === 'nk') {
    // A word of codes lies within a row, and a step of S within a block.
    const run = nf4 ? greatestCommonDivisor(k, blockSize) : Math.ceil(k / S) * S;
    if (b.quantization && aligned && run % S === 0 && (!nf4 || k % 8 === 0)) {
      return tile(bestTile(n, S, codes, multiple).count, true, 'run', run);
    }
    return tile(bestTile(n, S, along, multiple).count, aligned, 'element');
  }
  const apart = bestTile(n, S, across, multiple);
  const four = bestTile(n, S, quads);
  if (!aligned || four.score <= apart.score) return tile(apart.count, false, 'element');
  // The columns of a workgroup lie within a block of each row.
  const shared = b.quantization && (!nf4 || (n % (4 * S) === 0 && blockSize % (4 * S) === 0));
  return tile(4, true, shared ? 'step' : 'element');
}
