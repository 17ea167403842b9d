/**
 * Attention kernels for adapters that run on the CPU and have one subgroup size S: a workgroup is one subgroup that owns a
 * few rows; its lanes are S keys (for scores) or S pairs of features (for sums), and rows are handed round by broadcast.
 */
import { each, main } from './wgsl.ts';

/** Rows of a workgroup: more reuse what the lanes read, fewer keep the accumulators near the registers. */
const R = 8;

/**
 * Heads of more features than this are split over the grid's z, each part with the scores computed anew: more accumulators
 * would leave the registers, and a software driver takes half a minute to compile them.
 */
const SLICE = 64;
const slices = (D: number) => Math.ceil(D / SLICE);

/** Pairs of features that a lane sums: every S-th of the slice. */
const chunks = (D: number, S: number) => Math.ceil(D / slices(D) / (2 * S));

/** WGSL: the first of this lane's two features of chunk `c`; beyond the last one where chunks do not fill the head. */
const feature = (D: number, S: number, c: string) => `(wg.z * ${chunks(D, S) * S}u + ${c} * ${S}u + lane) * 2u`;

const grid = (T: number, heads: number, D: number) => [Math.ceil(T / R), heads, slices(D)] as const;

/** Adds Σ_d row_i[d] · lane[d] to `sum_i` for each pair: rows are read one element a lane, lanes as vectors along d. */
function dots(D: number, S: number, pairs: readonly { sum: string; row: string; lanes: string }[]): string {
  const inside = D % S === 0 ? '' : `select(0.0, 1.0, d + lane < ${D}u) * `;
  const at = D % S === 0 ? 'd + lane' : `min(d + lane, ${D - 1}u)`;
  return `for (var d = 0u; d < ${D}u; d += ${S}u) {
    ${pairs
      .map(
        ({ sum, row, lanes }) => `
    ${each(R, (i) => `let ${sum}r${i} = ${inside}${row}Load1(${sum}Row${i} + ${at});`)}
    ${each(
      S,
      (j) => `${j % 4 === 0 ? `let ${sum}c${j} = ${lanes}Load4(${sum}Lane + min(d + ${j}u, ${D - 4}u));` : ''}
    ${each(R, (i) => `${sum}${i} = fma(subgroupBroadcast(${sum}r${i}, ${j}u), ${sum}c${j - (j % 4)}[${j % 4}], ${sum}${i});`, ' ')}`,
    )}`,
      )
      .join('')}
  }`;
}

/** Adds Σ_j weight_i[j] · row_j[d …] to `sum{i}_{c}`, d … being this lane's features of chunk c; `pair(j, d)` reads them. */
function accumulate(D: number, S: number, sum: string, weight: string, pair: (j: number, d: string) => string): string {
  return each(chunks(D, S), (c) => {
    const d = feature(D, S, `${c}u`);
    return `{ let d = ${D === slices(D) * chunks(D, S) * S * 2 ? d : `min(${d}, ${D - 2}u)`};
    ${each(S, (j) => `let x${j} = ${pair(j, 'd')};`, ' ')}
    ${each(S, (j) => each(R, (i) => `${sum}${i}_${c} = fma(vec2(subgroupBroadcast(${weight}${i}, ${j}u)), x${j}, ${sum}${i}_${c});`, ' '))} }`;
  });
}

/**
 * Stores the accumulators `names` of all rows, as a loop that no compiler can write out: guarded stores, one for each
 * accumulator, would be most of the program to compile. In `text`, `i` is the row, `d` the feature, `x0 …` the pairs.
 */
function storeRows(D: number, S: number, names: readonly string[], text: string): string {
  const C = chunks(D, S);
  const arrays = names.map(
    (name, n) =>
      `var a${n} = array<vec2<f32>, ${R * C}>(${each(R, (i) => each(C, (c) => `${name}${i}_${c}`, ', '), ', ')});`,
  );
  return `${arrays.join('\n  ')}
  for (var s = 0u; s < min(${R}u, u.T - tile) * ${C}u; s++) {
    let i = s / ${C}u;
    let d = ${feature(D, S, `(s % ${C}u)`)};
    if (d < ${D}u) { ${names.map((_, n) => `let x${n} = a${n}[s];`).join(' ')} ${text} }
  }`;
}

/** Indices of the rows (queries) of a workgroup: `t{i}`, the first key `first{i}` that each sees, and the range of keys. */
const queries = (D: number) => `let h = wg.y;
  let g = h * u.G / u.H;
  let tile = wg.x * ${R}u;
  ${each(R, (i) => `let t${i} = min(tile + ${i}u, u.T - 1u);`)}
  ${each(R, (i) => `let first${i} = max(starts[t${i}], select(0u, t${i} + 1u - u.window, u.window > 0u && t${i} + 1u > u.window));`)}
  var low = first0;
  ${each(R, (i) => `low = min(low, first${i});`)}
  let high = min(tile + ${R - 1}u, u.T - 1u);
  ${each(R, (i) => `let row${i} = (t${i} * u.H + h) * ${D}u;`)}`;

