/** Where the command line writes: lines on stdout and stderr, and one line at a terminal that is written again and again. */
import pc from 'picocolors';

export type Colors = ReturnType<typeof pc.createColors>;

/** A stream such as `process.stdout`. */
export interface Stream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): boolean;
  on(event: 'error', listener: (error: Error) => void): unknown;
}

export type Target = 'out' | 'err';

const HIDE_CURSOR = '\u001b[?25l';
const SHOW_CURSOR = '\u001b[?25h';
const CLEAR_LINE = '\r\u001b[2K';

/** Colours where a person looks; `NO_COLOR` and `FORCE_COLOR` are obeyed. */
function wantsColors(stream: Stream, environment: NodeJS.ProcessEnv): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = environment;
  if (NO_COLOR) return false;
  if (FORCE_COLOR) return FORCE_COLOR !== '0';
  return stream.isTTY === true && TERM !== 'dumb';
}

export class Terminal {
  readonly colors: Record<Target, Colors>;
  /** Called when what reads the output has gone, such as a closed window or `head`. */
  onGone: (target: Target) => void = () => {};
  private readonly streams: Record<Target, Stream>;
  private readonly gone: Record<Target, boolean> = { out: false, err: false };
  private status: { target: Target; text: string } | null = null;
  private cursorHidden: Target | null = null;

  constructor(out: Stream, err: Stream, environment: NodeJS.ProcessEnv = {}) {
    this.streams = { out, err };
    this.colors = {
      out: pc.createColors(wantsColors(out, environment)),
      err: pc.createColors(wantsColors(err, environment)),
    };
    for (const target of ['out', 'err'] as const) {
      this.streams[target].on('error', () => {
        if (this.gone[target]) return;
        this.gone[target] = true;
        this.onGone(target);
      });
    }
  }

  /** Whether a person looks at it and lines can be written again. */
  isScreen(target: Target): boolean {
    return this.streams[target].isTTY === true && !this.gone[target];
  }

  /** Characters that fit into a line. */
  width(target: Target): number {
    return this.streams[target].columns ?? 80;
  }

  /** Writes a line, above the one that is written again. */
  line(target: Target, text = ''): void {
    this.write(target, `${text}\n`);
  }

  /** Writes text as it is. */
  write(target: Target, text: string): void {
    const { status } = this;
    if (status) this.raw(status.target, CLEAR_LINE);
    this.raw(target, text);
    if (status) this.draw(status);
  }

  /** Sets the line that is written again; null takes it away. Nothing happens where nobody looks. */
  setStatus(target: Target, text: string | null): void {
    if (!this.isScreen(target)) return;
    if (text === null) {
      if (this.status) this.raw(this.status.target, CLEAR_LINE);
      this.status = null;
      this.showCursor();
      return;
    }
    this.status = { target, text };
    this.draw(this.status);
  }

  /** Takes the status line away and shows the cursor again. Safe to call twice, and while the process ends. */
  close(): void {
    if (this.status) this.raw(this.status.target, CLEAR_LINE);
    this.status = null;
    this.showCursor();
  }

  private draw({ target, text }: { target: Target; text: string }): void {
    if (this.cursorHidden === null) {
      this.raw(target, HIDE_CURSOR);
      this.cursorHidden = target;
    }
    this.raw(target, CLEAR_LINE + cut(text, this.width(target) - 1));
  }

  private showCursor(): void {
    if (this.cursorHidden !== null) this.raw(this.cursorHidden, SHOW_CURSOR);
    this.cursorHidden = null;
  }

  private raw(target: Target, text: string): void {
    if (!this.gone[target]) this.streams[target].write(text);
  }
}

/** The beginning of a text that fits into a line. */
function cut(text: string, width: number): string {
  const characters = [...text];
  return characters.length <= width ? text : `${characters.slice(0, Math.max(0, width - 1)).join('')}…`;
}
