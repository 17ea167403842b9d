/** A conversation at the terminal: the history is kept, Ctrl-C stops an answer and not the program. */
import { basename, dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { openStore } from '#platform';
import type { Message } from '../data/rows.ts';
import type { AnswerOptions } from '../eval/languageModel.ts';
import { SftError } from '../platform/errors.ts';
import { nearest } from '../platform/suggest.ts';
import type { Adapters } from './adapters.ts';
import { showError } from './errors.ts';
import { counted, table } from './format.ts';
import type { Terminal } from './terminal.ts';

export interface ChatOptions extends AnswerOptions {
  readonly seed: number;
  readonly stream: boolean;
}

const DEFAULT_FILE = 'conversation.jsonl';

/** What can be typed instead of a message. */
const COMMANDS: readonly (readonly [syntax: string, meaning: string])[] = [
  ['/reset', 'forgets the conversation'],
  ['/system TEXT', 'sets the system prompt from the next answer on; without TEXT there is none'],
  ['/adapter DIR', 'answers with another adapter; off is the base, without DIR the known ones are listed'],
  ['/save FILE', `adds the conversation to FILE as a row to train on; ${DEFAULT_FILE} if left out`],
  ['/exit', 'leaves'],
];

export async function chat(adapters: Adapters, terminal: Terminal, options: ChatOptions): Promise<void> {
  const { bold, dim } = terminal.colors.out;
  const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: bold('> ') });
  const conversation = new Conversation(adapters, terminal, options);
  const hint = dim('/help lists what can be typed besides a message; Ctrl-C stops an answer');
  lines.on('SIGINT', () => {
    if (conversation.stop()) return;
    terminal.line('out');
    terminal.line('out', hint);
    lines.prompt();
  });
  terminal.line('out', hint);
  lines.prompt();
  for await (const line of lines) {
    const text = line.trim();
    if (text === '/exit') break;
    try {
      if (text.startsWith('/')) terminal.line('out', dim(await conversation.command(text)));
      else if (text !== '') await conversation.answer(text);
    } catch (error) {
      // Such as a conversation that has become too long, or a folder that is no adapter: the person can go on from there.
      if (!(error instanceof SftError) || error.exitCode !== 2) throw error;
      showError(terminal, error, false);
    }
    lines.prompt();
  }
  lines.close();
}

/** What is said and typed; the terminal is driven by `chat`. */
export class Conversation {
  private readonly adapters: Adapters;
  private readonly terminal: Terminal;
  private readonly options: ChatOptions;
  private answering: AbortController | null = null;
  private system: string | null = null;
  private turns: Message[] = [];
  private asked = 0;

  constructor(adapters: Adapters, terminal: Terminal, options: ChatOptions) {
    this.adapters = adapters;
    this.terminal = terminal;
    this.options = options;
  }

  /** Stops the answer that is being made; false where there is none. */
  stop(): boolean {
    this.answering?.abort();
    return this.answering !== null;
  }

  /** Answers a message, and keeps both. */
  async answer(text: string): Promise<void> {
    const { terminal, options } = this;
    const { seed, stream, ...rest } = options;
    const { model, useAdapter } = this.adapters;
    const asked: Message[] = [...this.turns, { role: 'user', content: text }];
    this.answering = new AbortController();
    const { signal } = this.answering;
    let said = '';
    try {
      const answer = model.answer(this.messages(asked), { ...rest, seed: seed + this.asked, signal, useAdapter });
      for await (const piece of answer) {
        said += piece;
        if (stream) terminal.write('out', piece);
      }
    } finally {
      this.answering = null;
    }
    terminal.line('out', stream ? '' : said);
    if (signal.aborted) terminal.line('out', terminal.colors.out.dim('(stopped)'));
    this.turns = [...asked, { role: 'assistant', content: said }];
    this.asked += 1;
  }

  /** Does what a line that begins with a slash says; what came of it. */
  async command(line: string): Promise<string> {
    const [name = '', ...words] = line.split(/\s+/);
    const rest = words.join(' ');
    switch (name) {
      case '/reset':
        this.turns = [];
        return 'forgotten';
      case '/system':
        this.system = line.slice(name.length).trim() || null;
        return this.system === null ? 'no system prompt' : 'the system prompt is set';
      case '/adapter':
        if (rest !== '') await this.adapters.use(rest === 'off' ? null : rest);
        return this.adapters.list().join('\n');
      case '/save':
        return this.save(rest || DEFAULT_FILE);
      case '/help':
        return table(COMMANDS).join('\n');
      default: {
        const known = COMMANDS.map(([syntax]) => syntax.split(' ')[0] ?? '');
        const meant = nearest(name, [...known, '/help']);
        return `${name}: unknown; ${meant ? `did you mean ${meant}?` : '/help lists what there is'}`;
      }
    }
  }

  private async save(path: string): Promise<string> {
    if (this.turns.length === 0) return 'there is no conversation to save';
    const store = await openStore(dirname(path));
    const row = { messages: this.messages(this.turns) };
    await store.append(basename(path), `${JSON.stringify(row)}\n`);
    return `${counted(this.turns.length / 2, 'answer')} added to ${path}`;
  }

  private messages(turns: readonly Message[]): Message[] {
    return this.system === null ? [...turns] : [{ role: 'system', content: this.system }, ...turns];
  }
}
