/** The three entry points of the matrix product. Each uses the loaders and `store` that `matmul.ts` declares. */
import type { Dtype } from './define.ts';
import { each, main } from './wgsl.ts';

export interface MatmulVariant {
  readonly aLayout: 'mk' | 'km';
  readonly bLayout: 'nk' | 'kn';
  readonly bType: Dtype;
  /** Whether rows of A, B begin at multiples of 4 elements, so that they are read as vectors. */
  readonly aVectors: boolean;
  readonly bVectors: boolean;
  readonly bias: boolean;
  readonly residual: boolean;
  /** Layout of M in the low-rank pair. */
  readonly low: 'nk' | 'kn' | null;
  /** What the dropout mask multiplies. */
  readonly mask: 'a' | 'b' | 'low' | null;
  /** Rows and columns of C that one invocation sums (in `broadcast`: rows of a subgroup, columns of a lane). */
  readonly rows: number;
  readonly columns: number;
}

/**
 * For adapters that run on the CPU and have one subgroup size S. A workgroup is one subgroup; it owns `rows` rows and
 * `columns`·S columns of C. Per S steps of k each lane reads one element of each row of A and hands it round by
 * broadcast, so that A costs 1/S of a read per lane, with no workgroup memory and no barrier.
 */
export function broadcastBody(v: MatmulVariant, S: number): string {
  const { rows, columns } = v;
  // Columns of a lane: S apart, or four neighbours where rows of B are read as vectors.
  const quads = v.bLayout === 'kn' && v.bVectors;
  const column = (q: number) => (quads ? `lane * 4u + ${q}u` : `${q * S}u + lane`);
  const along = v.bLayout === 'nk' && v.bVectors;
  const weights = (j: number) => {
    if (quads) return `let w${j} = b4(min(k + ${j}u, lastK), n0);`;
    if (!along) return each(columns, (q) => `let w${q}_${j} = bAt(min(k + ${j}u, lastK), n${q});`);
    return j % 4 === 0 ? each(columns, (q) => `let w${q}_${j / 4} = b4(min(k + ${j}u, lastK), n${q});`) : '';
  };
  const weight = (q: number, j: number) => {
    if (quads) return `w${j}[${q}]`;
    return along ? `w${q}_${Math.floor(j / 4)}[${j % 4}]` : `w${q}_${j}`;
  };
  const sums = (text: (i: number, q: number) => string, separator = '\n') =>
    each(rows, (i) => each(columns, (q) => text(i, q), separator), separator);
  return `${main(S)} {
  let row0 = wg.y * ${rows}u;
  let column0 = wg.x * ${columns * S}u;
  ${each(rows, (i) => `let m${i} = min(row0 + ${i}u, u.M - 1u);`)}
  ${each(columns, (q) => `let n${q} = min(column0 + ${column(q)}, ${quads ? `u.N - 4u + ${q}u` : 'u.N - 1u'});`)}
  ${sums((i, q) => `var c${i}_${q} = 0.0;`)}
  ${
    v.low
      ? `for (var r0 = 0u; r0 < u.R; r0 += ${S}u) {
    let r = min(r0 + lane, u.R - 1u);
    ${each(rows, (i) => `let l${i} = l[m${i} * u.R + r];`)}
    for (var j = 0u; j < min(${S}u, u.R - r0); j++) {
      ${each(columns, (q) => `let w${q} = mAt(r0 + j, n${q});`)}
      ${each(rows, (i) => `{ let x = subgroupShuffle(l${i}, j); ${each(columns, (q) => `c${i}_${q} = fma(x, w${q}, c${i}_${q});`, ' ')} }`)}
    }
  }
  ${v.mask === 'low' ? sums((i, q) => `c${i}_${q} = maskLow(m${i}, n${q}, c${i}_${q});`) : ''}`
      : ''
  }
  let lastK = u.K - ${along ? 4 : 1}u;
  for (var k = 0u; k < u.K; k += ${S}u) {
    let ka = min(k + lane, u.K - 1u);
    let inside = k + lane < u.K;
    ${each(rows, (i) => `let a${i} = select(0.0, aAt(m${i}, ka), inside);`)}
    ${each(
      S,
      (j) => `${weights(j)}
    ${each(rows, (i) => `{ let x = subgroupBroadcast(a${i}, ${j}u); ${each(columns, (q) => `c${i}_${q} = fma(x, ${weight(q, j)}, c${i}_${q});`, ' ')} }`)}`,
    )}
  }
  // A loop that no compiler can write out: guarded stores, one for each sum, would be most of the program to compile.
  var sums = array<f32, ${rows * columns}>(${sums((i, q) => `c${i}_${q}`, ', ')});
  for (var s = 0u; s < min(${rows}u, u.M - row0) * ${columns}u; s++) {
    let q = s % ${columns}u;
    let column = column0 + ${quads ? 'lane * 4u + q' : `q * ${S}u + lane`};
    if (column < u.N) { store(row0 + s / ${columns}u, column, sums[s]); }
  }
}`;
}