function forward(D: number, S: number): string {
  return `${main(S)} {
  ${queries(D)}
  ${each(R, (i) => `let sRow${i} = row${i}; var top${i} = -3.0e38; var total${i} = 0.0; ${each(chunks(D, S), (c) => `var o${i}_${c} = vec2(0.0);`, ' ')}`)}
  for (var j0 = low; j0 <= high; j0 += ${S}u) {
    let j = j0 + lane;
    let sLane = (min(j, u.T - 1u) * u.G + g) * ${D}u;
    ${each(R, (i) => `var s${i} = 0.0;`, ' ')}
    ${dots(D, S, [{ sum: 's', row: 'q', lanes: 'k' }])}
    ${each(
      R,
      (i) => `let seen${i} = j >= first${i} && j <= t${i};
    let next${i} = max(top${i}, subgroupMax(select(-3.0e38, s${i} * u.scale, seen${i})));
    let p${i} = select(0.0, exp(s${i} * u.scale - next${i}), seen${i});
    let shrink${i} = exp(top${i} - next${i});
    total${i} = total${i} * shrink${i} + subgroupAdd(p${i});
    top${i} = next${i};
    ${each(chunks(D, S), (c) => `o${i}_${c} *= shrink${i};`, ' ')}`,
    )}
    ${each(S, (n) => `let v${n} = (min(j0 + ${n}u, u.T - 1u) * u.G + g) * ${D}u;`)}
    ${accumulate(D, S, 'o', 'p', (n, d) => `vLoad2(v${n} + ${d})`)}
  }
  ${each(R, (i) => each(chunks(D, S), (c) => `o${i}_${c} /= total${i};`, ' '))}
  ${storeRows(D, S, ['o'], `oStore2(((tile + i) * u.H + h) * ${D}u + d, x0);`)}
  if (lane == 0u && wg.z == 0u) { ${each(R, (i) => `lse[t${i} * u.H + h] = top${i} + log(total${i});`, ' ')} }
}`;
}

function backwardQ(D: number, S: number): string {
  return `${main(S)} {
  ${queries(D)}
  ${each(R, (i) => `let sRow${i} = row${i}; let pRow${i} = row${i}; let stats${i} = stats[t${i} * u.H + h];`)}
  ${each(R, (i) => each(chunks(D, S), (c) => `var o${i}_${c} = vec2(0.0);`, ' '))}
  for (var j0 = low; j0 <= high; j0 += ${S}u) {
    let j = j0 + lane;
    let sLane = (min(j, u.T - 1u) * u.G + g) * ${D}u;
    let pLane = sLane;
    ${each(R, (i) => `var s${i} = 0.0; var p${i} = 0.0;`, ' ')}
    ${dots(D, S, [
      { sum: 's', row: 'q', lanes: 'k' },
      { sum: 'p', row: 'dO', lanes: 'v' },
    ])}
    ${each(R, (i) => `let d${i} = select(0.0, exp(s${i} * u.scale - stats${i}.x) * (p${i} - stats${i}.y) * u.scale, j >= first${i} && j <= t${i});`)}
    ${each(S, (n) => `let k${n} = (min(j0 + ${n}u, u.T - 1u) * u.G + g) * ${D}u;`)}
    ${accumulate(D, S, 'o', 'd', (n, d) => `kElementsLoad2(k${n} + ${d})`)}
  }
  ${storeRows(D, S, ['o'], `let e = ((tile + i) * u.H + h) * ${D}u + d; dQStore2(e, x0 + select(vec2(0.0), dQLoad2(e), u.accumulate == 1u));`)}
}`;
}

function backwardKV(D: number, S: number): string {
  return `${main(S)} {
  let g = wg.y;
  let tile = wg.x * ${R}u;
  ${each(R, (i) => `let j${i} = min(tile + ${i}u, u.T - 1u); let row${i} = (j${i} * u.G + g) * ${D}u; let sRow${i} = row${i}; let pRow${i} = row${i};`)}
  ${each(R, (i) => `let end${i} = min(ends[j${i}], select(u.T, j${i} + u.window, u.window > 0u));`)}
  var high = end0;
  ${each(R, (i) => `high = max(high, end${i});`)}
  ${each(R, (i) => each(chunks(D, S), (c) => `var dk${i}_${c} = vec2(0.0); var dv${i}_${c} = vec2(0.0);`, ' '))}
  let heads = u.H / u.G;
  for (var h = g * heads; h < (g + 1u) * heads; h++) {
    for (var block = tile; block < high; block += ${S}u) {
      let i = block + lane;
      let clamped = min(i, u.T - 1u);
      let sLane = (clamped * u.H + h) * ${D}u;
      let pLane = sLane;
      let rowStats = stats[clamped * u.H + h];
      ${each(R, (r) => `var s${r} = 0.0; var p${r} = 0.0;`, ' ')}
      ${dots(D, S, [
        { sum: 's', row: 'k', lanes: 'q' },
        { sum: 'p', row: 'v', lanes: 'dO' },
      ])}
      ${each(
        R,
        (r) => `let w${r} = select(0.0, exp(s${r} * u.scale - rowStats.x), i >= j${r} && i < end${r});
      let d${r} = w${r} * (p${r} - rowStats.y) * u.scale;`,
      )}
      ${each(S, (n) => `let i${n} = (min(block + ${n}u, u.T - 1u) * u.H + h) * ${D}u;`)}
      ${accumulate(D, S, 'dv', 'w', (n, d) => `dOElementsLoad2(i${n} + ${d})`)}
      ${accumulate(D, S, 'dk', 'd', (n, d) => `qElementsLoad2(i${n} + ${d})`)}
    }
  }
  ${storeRows(
    D,
    S,
    ['dk', 'dv'],
    `let e = ((tile + i) * u.G + g) * ${D}u + d;
    dKStore2(e, x0 + select(vec2(0.0), dKLoad2(e), u.accumulate == 1u));
    dVStore2(e, x1 + select(vec2(0.0), dVLoad2(e), u.accumulateV == 1u));`,
  )}
}`;
}

export const attentionBroadcast = { grid, forward, backwardQ, backwardKV };
