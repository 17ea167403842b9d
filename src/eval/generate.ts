/** Text from a prompt, as it comes. */
import type { StreamDecoder, Tokenizer } from '../data/tokenizer.ts';
import type { Generator } from './generator.ts';
import { Sampler, type SamplingOptions } from './sampling.ts';

export interface GenerateOptions extends SamplingOptions {
  readonly maxNewTokens: number;
  /** Ids that end the answer; they are not part of it. */
  readonly endTokens: readonly number[];
  /** Texts that end the answer; they are not part of it. */
  readonly stop: readonly string[];
  readonly signal?: AbortSignal | undefined;
}

/**
 * Yields the answer to a prompt of token ids piece by piece, special tokens left out. Pieces are whole characters. Ends at an
 * end token, a stop text, `maxNewTokens`, a full cache or when `signal` is aborted. Throws `ARGUMENT` for a prompt too long.
 */
export async function* generate(
  generator: Generator,
  tokenizer: Tokenizer,
  prompt: readonly number[],
  options: GenerateOptions,
): AsyncGenerator<string, void> {
  const { maxNewTokens, endTokens, stop, signal } = options;
  const sampler = new Sampler(options);
  const decoder: StreamDecoder = tokenizer.createStreamDecoder({ skipSpecialTokens: true });
  const held = new StopText(stop);
  const used = [...prompt];
  let logits = await generator.prompt(prompt);
  for (let count = 0; count < maxNewTokens && !signal?.aborted; count++) {
    const id = sampler.pick(logits, used);
    if (endTokens.includes(id)) break;
    used.push(id);
    const { text, stopped } = held.push(decoder.push(id));
    if (text) yield text;
    if (stopped) return;
    if (generator.room === 0 || count + 1 === maxNewTokens) break;
    logits = await generator.step(id);
  }
  const { text, stopped } = held.push(decoder.flush());
  const rest = stopped ? text : text + held.flush();
  if (rest) yield rest;
}

/** Holds text back while it may be the beginning of a stop text. */
class StopText {
  private pending = '';
  private readonly stops: readonly string[];

  constructor(stops: readonly string[]) {
    this.stops = stops.filter((stop) => stop !== '');
  }

  push(piece: string): { text: string; stopped: boolean } {
    this.pending += piece;
    const ends = this.stops.map((stop) => this.pending.indexOf(stop)).filter((at) => at >= 0);
    if (ends.length > 0) {
      const text = this.pending.slice(0, Math.min(...ends));
      this.pending = '';
      return { text, stopped: true };
    }
    const keep = Math.max(0, ...this.stops.map((stop) => overlap(this.pending, stop)));
    const text = this.pending.slice(0, this.pending.length - keep);
    this.pending = this.pending.slice(text.length);
    return { text, stopped: false };
  }

  flush(): string {
    const text = this.pending;
    this.pending = '';
    return text;
  }
}

/** The longest end of `text` that begins `stop`. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
