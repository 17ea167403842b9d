/** A Chromium with the demo page in it, and what the tests do there again and again. */
import { AxeBuilder } from '@axe-core/playwright';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright';
import { expect, inject } from 'vitest';
import { launchOptions } from '../../scripts/chromium.mjs';
import { readEnvironment } from '../../scripts/environment.mjs';

export function launch(): Promise<Browser> {
  return chromium.launch(launchOptions(readEnvironment().chromium));
}

export interface Opened {
  readonly page: Page;
  /** Addresses that were asked for, without the address of the page itself. */
  readonly requests: readonly string[];
  /** What the page complained of in the console. */
  readonly complaints: readonly string[];
}

export const demoUrl = (): string => inject('demoUrl');

export interface OpenOptions extends BrowserContextOptions {
  /** Query and hash. */
  readonly at?: string;
  /** Where the page is, when that is not where the server of all tests has it. */
  readonly base?: string;
  /** Run in the page before anything else. */
  readonly before?: () => void;
}

/** A visit of somebody who was never here. */
export async function visit(
  browser: Browser,
  { at = '', base, before, ...options }: OpenOptions = {},
): Promise<Opened> {
  const context = await browser.newContext({ viewport: { width: 1000, height: 800 }, ...options });
  if (before) await context.addInitScript(before);
  return open(await context.newPage(), at, base);
}

/** Opens the page in a tab. */
export async function open(page: Page, at = '', base = demoUrl()): Promise<Opened> {
  const requests: string[] = [];
  const complaints: string[] = [];
  page.context().on('request', (request) => requests.push(request.url()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  await page.goto(base + at);
  return { page, requests, complaints };
}

export const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });
export const status = (page: Page) => page.getByRole('status');

export async function useFile(page: Page, name: string, content: string | Buffer): Promise<void> {
  const input = page.getByLabel('Training data (JSONL, JSON, CSV, Parquet, TXT, PDF, DOCX)', { exact: true });
  await input.setInputFiles({ name, mimeType: '', buffer: Buffer.from(content) });
}

export async function waitForText(page: Page, text: string | RegExp, timeout = 60_000): Promise<void> {
  await page.getByText(text).first().waitFor({ timeout });
}

/** No violation of any rule that axe knows. */
export async function expectAccessible(page: Page, state: string): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const found = violations.map(({ id, nodes }) => `${state}: ${id}: ${nodes.map(({ html }) => html).join(' | ')}`);
  expect(found).toEqual([]);
}
