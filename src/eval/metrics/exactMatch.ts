/** Whether an answer is the reference, white space around both left out: 1 or 0. */
import { strip } from './pythonText.ts';

export function exactMatch(prediction: string, reference: string): number {
  return strip(prediction) === strip(reference) ? 1 : 0;
}
