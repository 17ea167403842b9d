/** What the page says and does when all is not as it should be, and that everybody can use it. */
import type { Browser, Page } from 'playwright';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { button, demoUrl, expectAccessible, launch, open, status, useFile, visit, waitForText } from './browser.ts';

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser?.close());

const alert = (page: Page) => page.getByRole('alert');
const isWide = (page: Page) =>
  page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);

describe('everybody can use it', () => {
  test.each([
    ['light', 1000],
    ['dark', 1000],
    ['light', 360],
    ['dark', 360],
  ] as const)('%s, %i pixels wide', async (colorScheme, width) => {
    const { page } = await visit(browser, {
      colorScheme,
      viewport: { width, height: 800 },
      at: '#data=sample&steps=3',
    });
    await expectAccessible(page, 'start');
    await page.getByText('More', { exact: true }).click();
    await page.getByRole('combobox', { name: 'Model' }).click();
    await waitForText(page, 'it fits');
    await expectAccessible(page, 'plan');
    expect(await isWide(page)).toBe(false);
    await page.context().close();
  });

  test('with the keyboard alone, up to the zip', async () => {
    const { page, complaints } = await visit(browser, { at: '#steps=2' });
    await tabTo(page, 'Use the sample set');
    await page.keyboard.press('Enter');
    await expect.poll(() => button(page, 'Start training').isEnabled(), { timeout: 60_000 }).toBe(true);
    await tabTo(page, 'Start training');
    await page.keyboard.press('Enter');
    await expect.poll(() => status(page).textContent(), { timeout: 60_000 }).toMatch(/^Done\. Step 2 of 2/);
    // The inspector is one stop, and its tokens are reached with the arrows.
    await tabTo(page, 'Tokens of row 1');
    await page.keyboard.press('End');
    await page.keyboard.press('ArrowLeft');
    const tokens = page.getByRole('listbox', { name: 'Tokens of row 1' });
    const active = await tokens.getAttribute('aria-activedescendant');
    expect(await page.locator(`#${active}`).getAttribute('aria-selected')).toBe('true');
    await tabTo(page, 'Message');
    await page.keyboard.type('Wake me at seven.');
    await page.keyboard.press('Enter');
    await waitForText(page, 'Wake me at seven.');
    await tabTo(page, 'Download adapter');
    const [download] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('Enter')]);
    expect(download.suggestedFilename()).toMatch(/\.zip$/);
    expect(complaints).toEqual([]);
    await page.context().close();
  });
});

/** Presses Tab until something of that accessible name has the focus. */
async function tabTo(page: Page, name: string): Promise<void> {
  for (let presses = 0; presses < 60; presses++) {
    await page.keyboard.press('Tab');
    const focused = await page.evaluate(() => {
      const element = document.activeElement as HTMLInputElement | null;
      return element?.ariaLabel ?? element?.labels?.[0]?.textContent ?? element?.textContent ?? '';
    });
    if (focused.trim() === name) return;
  }
  throw new Error(`${name} cannot be reached with Tab`);
}

