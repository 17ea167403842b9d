/**
 * Attention kernels for GPUs: tiles of 32 rows by 32 columns on 128 invocations, each with 4x2 scores and 4 rows of sums in
 * registers. Features pass through workgroup memory 32 at a time, so any head size needs 13 KiB.
 */
import { each, main } from './wgsl.ts';

const TILE = 32;
const PITCH = TILE + 1;

/**
 * Heads of more features than this are split over the grid's z, each part with the scores computed anew: their sums would
 * not stay in registers.
 */
const SLICE = 128;
const slices = (D: number) => Math.ceil(D / SLICE);

/** Tiles of features that a workgroup sums, and WGSL: the first feature of its slice. */
const featureTiles = (D: number) => Math.ceil(D / slices(D) / TILE);
const slice = (D: number) => `wg.z * ${featureTiles(D) * TILE}u`;

const grid = (T: number, heads: number, D: number) => [Math.ceil(T / TILE), heads, slices(D)] as const;

/** Tiles of rows (x), of columns (y) and of scores (p), and functions on them. */
const shared = `var<workgroup> x: array<f32, ${TILE * PITCH}>;
var<workgroup> y: array<f32, ${TILE * PITCH}>;
var<workgroup> p: array<f32, ${TILE * PITCH}>;`;

/** Loads features d0 … d0+31 of 32 rows of `source` into a tile; `base(r)` is the index of feature 0 of row r. */
const load = (tile: 'x' | 'y', source: string, base: (row: string) => string, D: number) => `
    for (var e = lane * 4u; e < ${TILE * TILE}u; e += 512u) {
      let r = e / ${TILE}u;
      let d = d0 + e % ${TILE}u;
      var value = vec4(0.0);
      if (d < ${D}u) { value = ${source}Load4(${base('r')} + d); }
      ${each(4, (i) => `${tile}[r * ${PITCH}u + e % ${TILE}u + ${i}u] = value[${i}];`, ' ')}
    }`;

/** Adds rows · columns over all features to `name00 … name31`: row r4 + i, column c2 + j. */
const scores = (
  name: string,
  rowsOf: string,
  rowBase: (r: string) => string,
  colsOf: string,
  colBase: (r: string) => string,
  D: number,
) => `
  ${each(4, (i) => each(2, (j) => `var ${name}${i}${j} = 0.0;`, ' '))}
  for (var d0 = 0u; d0 < ${D}u; d0 += ${TILE}u) {
    workgroupBarrier();
    ${load('x', rowsOf, rowBase, D)}
    ${load('y', colsOf, colBase, D)}
    workgroupBarrier();
    for (var d = 0u; d < ${TILE}u; d++) {
      ${each(2, (j) => `let y${j} = y[(c2 + ${j}u) * ${PITCH}u + d];`, ' ')}
      ${each(4, (i) => `{ let x${i} = x[(r4 + ${i}u) * ${PITCH}u + d]; ${each(2, (j) => `${name}${i}${j} = fma(x${i}, y${j}, ${name}${i}${j});`, ' ')} }`)}
    }
  }`;

/** Adds p · columns to the sums `name{i}_{n}` (row r4 + i, the two features from 32·n + 2·(lane % 16) of the slice on). */
const sums = (name: string, colsOf: string, colBase: (r: string) => string, D: number) =>
  each(
    featureTiles(D),
    (n) => `{ let d0 = ${slice(D)} + ${n * TILE}u;
    workgroupBarrier();
    ${load('y', colsOf, colBase, D)}
    workgroupBarrier();
    for (var j = 0u; j < ${TILE}u; j++) {
      let pair = vec2(y[j * ${PITCH}u + c2], y[j * ${PITCH}u + c2 + 1u]);
      ${each(4, (i) => `${name}${i}_${n} = fma(vec2(p[(r4 + ${i}u) * ${PITCH}u + j]), pair, ${name}${i}_${n});`)}
    } }`,
  );

