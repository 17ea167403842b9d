/** A conversation at the terminal: the history is kept, Ctrl-C stops an answer and not the program. */
import { createInterface } from 'node:readline';
import type { AnswerOptions, LanguageModel, Message } from '../index.ts';
import { SftError } from '../platform/errors.ts';
import { showError } from './errors.ts';
import type { Terminal } from './terminal.ts';

const HELP = '/reset forgets the conversation, /exit leaves; Ctrl-C stops an answer';

export async function chat(
  model: LanguageModel,
  terminal: Terminal,
  options: AnswerOptions & { readonly seed: number; readonly stream: boolean },
): Promise<void> {
  const { bold, dim } = terminal.colors.out;
  const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: bold('> ') });
  let answering: AbortController | null = null;
  let history: Message[] = [];
  let turn = 0;
  lines.on('SIGINT', () => {
    if (answering) return answering.abort();
    terminal.line('out');
    terminal.line('out', dim(HELP));
    lines.prompt();
  });

  const answer = async (text: string): Promise<void> => {
    answering = new AbortController();
    const { signal } = answering;
    const asked: Message[] = [...history, { role: 'user', content: text }];
    let said = '';
    try {
      for await (const piece of model.answer(asked, { ...options, seed: options.seed + turn, signal })) {
        said += piece;
        if (options.stream) terminal.write('out', piece);
      }
      terminal.line('out', options.stream ? '' : said);
      if (signal.aborted) terminal.line('out', dim('(stopped)'));
      history = [...asked, { role: 'assistant', content: said }];
      turn += 1;
    } catch (error) {
      // Such as a conversation that has become too long: the person can go on from there.
      if (!(error instanceof SftError) || error.exitCode !== 2) throw error;
      showError(terminal, error, false);
      terminal.line('out', dim(HELP));
    } finally {
      answering = null;
    }
  };

  terminal.line('out', dim(HELP));
  lines.prompt();
  for await (const line of lines) {
    const text = line.trim();
    if (text === '/exit') break;
    if (text === '/reset') {
      history = [];
      terminal.line('out', dim('forgotten'));
    } else if (text.startsWith('/')) terminal.line('out', dim(HELP));
    else if (text !== '') await answer(text);
    lines.prompt();
  }
  lines.close();
}
