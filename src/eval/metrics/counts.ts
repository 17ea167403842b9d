/** How often things occur. */

export function countsOf(items: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}

/** The harmonic mean of precision and recall: `correct` of `found` are right, of `wanted` that there are. 0 where nothing is. */
export function f1(correct: number, found: number, wanted: number): number {
  const precision = found > 0 ? correct / found : 0;
  const recall = wanted > 0 ? correct / wanted : 0;
  return precision + recall > 0 ? (2 * precision * recall) / (precision + recall) : 0;
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
