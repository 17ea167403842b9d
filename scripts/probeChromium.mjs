/** Launches the Chromium given as JSON and exits with 0 when a page of it gets a WebGPU device. */
import { createServer } from 'node:http';
import { chromium } from 'playwright';
import { launchOptions } from './chromium.mjs';

// WebGPU exists in secure contexts only; a page from this machine is one.
const server = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<!doctype html>'));
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const browser = await chromium.launch(launchOptions(JSON.parse(process.argv[2])));
const page = await browser.newPage();
await page.goto(`http://127.0.0.1:${server.address().port}/`);
const works = await page.evaluate(async () => {
  const adapter = await navigator.gpu?.requestAdapter();
  return Boolean(await adapter?.requestDevice());
});
await browser.close();
server.close();
if (!works) throw new Error('Error: navigator.gpu gives no adapter');
