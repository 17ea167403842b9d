/** The entry point of the matrix product for the `broadcast` family. It uses what `matmulLoaders.ts` declares. */
import { codeShift, codesOfWord, type MatmulVariant, quantizedType, storeWidth } from './matmulLoaders.ts';
import { each, main, numbers } from './wgsl.ts';

/** Texts of one step of S values of k: what is read, and the weight of column `q` at step `j`. */
interface Weights {
  /** Once for a workgroup. */
  readonly before: string;
  /** Before the steps of k for which scales are constant. */
  readonly scales: string;
  /** What the elements of A are multiplied by, or nothing. */
  readonly factor: string;
  /** Before step `j`. */
  readonly read: (j: number) => string;
  readonly at: (q: number, j: number) => string;
  /** Elements from the last one that may be read to the end of a row. */
  readonly width: number;
}

/** B in f32, f16 or bf16, or quantised where no scale is shared: through `bAt` and `b4`. */
function plainWeights(v: MatmulVariant): Weights {
  const none = { before: '', scales: '', factor: '', width: 1 };
  if (!v.bVectors) {
    return {
      ...none,
      read: (j) => each(v.columns, (q) => `let w${q}_${j} = bAt(min(k + ${j}u, lastK), n${q});`),
      at: (q, j) => `w${q}_${j}`,
    };
  }
  if (v.bLayout === 'kn') {
    return { ...none, read: (j) => `let w${j} = b4(min(k + ${j}u, lastK), n0);`, at: (q, j) => `w${j}[${q}]` };
  }
  return {
    ...none,
    width: 4,
    read: (j) => (j % 4 ? '' : each(v.columns, (q) => `let w${q}_${j / 4} = b4(min(k + ${j}u, lastK), n${q});`)),
    at: (q, j) => `w${q}_${Math.floor(j / 4)}[${j % 4}]`,
  };
}

/**
 * Quantised B. A word of codes is read once; NF4's numbers lie in the lanes of one or more registers and are looked up by
 * shuffles, which is a permutation of a vector where an indexed array is a read for each lane.
 */
function quantizedWeights(v: MatmulVariant, type: 'nf4' | 'i8', S: number): Weights {
  const tables = type === 'nf4' ? Math.max(1, 16 / S) : 0;
  const lookUp = (code: string, first: number, count: number): string =>
    count === 1
      ? `subgroupShuffle(nf4_${first}, (${code}) & ${Math.min(S, 16) - 1}u)`
      : `select(${lookUp(code, first, count / 2)}, ${lookUp(code, first + count / 2, count / 2)}, ((${code}) & ${(S * count) / 2}u) != 0u)`;
  const value = (word: string, i: number) => {
    const shift = codeShift(type, i);
    return type === 'nf4'
      ? lookUp(`${word} >> ${shift}u`, 0, tables)
      : `f32(extractBits(bitcast<i32>(${word}), ${shift}u, 8u))`;
  };
  const before = each(
    tables,
    (t) => `let nf4_${t} = NF4[${S === 4 || S === 8 ? `lane + ${t * S}u` : 'min(lane, 15u)'}];`,
  );
  const codes = codesOfWord(type);
  const half = (e: string) => `>> ((${e} & 4u) * 4u)`;
  if (v.bLayout === 'kn') {
    return {
      before,
      scales: '',
      factor: 'scaleAt(ka, column0)',
      width: 1,
      read: (j) =>
        `let e${j} = min(k + ${j}u, lastK) * u.bStride + n0; let p${j} = b[e${j} / ${codes}u]${type === 'nf4' ? half(`e${j}`) : ''};`,
      at: (q, j) => value(`p${j}`, q),
    };
  }
  const unit = Math.min(S, codes);
  return {
    before,
    scales: each(v.columns, (q) => `let s${q} = scaleAt(k0, n${q});`),
    factor: '',
    width: unit,
    read: (j) =>
      j % unit
        ? ''
        : each(v.columns, (q) => {
            const k = `min(k + ${j}u, lastK)`;
            return `let p${q}_${j / unit} = b[(n${q} * u.bStride + ${k}) / ${codes}u]${unit < codes ? half(k) : ''};`;
          }),
    at: (q, j) => `${value(`p${q}_${Math.floor(j / unit)}`, j % unit)} * s${q}`,
  };
}

/**
 * For adapters that run on the CPU and have one subgroup size S. A workgroup is one subgroup; it owns `rows` rows and
 * `columns`·S columns of C, neighbours in each lane. Per S steps of k each lane reads one element of each row of A and hands it
 * round by broadcast, so that A costs 1/S of a read per lane, with no workgroup memory and no barrier.
 */
export function broadcastBody(v: MatmulVariant, S: number): string {
  const { rows, columns } = v;
  const width = storeWidth(v);
  const parts = columns / width;
  const quantized = quantizedType(v);
  const weights = quantized && v.scales !== 'element' ? quantizedWeights(v, quantized, S) : plainWeights(v);
  const quads = v.bLayout === 'kn' && v.bVectors;
  const sums = (text: (i: number, q: number) => string, separator = '\n') =>
    each(rows, (i) => each(columns, (q) => text(i, q), separator), separator);
  return `${main(S)} {
  let row0 = wg.y * ${rows}u;
  let column0 = wg.x * ${columns * S}u;
  ${each(rows, (i) => `let m${i} = min(row0 + ${i}u, u.M - 1u);`)}
  ${each(columns, (q) => `let n${q} = min(column0 + lane * ${columns}u + ${q}u, ${quads ? `u.N - 4u + ${q}u` : 'u.N - 1u'});`)}
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
  ${weights.before}
  let lastK = u.K - ${weights.width}u;
  ${
    weights.scales
      ? `for (var k0 = 0u; k0 < u.K; k0 += u.run) {
  ${weights.scales}
  for (var k = k0; k < min(k0 + u.run, u.K); k += ${S}u) {`
      : `{ for (var k = 0u; k < u.K; k += ${S}u) {`
  }
    let ka = min(k + lane, u.K - 1u);
    let inside = k + lane < u.K;
    ${weights.factor && `let factor = ${weights.factor};`}
    ${each(rows, (i) => `let a${i} = select(0.0, aAt(m${i}, ka)${weights.factor && ' * factor'}, inside);`)}
    ${each(
      S,
      (j) => `${weights.read(j)}
    ${each(columns, (q) => `let x${q}_${j} = ${weights.at(q, j)};`)}
    ${each(rows, (i) => `{ let x = subgroupBroadcast(a${i}, ${j}u); ${each(columns, (q) => `c${i}_${q} = fma(x, x${q}_${j}, c${i}_${q});`, ' ')} }`)}`,
    )}
  } }
  // A loop that no compiler can write out: guarded stores, one for each sum, would be most of the program to compile.
  var sums = array<f32, ${rows * columns}>(${sums((i, q) => `c${i}_${q}`, ', ')});
  for (var s = 0u; s < min(${rows}u, u.M - row0) * ${parts}u; s++) {
    let column = column0 + lane * ${columns}u + s % ${parts}u * ${width}u;
    let value = ${numbers(width)}(${each(width, (p) => `sums[s * ${width}u + ${p}u]`, ', ')});
    if (column < u.N) { store(row0 + s / ${parts}u, column, value); }
  }
}`;
}
