/** Text from prompts, as it comes. */
import type { StreamDecoder, Tokenizer } from '../data/tokenizer.ts';
import type { Generator } from './generator.ts';
import { Sampler, type SamplingOptions } from './sampling.ts';
import { StopText } from './stopText.ts';

export interface GenerateOptions extends SamplingOptions {
  readonly maxNewTokens: number;
  /** Ids that end the answer; they are not part of it. */
  readonly endTokens: readonly number[];
  /** Texts that end the answer; they are not part of it. */
  readonly stop: readonly string[];
  readonly signal?: AbortSignal | undefined;
}

/** The next piece of an answer; `done` comes with the last one, whose text may be empty. */
export interface Piece {
  /** Number of the prompt, from 0. */
  readonly index: number;
  readonly text: string;
  readonly done: boolean;
}

/** Tokens of prompts that run through the model at once, unless one alone has more. */
const PROMPT_TOKENS = 1024;

/**
 * Yields the answers to prompts of token ids piece by piece, special tokens left out. As many are made side by side as the
 * generator has lanes; when one ends, the next prompt takes its place. Pieces are whole characters. An answer ends at an end
 * token, a stop text, `maxNewTokens`, or a full cache; all end when `signal` is aborted, which is then to be looked at. Answer n
 * draws from seed + n, so that it does not depend on the others. Throws `ARGUMENT` for a prompt too long.
 */
export async function* generate(
  generator: Generator,
  tokenizer: Tokenizer,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions,
): AsyncGenerator<Piece, void> {
  const { seed, signal } = options;
  const free = Array.from({ length: generator.lanes }, (_, lane) => lane);
  const busy = new Map<number, Answer>();
  let next = 0;
  /** Gives lanes to the prompts that run next. */
  const admit = (): Answer[] => {
    const admitted: Answer[] = [];
    for (let tokens = 0; free.length > 0; next += 1) {
      const prompt = prompts[next];
      tokens += prompt?.length ?? 0;
      if (!prompt || (admitted.length > 0 && tokens > PROMPT_TOKENS)) break;
      const lane = free.shift() as number;
      const answer = new Answer(next, lane, prompt, tokenizer, { ...options, seed: seed + next });
      busy.set(lane, answer);
      admitted.push(answer);
    }
    return admitted;
  };
  while (!signal?.aborted && options.maxNewTokens > 0) {
    const admitted = admit();
    const turn = admitted.length > 0 ? admitted : [...busy.values()];
    if (turn.length === 0) return;
    const logits = await (admitted.length > 0
      ? generator.prompt(admitted.map(({ lane, prompt }) => ({ lane, ids: prompt })))
      : generator.step(turn.map(({ lane, last }) => ({ lane, id: last }))));
    for (const [row, answer] of turn.entries()) {
      const { text, done } = answer.take(logits[row] as Float32Array, generator.room(answer.lane));
      if (done) {
        busy.delete(answer.lane);
        free.push(answer.lane);
      }
      if (done || text !== '') yield { index: answer.index, text, done };
    }
  }
  for (const answer of busy.values()) yield { index: answer.index, text: answer.end(), done: true };
}

/** One answer in the making. */
class Answer {
  readonly index: number;
  readonly lane: number;
  readonly prompt: readonly number[];
  /** The token that was picked last. */
  last = 0;
  private readonly options: GenerateOptions;
  private readonly sampler: Sampler;
  private readonly decoder: StreamDecoder;
  private readonly stop: StopText;
  private readonly used: Set<number>;
  private count = 0;

  constructor(index: number, lane: number, prompt: readonly number[], tokenizer: Tokenizer, options: GenerateOptions) {
    this.index = index;
    this.lane = lane;
    this.prompt = prompt;
    this.options = options;
    this.sampler = new Sampler(options);
    this.decoder = tokenizer.createStreamDecoder({ skipSpecialTokens: true });
    this.stop = new StopText(options.stop);
    this.used = new Set(prompt);
  }

  /** Picks the next token; the text that became certain with it. `room`: tokens that its lane can still take. */
  take(logits: Float32Array, room: number): { text: string; done: boolean } {
    const { endTokens, maxNewTokens } = this.options;
    const id = this.sampler.pick(logits, this.used);
    if (endTokens.includes(id)) return { text: this.end(), done: true };
    this.last = id;
    this.used.add(id);
    this.count += 1;
    const { text, stopped } = this.stop.push(this.decoder.push(id));
    if (stopped) return { text, done: true };
    if (room > 0 && this.count < maxNewTokens) return { text, done: false };
    return { text: text + this.end(), done: true };
  }

  /** What was held back. */
  end(): string {
    const { text, stopped } = this.stop.push(this.decoder.flush());
    return stopped ? text : text + this.stop.flush();
  }
}