/** WGSL: the first of the two features that a lane sums in tile `n` of the slice. */
const feature = (D: number, n: number) => `${slice(D)} + ${n * TILE}u + c2`;
const declare = (name: string, D: number) =>
  each(4, (i) => each(featureTiles(D), (n) => `var ${name}${i}_${n} = vec2(0.0);`, ' '));
const store = (row: (i: number) => string, D: number, text: (i: number, n: number, d: string) => string) =>
  each(4, (i) =>
    each(featureTiles(D), (n) => `if (${row(i)} < u.T && ${feature(D, n)} < ${D}u) { ${text(i, n, feature(D, n))} }`),
  );

const lanes = `let r4 = (lane / 16u) * 4u;
  let c2 = (lane % 16u) * 2u;`;
const queryBase = (D: number) => (r: string) => `(min(t0 + ${r}, u.T - 1u) * u.H + h) * ${D}u`;
const keyBase = (D: number) => (r: string) => `(min(j0 + ${r}, u.T - 1u) * u.G + g) * ${D}u`;

/** The first key that a query sees, and the range of keys of a tile of queries. */
const firstKey = `fn firstKey(t: u32) -> u32 {
  return max(starts[t], select(0u, t + 1u - u.window, u.window > 0u && t + 1u > u.window));
}`;
const queryTile = `let h = wg.y;
  let g = h * u.G / u.H;
  let t0 = wg.x * ${TILE}u;
  ${lanes}
  var low = u.T;
  for (var r = 0u; r < ${TILE}u; r++) { low = min(low, firstKey(min(t0 + r, u.T - 1u))); }
  ${each(4, (i) => `let first${i} = firstKey(min(t0 + r4 + ${i}u, u.T - 1u));`)}
  let high = min(t0 + ${TILE - 1}u, u.T - 1u);`;
const seen = (i: number, j: number) =>
  `(j0 + c2 + ${j}u >= first${i} && j0 + c2 + ${j}u <= t0 + r4 + ${i}u && j0 + c2 + ${j}u < u.T)`;

function forward(D: number): string {
  return `${shared}
var<workgroup> top: array<f32, ${TILE}>;
var<workgroup> total: array<f32, ${TILE}>;
var<workgroup> shrink: array<f32, ${TILE}>;
${firstKey}
${main(128)} {
  ${queryTile}
  if (lane < ${TILE}u) { top[lane] = -3.0e38; total[lane] = 0.0; }
  ${declare('o', D)}
  for (var j0 = low; j0 <= high; j0 += ${TILE}u) {
    ${scores('s', 'q', queryBase(D), 'k', keyBase(D), D)}
    ${each(4, (i) => each(2, (j) => `p[(r4 + ${i}u) * ${PITCH}u + c2 + ${j}u] = select(-3.0e38, s${i}${j} * u.scale, ${seen(i, j)});`))}
    workgroupBarrier();
    if (lane < ${TILE}u) {
      var next = top[lane];
      for (var j = 0u; j < ${TILE}u; j++) { next = max(next, p[lane * ${PITCH}u + j]); }
      let factor = exp(top[lane] - next);
      var sum = total[lane] * factor;
      for (var j = 0u; j < ${TILE}u; j++) {
        let s = p[lane * ${PITCH}u + j];
        let weight = select(exp(s - next), 0.0, s <= -3.0e38);
        p[lane * ${PITCH}u + j] = weight;
        sum += weight;
      }
      top[lane] = next;
      total[lane] = sum;
      shrink[lane] = factor;
    }
    workgroupBarrier();
    ${each(4, (i) => `{ let f = shrink[r4 + ${i}u]; ${each(featureTiles(D), (n) => `o${i}_${n} *= f;`, ' ')} }`)}
    ${sums('o', 'v', keyBase(D), D)}
  }
  workgroupBarrier();
  ${store(
    (i) => `t0 + r4 + ${i}u`,
    D,
    (i, n, d) => `oStore2(((t0 + r4 + ${i}u) * u.H + h) * ${D}u + ${d}, o${i}_${n} / total[r4 + ${i}u]);`,
  )}
  if (lane < ${TILE}u && t0 + lane < u.T && wg.z == 0u) { lse[(t0 + lane) * u.H + h] = top[lane] + log(total[lane]); }
}`;
}

