/** Texts that end an answer. What may be the beginning of one is held back until that is decided. */
export class StopText {
  private pending = '';
  private readonly stops: readonly string[];

  constructor(stops: readonly string[]) {
    this.stops = stops.filter((stop) => stop !== '');
  }

  /** The text that can be shown once `piece` has come. After `stopped`, nothing more belongs to the answer. */
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

  /** What was held back, when the answer ends by itself. */
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
