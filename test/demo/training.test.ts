/** A stranger's visit from the first look to the zip, with everything that it asks the network for written down. */
import { readFileSync } from 'node:fs';
import { unzipSync } from 'fflate';
import type { Browser, Page } from 'playwright';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compileJsonSchema, schemaJson } from '../../src/eval/metrics/schemaJson.ts';
import { button, demoUrl, expectAccessible, launch, type Opened, status, visit, waitForText } from './browser.ts';

const asset = (path: string) => readFileSync(new URL(`../../assets/json-requests/${path}`, import.meta.url), 'utf8');
const MINUTES = 60_000;
const REQUESTS = 20;

interface Row {
  readonly messages: readonly { readonly role: string; readonly content: string }[];
}

describe('the embedded model learns the sample set', () => {
  let browser: Browser;
  let opened: Opened;
  let page: Page;

  beforeAll(async () => {
    browser = await launch();
    opened = await visit(browser);
    page = opened.page;
  });
  afterAll(() => browser?.close());

  test('one click brings rows, model and plan', async () => {
    await expectAccessible(page, 'start');
    expect(await button(page, 'Start training').isDisabled()).toBe(true);
    await button(page, 'Use the sample set').click();
    await waitForText(page, /1,248 rows, recognised as conversations/);
    await page.getByRole('region', { name: 'Memory plan' }).getByText('it fits').waitFor({ timeout: MINUTES });
    expect(page.url()).toMatch(/#data=sample$/);
    const tokens = page.getByRole('region', { name: 'Tokens' }).getByRole('option');
    await expect.poll(() => tokens.count(), { timeout: MINUTES }).toBeGreaterThan(20);
    await expectAccessible(page, 'plan');
  });

  test('trains, and shows how', { timeout: 10 * MINUTES }, async () => {
    await button(page, 'Start training').click();
    await expect.poll(() => status(page).textContent(), { timeout: 2 * MINUTES }).toMatch(/Step \d+ of 120 · loss \d/);
    await button(page, 'Pause').click();
    await expect.poll(() => status(page).textContent()).toMatch(/^Paused\. Step \d+ of 120/);
    await button(page, 'Resume').click();
    await expectAccessible(page, 'training');
    await expect.poll(() => status(page).textContent(), { timeout: 9 * MINUTES }).toMatch(/^Done\. Step 120 of 120/);
    expect(await page.title()).toContain('Done');
  });

  test('before and after differ on the screen', async () => {
    const region = page.getByRole('region', { name: 'Before and after' });
    await region.scrollIntoViewIfNeeded();
    await expect.poll(() => region.getByText('step 120').count(), { timeout: MINUTES }).toBe(3);
    await expect.poll(() => region.getByText(/^(valid JSON|as your row)$/).count()).toBe(3);
    expect(await region.getByText('no JSON').count()).toBe(3);
    await expectAccessible(page, 'done');
  });

  test('nine of ten answers to requests that it has not seen obey the schema', { timeout: 4 * MINUTES }, async () => {
    const schema = compileJsonSchema(asset('schema.json'), 'schema.json');
    const rows = asset('test.jsonl').trim().split('\n').slice(0, REQUESTS);
    let right = 0;
    for (const row of rows) {
      const [asked] = (JSON.parse(row) as Row).messages;
      right += schemaJson(await ask(page, asked?.content ?? ''), schema);
    }
    expect(right / REQUESTS).toBeGreaterThanOrEqual(0.9);
  });

  test('the adapter can be switched off', async () => {
    await page.getByRole('switch', { name: 'Use adapter' }).uncheck();
    expect(await ask(page, 'Wake me at ten to nine on Saturday.')).not.toContain('"intent"');
    await page.getByRole('switch', { name: 'Use adapter' }).check();
    await expectAccessible(page, 'chat');
  });

  test('the zip is a PEFT folder', async () => {
    const [download] = await Promise.all([page.waitForEvent('download'), button(page, 'Download adapter').click()]);
    expect(download.suggestedFilename()).toBe('embedded-adapter.zip');
    const files = unzipSync(readFileSync(await download.path()));
    const names = Object.keys(files).map((name) => name.split('/').at(-1));
    expect(names).toEqual(expect.arrayContaining(['adapter_model.safetensors', 'adapter_config.json', 'README.md']));
  });

  test('nothing but the files of the page was asked for', () => {
    const strange = opened.requests.filter((url) => !url.startsWith(demoUrl()) && !url.startsWith('blob:'));
    expect(strange).toEqual([]);
    expect(opened.complaints).toEqual([]);
  });

  test('the next visit still has it, without a network', async () => {
    await page.evaluate(() => navigator.serviceWorker.ready);
    await page.context().setOffline(true);
    await page.reload();
    await button(page, 'Open it').click();
    expect(await status(page).textContent()).toMatch(/Done/);
    expect(await ask(page, 'Wake me at ten to nine on Saturday.')).toContain('"intent"');
    expect(opened.complaints).toEqual([]);
  });
});

/** Says something in a new conversation; the answer. */
async function ask(page: Page, message: string): Promise<string> {
  const fresh = button(page, 'New conversation');
  if (await fresh.isVisible()) await fresh.click();
  await page.getByRole('textbox', { name: 'Message' }).fill(message);
  await button(page, 'Send').click();
  const log = page.getByRole('log', { name: 'Conversation' });
  await log.locator('[data-role="assistant"][data-writing="false"]').waitFor({ timeout: MINUTES });
  return (await log.locator('[data-role="assistant"] p').textContent()) ?? '';
}