describe('rows that are wrong', () => {
  const cases: [string, string, string | Buffer, RegExp][] = [
    ['an empty file', 'empty.jsonl', '', /empty\.jsonl/],
    ['a broken line', 'rows.jsonl', '{"question": "a", "answer": "b"}\n{"question": "a"', /rows\.jsonl:2/],
    ['fields that mean nothing', 'rows.json', '[{"colour": "red", "size": 3}]', /rows\.json:1/],
    ['a file of another kind', 'cat.png', 'PNG', /cat\.png: .*got \.png/],
    ['a PDF that is none', 'scan.pdf', '%PDF-1.4 nothing', /scan\.pdf/],
    ['bytes that are no text', 'rows.csv', Buffer.from([0x61, 0x2c, 0x62, 0x0a, 0xff, 0xfe, 0x00]), /rows\.csv/],
  ];

  test('each is told beside the input, with its place, and the next file is read', async () => {
    const { page, complaints } = await visit(browser);
    for (const [what, name, content, message] of cases) {
      await useFile(page, name, content);
      await expect.poll(() => alert(page).textContent(), { message: what, timeout: 30_000 }).toMatch(message);
      expect(await button(page, 'Start training').isDisabled()).toBe(true);
    }
    await expectAccessible(page, 'error');
    await useFile(page, 'rows.csv', 'question,answer\nWho?,Me.\nWhen?,Now.\n');
    await waitForText(page, '2 rows, recognised as questions and answers');
    expect(await alert(page).count()).toBe(0);
    await useFile(page, 'deutsch.csv', 'Frage,Antwort,Nr\nWer?,Ich.,1\nWann?,Jetzt.,2\n');
    await expect.poll(() => alert(page).textContent()).toMatch(/deutsch\.csv:2: .*"Frage", "Antwort"/);
    await button(page, 'Use these columns').click();
    await waitForText(page, 'deutsch.csv 2 rows, recognised as questions and answers');
    await page.getByText('Paste rows').click();
    await page
      .getByLabel('Rows to paste')
      .fill('{"prompt": "1 + 1 =", "completion": " 2"}\n{"prompt": "2 + 2 =", "completion": " 4"}');
    await button(page, 'Use these rows').click();
    await waitForText(page, '2 rows, recognised as prompts and completions');
    // A browser would leave the page for a file that is dropped beside the place for it.
    await page.evaluate(() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(['question,answer\nWho?,You.\n'], '.dropped.csv'));
      document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
    });
    await waitForText(page, '1 row, recognised as questions and answers');
    expect(complaints).toEqual([]);
    await page.context().close();
  });
});

describe('models that are wrong', () => {
  test('each is told beside the model, and the embedded one is there again', async () => {
    const { page } = await visit(browser);
    await page.route('**/strange/**', (route) =>
      route.request().url().endsWith('config.json')
        ? route.fulfill({ json: { model_type: 'mamba9', vocab_size: 8 } })
        : route.fulfill({ status: 404 }),
    );
    const field = page.getByRole('combobox', { name: 'Model' });
    const choose = async (name: string) => {
      await field.fill(name);
      await field.press('Enter');
    };
    await choose(`${demoUrl()}nothing/here`);
    await expect.poll(() => alert(page).textContent(), { timeout: 30_000 }).toMatch(/config\.json/);
    expect(page.url()).toContain('model=');
    await choose(`${demoUrl()}strange`);
    await expect.poll(() => alert(page).textContent(), { timeout: 30_000 }).toMatch(/mamba9/);
    await expectAccessible(page, 'model error');
    await choose('embedded');
    await waitForText(page, /1\.05 M parameters/);
    expect(await alert(page).count()).toBe(0);
    await page.context().close();
  });

  test('one that is too large for the budget: the plan says so, and what would fit is one click away', async () => {
    const { page } = await visit(browser, { at: '#data=sample&memory=0.01&set=train.batch_size:16&method=full' });
    const plan = page.getByRole('region', { name: 'Memory plan' });
    await plan.getByText(/is more than the 10\.2 MiB that there are/).waitFor({ timeout: 60_000 });
    expect(await button(page, 'Start training').isDisabled()).toBe(true);
    await expectAccessible(page, 'too large');
    await button(page, 'Use these settings').click();
    await plan.getByText('it fits').waitFor({ timeout: 60_000 });
    expect(page.url()).toMatch(/method=lora|method=qlora|set=/);
    await page.context().close();
  });

  test('a full storage is told, and nothing of the model stays', async () => {
    const { page } = await visit(browser);
    const session = await page.context().newCDPSession(page);
    await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(demoUrl()).origin, quotaSize: 2_000_000 });
    await button(page, 'Load').click();
    await expect.poll(() => alert(page).textContent(), { timeout: 30_000 }).toMatch(/room|space|quota/i);
    await page.context().close();
  });
});