/** Sums a 4x4 tile of `sum0 … sum3` (rows of vec4) over one step of four k, from `x0 … x3` and `y0 … y3`. */
const multiply = (v: MatmulVariant) => {
  const x = (i: number, j: number) => (v.aLayout === 'mk' ? `x${i}[${j}]` : `x${j}[${i}]`);
  const xRow = (i: number) => (v.aLayout === 'mk' ? `x${i}` : `vec4(${each(4, (j) => `x${j}[${i}]`, ', ')})`);
  return v.bLayout === 'nk'
    ? each(4, (i) => `{ let r = ${xRow(i)}; sum${i} += vec4(${each(4, (q) => `dot(r, y${q})`, ', ')}); }`)
    : each(4, (i) => `sum${i} += ${each(4, (j) => `${x(i, j)} * y${j}`, ' + ')};`);
};

const lowTile = (v: MatmulVariant) =>
  v.low
    ? `for (var r = 0u; r < u.R; r++) {
    let y = vec4(${each(4, (q) => `mAt(r, n${q})`, ', ')});
    ${each(4, (i) => `sum${i} += l[m${i} * u.R + r] * y;`)}
  }
  ${v.mask === 'low' ? each(4, (i) => `sum${i} = vec4(${each(4, (q) => `maskLow(m${i}, n${q}, sum${i}[${q}])`, ', ')});`) : ''}`
    : '';

const storeTile = each(
  4,
  (i) =>
    `if (row0 + ${i}u < u.M) { ${each(4, (q) => `if (column0 + ${q}u < u.N) { store(m${i}, n${q}, sum${i}[${q}]); }`, ' ')} }`,
);

const tileIndices = each(
  4,
  (i) =>
    `let m${i} = min(row0 + ${i}u, u.M - 1u); let n${i} = min(column0 + ${i}u, u.N - 1u); var sum${i} = vec4(0.0);`,
);

