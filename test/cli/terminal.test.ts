import { describe, expect, test } from 'vitest';
import { Terminal } from '../../src/cli/terminal.ts';
import { fakeStream } from './fakeStream.ts';

const SCREEN = { isTTY: true, columns: 20 };
const HIDE = '\u001b[?25l';
const SHOW = '\u001b[?25h';
const CLEAR = '\r\u001b[2K';

describe('the status line', () => {
  test('is written again, and lines go above it', () => {
    const [out, err] = [fakeStream(SCREEN), fakeStream(SCREEN)];
    const terminal = new Terminal(out, err);
    terminal.setStatus('out', 'one');
    terminal.setStatus('out', 'two');
    terminal.line('out', 'line');
    terminal.line('err', 'oops');
    expect(out.text()).toBe(`${HIDE}${CLEAR}one${CLEAR}two${CLEAR}line\n${CLEAR}two${CLEAR}${CLEAR}two`);
    expect(err.text()).toBe('oops\n');
  });

  test('leaves the cursor as it was', () => {
    const out = fakeStream(SCREEN);
    const terminal = new Terminal(out, fakeStream());
    terminal.setStatus('out', 'a');
    terminal.close();
    terminal.close();
    expect(out.text()).toBe(`${HIDE}${CLEAR}a${CLEAR}${SHOW}`);
  });

  test('fits into the width', () => {
    const out = fakeStream(SCREEN);
    new Terminal(out, fakeStream()).setStatus('out', '━'.repeat(30));
    expect(out.text()).toBe(`${HIDE}${CLEAR}${'━'.repeat(18)}…`);
  });

  test('is nothing where nobody looks', () => {
    const out = fakeStream();
    const terminal = new Terminal(out, fakeStream());
    terminal.setStatus('out', 'a');
    terminal.line('out', 'b');
    terminal.close();
    expect(out.text()).toBe('b\n');
  });
});

test('colours where a person looks, or as the environment says', () => {
  const colored = (stream: object, environment: NodeJS.ProcessEnv) =>
    new Terminal(fakeStream(stream), fakeStream(), environment).colors.out.isColorSupported;
  expect(colored(SCREEN, {})).toBe(true);
  expect(colored(SCREEN, { NO_COLOR: '1' })).toBe(false);
  expect(colored(SCREEN, { TERM: 'dumb' })).toBe(false);
  expect(colored({}, { CI: '1' })).toBe(false);
  expect(colored({}, { FORCE_COLOR: '1' })).toBe(true);
});

test('a reader that has gone is told once, and nothing is written to it', () => {
  const [out, err] = [fakeStream(SCREEN), fakeStream()];
  const terminal = new Terminal(out, err);
  const gone: string[] = [];
  terminal.onGone = (target) => gone.push(target);
  terminal.setStatus('out', 'a');
  const before = out.text();
  out.fail();
  out.fail();
  terminal.setStatus('out', 'b');
  terminal.line('out', 'c');
  terminal.line('err', 'd');
  terminal.close();
  expect(gone).toEqual(['out']);
  expect(out.text()).toBe(before);
  expect(err.text()).toBe('d\n');
});