describe('browsers that cannot', () => {
  test.each([
    ['no WebGPU', () => Object.defineProperty(Navigator.prototype, 'gpu', { value: undefined })],
    ['no adapter', () => Object.defineProperty(GPU.prototype, 'requestAdapter', { value: async () => null })],
  ] as const)('%s: one page that says which browser and flag', async (_, before) => {
    const { page, complaints } = await visit(browser, { before });
    await page.getByRole('heading', { name: 'This browser cannot use the GPU yet' }).waitFor();
    expect(await page.locator('main').textContent()).toMatch(/chrome:\/\/flags\/#enable-unsafe-webgpu/);
    await expectAccessible(page, 'no WebGPU');
    expect(complaints).toEqual([]);
    await page.context().close();
  });
});

describe('an address rebuilds a set-up', () => {
  test('from its hash, and back into it', async () => {
    const { page } = await visit(browser, {
      at: '?model=embedded#data=sample&method=qlora&steps=7&rank=4&set=train.seed:7',
    });
    await waitForText(page, 'it fits');
    await page.getByText('More', { exact: true }).click();
    expect(await page.getByLabel('Steps').inputValue()).toBe('7');
    expect(await page.getByLabel('Rank').inputValue()).toBe('4');
    expect(await page.getByLabel('Other settings').inputValue()).toBe('train.seed: 7');
    expect(await page.getByRole('radio', { name: /QLoRA/ }).isChecked()).toBe(true);
    await page.getByLabel('Steps').fill('9');
    await page.getByLabel('Learning rate').fill('x');
    await waitForText(page, /A number from/);
    expect(page.url()).toMatch(/\?model=embedded#data=sample&method=qlora&steps=9&rank=4&set=train\.seed:7$/);
    await page.context().close();
  });
});

describe('more than one tab, more than one visit', () => {
  test('a second tab does not train beside the first, and the next visit goes on', { timeout: 240_000 }, async () => {
    // Long enough that the first tab is still training when it is closed.
    const at = '#data=sample&steps=45&set=train.save_steps:3';
    const { page: first } = await visit(browser, { at });
    await button(first, 'Start training').click({ timeout: 60_000 });
    const { page: second } = await open(await first.context().newPage(), at);
    await button(second, 'Start training').click({ timeout: 60_000 });
    await waitForText(second, 'Another tab of this page is training.');
    await expect.poll(() => status(first).textContent(), { timeout: 60_000 }).toMatch(/^Step ([4-9]|\d\d) of 45/);
    await first.close();
    await second.close();

    const { page: next, complaints } = await open(await first.context().newPage());
    await button(next, 'Resume').click({ timeout: 30_000 });
    await expect.poll(() => status(next).textContent(), { timeout: 100_000 }).toMatch(/^Done\. Step 45 of 45/);
    expect(complaints).toEqual([]);
    await first.context().close();
  });

  test('stopped, it is saved and goes on; cleared, nothing is left', async () => {
    const { page, complaints } = await visit(browser, { at: '#data=sample&steps=60' });
    // Pressed twice it starts once, and does not stop either.
    await button(page, 'Start training').dblclick({ timeout: 60_000 });
    await expect.poll(() => status(page).textContent(), { timeout: 60_000 }).toMatch(/^Step \d+ of 60 · loss/);
    await button(page, 'Stop').click();
    await expect.poll(() => status(page).textContent(), { timeout: 30_000 }).toMatch(/^Stopped and saved\./);
    await expectAccessible(page, 'stopped');
    await button(page, 'Resume').click();
    await expect.poll(() => status(page).textContent(), { timeout: 60_000 }).toMatch(/^Step/);
    await button(page, 'Stop').click();
    await expect.poll(() => button(page, 'Clear storage').isEnabled(), { timeout: 30_000 }).toBe(true);
    await button(page, 'Clear storage').click();
    await button(page, 'Remove everything').click();
    await waitForText(page, 'Not started yet.');
    const left = await page.evaluate(async () => {
      const filesIn = async (folder: FileSystemDirectoryHandle): Promise<string[]> => {
        const names: string[] = [];
        for await (const entry of folder.values()) {
          if (entry.kind === 'file') names.push(entry.name);
          else names.push(...(await filesIn(entry as FileSystemDirectoryHandle)));
        }
        return names;
      };
      return { files: await filesIn(await navigator.storage.getDirectory()), kept: localStorage.length };
    });
    expect(left).toEqual({ files: [], kept: 0 });
    expect(complaints).toEqual([]);
    await page.context().close();
  });
});
