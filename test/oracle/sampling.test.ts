/** What a token is drawn from, against transformers' own `generate`. Needs WEBGPU_SFT_ORACLE_PYTHON. */
import { expect, it } from 'vitest';
import { distribution } from '../../src/eval/sampling.ts';
import { python, runPython } from './python.ts';

interface Step {
  readonly ids: number[];
  readonly logits: number[];
  readonly probabilities: number[];
}

const cases = [0.3, 0.7, 1, 1.7].flatMap((temperature) =>
  [0, 1, 5, 40, 200].flatMap((top_k) =>
    [0.1, 0.5, 0.9, 1].flatMap((top_p) =>
      [0.8, 1, 1.3].map((repetition_penalty) => ({ temperature, top_k, top_p, repetition_penalty })),
    ),
  ),
);

it.skipIf(!python)('the same tokens may be drawn, with the same probabilities', () => {
  const steps = runPython<Step[]>('sampling.py', [], cases);
  let narrow = 0;
  for (const [index, { ids, logits, probabilities }] of steps.entries()) {
    const { temperature, top_k: topK, top_p: topP, repetition_penalty: repetitionPenalty } = cases[index]!;
    const options = { temperature, topK, topP, repetitionPenalty, seed: 0 };
    const drawn = distribution(Float32Array.from(logits), ids, options);
    const total = drawn.weights.reduce((sum, weight) => sum + weight, 0);
    const got = Array.from(logits, () => 0);
    for (const [place, id] of drawn.ids.entries()) got[id] = drawn.weights[place]! / total;
    const support = (values: readonly number[]) => values.flatMap((value, id) => (value > 0 ? id : []));
    expect(support(got), JSON.stringify(options)).toEqual(support(probabilities));
    for (const [id, value] of got.entries()) expect(Math.abs(value - probabilities[id]!)).toBeLessThan(1e-6);
    if (drawn.ids.length < 20) narrow += 1;
  }
  expect(steps).toHaveLength(240);
  expect(narrow).toBeGreaterThan(50);
  expect(narrow).toBeLessThan(200);
});
