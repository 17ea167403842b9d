/** Entry points of the matrix product without subgroups. Each uses what `matmulLoaders.ts` declares. */
import { type MatmulVariant, storeWidth } from './matmulLoaders.ts';
import { each, main, numbers } from './wgsl.ts';

/** Sums a tile of four columns, `sum0 …` (rows of vec4), over one step of four k, from `x0 …` and `y0 … y3`. */
const multiply = (v: MatmulVariant) => {
  const x = (i: number, j: number) => (v.aLayout === 'mk' ? `x${i}[${j}]` : `x${j}[${i}]`);
  const xRow = (i: number) => (v.aLayout === 'mk' ? `x${i}` : `vec4(${each(4, (j) => `x${j}[${i}]`, ', ')})`);
  return v.bLayout === 'nk'
    ? each(v.rows, (i) => `{ let r = ${xRow(i)}; sum${i} += vec4(${each(4, (q) => `dot(r, y${q})`, ', ')}); }`)
    : each(v.rows, (i) => `sum${i} += ${each(4, (j) => `${x(i, j)} * y${j}`, ' + ')};`);
};

const lowTile = (v: MatmulVariant) =>
  v.low
    ? `for (var r = 0u; r < u.R; r++) {
    let y = vec4(${each(4, (q) => `mAt(r, n${q})`, ', ')});
    ${each(v.rows, (i) => `sum${i} += l[m${i} * u.R + r] * y;`)}
  }
  ${v.mask === 'low' ? each(v.rows, (i) => `sum${i} = vec4(${each(4, (q) => `maskLow(m${i}, n${q}, sum${i}[${q}])`, ', ')});`) : ''}`
    : '';

const storeTile = (v: MatmulVariant) => {
  const width = storeWidth(v);
  const part = (i: number, q: number) =>
    `if (column0 + ${q}u < u.N) { store(m${i}, n${q}, ${numbers(width)}(${each(width, (p) => `sum${i}[${q + p}]`, ', ')})); }`;
  return each(v.rows, (i) => `if (row0 + ${i}u < u.M) { ${each(4 / width, (p) => part(i, p * width), ' ')} }`);
};

const tileIndices = (
  v: MatmulVariant,
) => `${each(v.rows, (i) => `let m${i} = min(row0 + ${i}u, u.M - 1u); var sum${i} = vec4(0.0);`)}
  ${each(4, (q) => `let n${q} = min(column0 + ${q}u, u.N - 1u);`)}`;

/** For adapters that run on the CPU without usable subgroups: up to 4x4 sums in the registers of each invocation. */
export function registersBody(v: MatmulVariant): string {
  const x = (i: number) => (v.aLayout === 'mk' ? `a4(m${i}, k)` : `a4(rowV, min(k + ${i}u, u.K - 1u))`);
  const y = (i: number) => (v.bLayout === 'nk' ? `b4(k, n${i})` : `b4(min(k + ${i}u, u.K - 1u), columnV)`);
  // Beyond the last k the elements of A are zero; those of B may be anything finite.
  const tail =
    v.aLayout === 'mk'
      ? each(v.rows, (i) => `let x${i} = select(vec4(0.0), ${x(i)}, vec4(k, k + 1u, k + 2u, k + 3u) < vec4(u.K));`)
      : each(4, (j) => `let x${j} = select(vec4(0.0), ${x(j)}, k + ${j}u < u.K);`);
  return `${main(64)} {
  let row0 = wg.y * ${8 * v.rows}u + (lane / 8u) * ${v.rows}u;
  let column0 = wg.x * 32u + (lane % 8u) * 4u;
  if (row0 >= u.M || column0 >= u.N) { return; }
  ${v.aVectors && v.aLayout === 'km' ? 'let rowV = min(row0, u.M - 4u);' : 'let rowV = row0;'}
  ${v.bVectors && v.bLayout === 'kn' ? 'let columnV = min(column0, u.N - 4u);' : 'let columnV = column0;'}
  ${tileIndices(v)}
  ${lowTile(v)}
  for (var k = 0u; k < u.K; k += 4u) {
    ${tail}
    ${each(4, (i) => `let y${i} = ${y(i)};`)}
    ${multiply(v)}
  }
  ${storeTile(v)}
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
  ${tileIndices(v)}
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
  ${storeTile(v)}
}`;
}

/**
 * For GPUs and few rows, as in inference, where a tile would be empty: a workgroup owns four columns and up to four rows. Its
 * invocations read neighbouring weights, each of which is read once, and add up their sums in workgroup memory.
 */
export function rowBody(v: MatmulVariant): string {
  const { rows } = v;
  const width = storeWidth(v);
  return `var<workgroup> parts: array<vec4<f32>, ${64 * rows}>;
${main(64)} {
  let row0 = wg.y * ${rows}u;
  let column0 = wg.x * 4u;
  ${tileIndices(v)}
  let lastK = u.K - ${v.bVectors || v.aVectors ? '4u' : '1u'};
  for (var k0 = lane * 4u; k0 < u.K; k0 += 256u) {
    let k = min(k0, lastK);
    let inside = vec4(k, k + 1u, k + 2u, k + 3u) < vec4(u.K);
    ${each(4, (q) => `let y${q} = b4(k, n${q});`)}
    ${each(rows, (i) => `{ let x = select(vec4(0.0), a4(m${i}, k), inside); sum${i} += vec4(${each(4, (q) => `dot(x, y${q})`, ', ')}); }`)}
  }
  ${each(rows, (i) => `parts[lane + ${64 * i}u] = sum${i};`)}
  for (var half = 32u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lane < half) { ${each(rows, (i) => `parts[lane + ${64 * i}u] += parts[lane + half + ${64 * i}u];`, ' ')} }
  }
  workgroupBarrier();
  if (lane >= ${(4 / width) * rows}u) { return; }
  let i = lane / ${4 / width}u;
  let q = lane % ${4 / width}u * ${width}u;
  let row = row0 + i;
  let column = column0 + q;
  if (row >= u.M || column >= u.N) { return; }
  ${each(width, (p) => `var total${p} = parts[64u * i][q + ${p}u];`)}
  ${v.low ? `for (var r = 0u; r < u.R; r++) { let x = l[row * u.R + r]; ${each(width, (p) => `total${p} += x * mAt(r, column + ${p}u);`, ' ')} }` : ''}
  store(row, column, ${numbers(width)}(${each(width, (p) => `total${p}`, ', ')}));
}`;
}