function backwardQ(D: number): string {
  return `${shared}
${firstKey}
${main(128)} {
  ${queryTile}
  ${each(4, (i) => `let stats${i} = stats[min(t0 + r4 + ${i}u, u.T - 1u) * u.H + h];`)}
  ${declare('o', D)}
  for (var j0 = low; j0 <= high; j0 += ${TILE}u) {
    ${scores('s', 'q', queryBase(D), 'k', keyBase(D), D)}
    ${scores('w', 'dO', queryBase(D), 'v', keyBase(D), D)}
    ${each(4, (i) =>
      each(
        2,
        (j) =>
          `p[(r4 + ${i}u) * ${PITCH}u + c2 + ${j}u] = select(0.0, exp(s${i}${j} * u.scale - stats${i}.x) * (w${i}${j} - stats${i}.y) * u.scale, ${seen(i, j)});`,
      ),
    )}
    ${sums('o', 'k', keyBase(D), D)}
  }
  ${store(
    (i) => `t0 + r4 + ${i}u`,
    D,
    (i, n, d) => `let e = ((t0 + r4 + ${i}u) * u.H + h) * ${D}u + ${d};
    dQStore2(e, o${i}_${n} + select(vec2(0.0), dQLoad2(e), u.accumulate == 1u));`,
  )}
}`;
}

/** Rows of the tile are keys, columns are queries. */
function backwardKV(D: number): string {
  const inside = (i: number, j: number) =>
    `(t0 + c2 + ${j}u >= j0 + r4 + ${i}u && t0 + c2 + ${j}u < lastQuery(min(j0 + r4 + ${i}u, u.T - 1u)) && j0 + r4 + ${i}u < u.T)`;
  const place = (text: (i: number, j: number) => string) =>
    each(4, (i) => each(2, (j) => `p[(r4 + ${i}u) * ${PITCH}u + c2 + ${j}u] = ${text(i, j)};`));
  return `${shared}
fn lastQuery(j: u32) -> u32 { return min(ends[j], select(u.T, j + u.window, u.window > 0u)); }
${main(128)} {
  let g = wg.y;
  let j0 = wg.x * ${TILE}u;
  ${lanes}
  var high = 0u;
  for (var r = 0u; r < ${TILE}u; r++) { high = max(high, lastQuery(min(j0 + r, u.T - 1u))); }
  ${declare('dk', D)}
  ${declare('dv', D)}
  let heads = u.H / u.G;
  for (var h = g * heads; h < (g + 1u) * heads; h++) {
    for (var t0 = j0; t0 < high; t0 += ${TILE}u) {
      ${scores('s', 'k', keyBase(D), 'q', queryBase(D), D)}
      ${scores('w', 'v', keyBase(D), 'dO', queryBase(D), D)}
      ${each(2, (j) => `let stats${j} = stats[min(t0 + c2 + ${j}u, u.T - 1u) * u.H + h];`)}
      ${each(4, (i) => each(2, (j) => `s${i}${j} = select(0.0, exp(s${i}${j} * u.scale - stats${j}.x), ${inside(i, j)});`))}
      ${place((i, j) => `s${i}${j}`)}
      ${sums('dv', 'dO', queryBase(D), D)}
      workgroupBarrier();
      ${place((i, j) => `s${i}${j} * (w${i}${j} - stats${j}.y) * u.scale`)}
      ${sums('dk', 'q', queryBase(D), D)}
      workgroupBarrier();
    }
  }
  ${store(
    (i) => `j0 + r4 + ${i}u`,
    D,
    (i, n, d) => `let e = ((j0 + r4 + ${i}u) * u.G + g) * ${D}u + ${d};
    dKStore2(e, dk${i}_${n} + select(vec2(0.0), dKLoad2(e), u.accumulate == 1u));
    dVStore2(e, dv${i}_${n} + select(vec2(0.0), dVLoad2(e), u.accumulateV == 1u));`,
  )}
}`;
}

export const attentionTiled = { grid, forward, backwardQ, backwardKV };
