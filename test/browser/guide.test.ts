/** The example of docs/library.md that is for a page, as it is printed there. */
import { afterEach, expect, test, vi } from 'vitest';
import guide from '../../docs/library.md?raw';

afterEach(() => {
  vi.restoreAllMocks();
});

test('In a page', async () => {
  const [, code = ''] = /## In a page\n[\s\S]*?```ts\n([\s\S]*?)```/.exec(guide) ?? [];
  const library = new URL('../../src/index.ts', import.meta.url).href;
  const script = code.replace("'webgpu-sft'", `'${library}'`).replaceAll(' as const', '');
  const lines: string[] = [];
  vi.spyOn(console, 'log').mockImplementation((line: string) => void lines.push(line));
  await import(/* @vite-ignore */ URL.createObjectURL(new Blob([script], { type: 'text/javascript' })));
  expect(lines[0]).toMatch(/^0 problems, \d{5,} bytes$/);
  expect(lines.filter((line) => line.startsWith('step '))).toEqual([
    expect.stringMatching(/^step 1: loss \d+\.\d{3}$/),
    expect.stringMatching(/^step 2: loss \d+\.\d{3}$/),
    expect.stringMatching(/^step 3: loss \d+\.\d{3}$/),
  ]);
  expect(lines.length).toBeGreaterThan(5);
  expect(lines.at(-1)).toMatch(/^\d{4,} bytes of adapter$/);
});