/** For adapters that run on the CPU without usable subgroups: 4x4 sums in the registers of each invocation. */
export function registersBody(v: MatmulVariant): string {
  const x = (i: number) => (v.aLayout === 'mk' ? `a4(m${i}, k)` : `a4(rowV, min(k + ${i}u, u.K - 1u))`);
  const y = (i: number) => (v.bLayout === 'nk' ? `b4(k, n${i})` : `b4(min(k + ${i}u, u.K - 1u), columnV)`);
  // Beyond the last k the elements of A are zero; those of B may be anything finite.
  const tail =
    v.aLayout === 'mk'
      ? each(4, (i) => `let x${i} = select(vec4(0.0), ${x(i)}, vec4(k, k + 1u, k + 2u, k + 3u) < vec4(u.K));`)
      : each(4, (j) => `let x${j} = select(vec4(0.0), ${x(j)}, k + ${j}u < u.K);`);
  return `${main(64)} {
  let row0 = wg.y * 32u + (lane / 8u) * 4u;
  let column0 = wg.x * 32u + (lane % 8u) * 4u;
  if (row0 >= u.M || column0 >= u.N) { return; }
  ${v.aVectors && v.aLayout === 'km' ? 'let rowV = min(row0, u.M - 4u);' : 'let rowV = row0;'}
  ${v.bVectors && v.bLayout === 'kn' ? 'let columnV = min(column0, u.N - 4u);' : 'let columnV = column0;'}
  ${tileIndices}
  ${lowTile(v)}
  for (var k = 0u; k < u.K; k += 4u) {
    ${tail}
    ${each(4, (i) => `let y${i} = ${y(i)};`)}
    ${multiply(v)}
  }
  ${storeTile}
}`;
}

/** For GPUs: tiles of 64x64 with 16 steps of k in workgroup memory, 4x4 sums in the registers of 256 invocations. */
export function tiledBody(v: MatmulVariant): string {
  const load = (operand: 'a' | 'b', alongK: boolean) => {
    const [size, origin] = operand === 'a' ? ['u.M', 'rows0'] : ['u.N', 'columns0'];
    const fetch = (k: string, other: string) => (operand === 'a' ? `a4(${other}, ${k})` : `b4(${k}, ${other})`);
    return alongK
      ? `{ let k = k0 + (lane % 4u) * 4u; let o = lane / 4u;
      let value = select(vec4(0.0), ${fetch('min(k, lastK)', `min(${origin} + o, ${size} - 1u)`)}, vec4(k, k + 1u, k + 2u, k + 3u) < vec4(u.K));
      ${each(4, (j) => `${operand}Tile[((lane % 4u) * 4u + ${j}u) * 68u + o] = value[${j}];`)} }`
      : `{ let k = k0 + lane / 16u; let o = (lane % 16u) * 4u;
      let value = select(vec4(0.0), ${fetch('min(k, u.K - 1u)', `min(${origin} + o, last${operand.toUpperCase()})`)}, k < u.K);
      ${each(4, (j) => `${operand}Tile[(lane / 16u) * 68u + o + ${j}u] = value[${j}];`)} }`;
  };
  const aAlongK = v.aLayout === 'mk';
  const bAlongK = v.bLayout === 'nk';
  const vectorsAlongK = (aAlongK && v.aVectors) || (bAlongK && v.bVectors);
  return `var<workgroup> aTile: array<f32, ${16 * 68}>;
var<workgroup> bTile: array<f32, ${16 * 68}>;
${main(256)} {
  let rows0 = wg.y * 64u;
  let columns0 = wg.x * 64u;
  let row0 = rows0 + (lane / 16u) * 4u;
  let column0 = columns0 + (lane % 16u) * 4u;
  let lastK = u.K - ${vectorsAlongK ? '4u' : '1u'};
  let lastA = u.M - ${v.aVectors ? 'min(u.M, 4u)' : '1u'};
  let lastB = u.N - ${v.bVectors ? 'min(u.N, 4u)' : '1u'};
  ${tileIndices}
  ${lowTile(v)}
  for (var k0 = 0u; k0 < u.K; k0 += 16u) {
    workgroupBarrier();
    ${load('a', aAlongK)}
    ${load('b', bAlongK)}
    workgroupBarrier();
    for (var k = 0u; k < 16u; k++) {
      let x = k * 68u + (lane / 16u) * 4u;
      let y = k * 68u + (lane % 16u) * 4u;
      let row = vec4(bTile[y], bTile[y + 1u], bTile[y + 2u], bTile[y + 3u]);
      ${each(4, (i) => `sum${i} += aTile[x + ${i}u] * row;`)}
    }
  }
  ${storeTile}
}`;
}
