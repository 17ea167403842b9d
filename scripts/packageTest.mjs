/**
 * `npm run test:package [-- NAME…]`: packs the project, installs the tarball as a stranger would, and trains two steps in each
 * kind of application. The applications are those of `examples/`; they share one installation.
 */
import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright';
import { createServer, preview } from 'vite';
import { launchOptions } from './chromium.mjs';
import { npm, readJson, root, SetupError, script } from './common.mjs';
import { readEnvironment } from './environment.mjs';
import { prepareChromium, setup } from './setup.mjs';
import { report } from './vitest.mjs';

const EXAMPLES = ['node', 'html', 'vite', 'next'];
/** Bundlers that build the sources of examples/vite too. */
const BUNDLERS = { esbuild: '0.28.2', webpack: '5.113.0' };
/** What a careful page allows: nothing that is not a file of its own server. */
const POLICY = { 'Content-Security-Policy': "script-src 'self'; worker-src 'self'" };
const MINUTES = 4;

const scratch = mkdtempSync(join(tmpdir(), 'webgpu-sft-package-'));
const at = (...parts) => join(scratch, ...parts);

/** Runs a command to its end; resolves to what it printed, rejects with it when it fails. */
function command(name, args, cwd, env = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(name, args, { cwd, env: { ...process.env, ...env }, timeout: MINUTES * 60_000 });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      if (code === 0) return resolve(output);
      reject(new Error(`${name} ${args.join(' ')}: ${signal ?? `exit code ${code}`}\n${output.slice(-4000)}`));
    });
  });
}

const node = (args, cwd, env) => command(process.execPath, args, cwd, env);

function runNpm(args, cwd, env) {
  const [name, first] = npm();
  return command(name, [...first, ...args], cwd, env);
}

/** Packs the project and installs it beside everything that the applications are built with. */
async function install() {
  await runNpm(['pack', '--pack-destination', scratch], root);
  const tarball = readdirSync(scratch).find((name) => name.endsWith('.tgz'));
  const manifests = EXAMPLES.map((name) => readJson(join(root, 'examples', name, 'package.json')));
  const dependencies = Object.assign(
    { ...BUNDLERS },
    ...manifests.map((manifest) => ({ ...manifest.dependencies, ...manifest.devDependencies })),
    { 'webgpu-sft': `file:${tarball}` },
  );
  writeFileSync(at('package.json'), JSON.stringify({ private: true, type: 'module', dependencies }));
  await runNpm(['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'], scratch);
  for (const name of EXAMPLES) {
    cpSync(join(root, 'examples', name), at(name), { recursive: true });
    symlinkSync(at('node_modules'), at(name, 'node_modules'), 'junction');
  }
}

/** Goes on with the address of a server, and closes it in the end. */
async function withServer(server, use) {
  try {
    return await use(server.resolvedUrls.local[0]);
  } finally {
    await server.close();
  }
}

/** Serves a folder that was built. */
const built = (folder, headers) =>
  preview({
    configFile: false,
    root: dirname(folder),
    appType: 'mpa',
    build: { outDir: basename(folder) },
    preview: { host: '127.0.0.1', headers },
    logLevel: 'warn',
  });

function expectSteps(text) {
  for (const pattern of [
    /^step 1 of 2: loss \d/m,
    /^step 2 of 2: loss \d/m,
    /^saved \S+\/final_model$/m,
    /^after: +\S/m,
  ]) {
    if (!pattern.test(text)) throw new Error(`expected ${pattern}, got\n${text}`);
  }
  return text.match(/^step .*$/gm).join('\n');
}

/** Runs `use` with a page that must complain of nothing but of optional files that are not there. */
async function withPage(browser, url, use) {
  const page = await (await browser.newContext()).newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.text().includes('404')) complaints.push(message.text());
  });
  try {
    await page.goto(`${url}?steps=2`);
    const result = await use(page);
    if (complaints.length > 0) throw new Error(`the page complains: ${complaints.join('\n')}`);
    return result;
  } finally {
    await page.context().close();
  }
}

/** What the first page printed: all others run the same steps on the same adapter. */
let firstSteps = '';

const train = async (browser, folder, headers = POLICY) => trainAt(browser, await built(folder, headers));

async function trainAt(browser, server) {
  const text = await withServer(server, (url) =>
    withPage(browser, url, async (page) => {
      const button = page.getByRole('button', { name: 'Train' });
      await button.click();
      await page.waitForFunction(() => document.querySelector('button').disabled);
      await page.waitForFunction(() => !document.querySelector('button').disabled, null, { timeout: MINUTES * 60_000 });
      return page.getByRole('log').textContent();
    }),
  );
  const steps = expectSteps(text);
  firstSteps ||= steps;
  if (steps !== firstSteps) throw new Error(`expected the steps of the first page\n${firstSteps}\ngot\n${steps}`);
}

/** The page of examples/vite around a script that another bundler made, and the model beside it. */
function finishSite(folder) {
  const html = readFileSync(at('vite/index.html'), 'utf8').replace('./src/main.js', './main.js');
  writeFileSync(join(folder, 'index.html'), html);
  cpSync(at('node_modules/webgpu-sft/assets/tiny-llama'), join(folder, 'tiny-llama'), { recursive: true });
}

const useAdapter = ['--import', pathToFileURL(join(root, 'scripts/useAdapter.mjs')).href];

const TESTS = [
  {
    name: 'node',
    needs: 'adapter',
    run: async () => void expectSteps(await node([...useAdapter, 'train.mjs', '2'], at('node'))),
  },
  { name: 'html', needs: 'chromium', run: (browser) => train(browser, at('html')) },
  {
    name: 'vite',
    needs: 'chromium',
    async run(browser) {
      await runNpm(['run', 'build'], at('vite'));
      await train(browser, at('vite/dist'));
    },
  },
  {
    name: 'vite development',
    needs: 'chromium',
    async run(browser) {
      await runNpm(['run', 'model'], at('vite'));
      // The packages of all applications lie beside them.
      const options = { host: '127.0.0.1', fs: { allow: [scratch] } };
      const server = await createServer({ root: at('vite'), server: options, logLevel: 'warn' });
      await trainAt(browser, await server.listen());
    },
  },
  {
    name: 'esbuild',
    needs: 'chromium',
    async run(browser) {
      // esbuild leaves the address of the worker alone: the worker is one more entry, beside the page's.
      const build = `
        import { build } from 'esbuild';
        const entryPoints = { main: 'src/main.js', worker: 'webgpu-sft/worker' };
        await build({ entryPoints, bundle: true, splitting: true, format: 'esm', outdir: 'esbuild' });`;
      await node(['--input-type=module', '-e', build], at('vite'));
      finishSite(at('vite/esbuild'));
      await train(browser, at('vite/esbuild'));
    },
  },
  {
    name: 'webpack',
    needs: 'chromium',
    async run(browser) {
      // Not minified: that is webpack's work, and half a minute of it.
      const build = `
        import webpack from 'webpack';
        const output = { path: process.cwd() + '/webpack', filename: 'main.js' };
        const options = { mode: 'production', entry: './src/main.js', output, optimization: { minimize: false }, performance: false };
        webpack(options, (error, stats) => {
          if (error) throw error;
          const { errors, warnings } = stats.compilation;
          if (errors.length + warnings.length > 0) throw new Error(stats.toString('errors-warnings'));
        });`;
      await node(['--input-type=module', '-e', build], at('vite'));
      finishSite(at('vite/webpack'));
      await train(browser, at('vite/webpack'));
    },
  },
  {
    name: 'next',
    needs: 'chromium',
    async run(browser) {
      await runNpm(['run', 'build'], at('next'), { NEXT_TELEMETRY_DISABLED: '1', NODE_ENV: 'production' });
      // Pages of Next have scripts in them.
      await train(browser, at('next/out'), {});
    },
  },
  {
    name: 'surface',
    needs: 'chromium',
    async run(browser) {
      const folder = at('html');
      cpSync(join(root, 'test/package'), folder, { recursive: true });
      if (!existsSync(join(folder, 'tiny-llama')))
        symlinkSync(at('node_modules/webgpu-sft/assets/tiny-llama'), join(folder, 'tiny-llama'), 'junction');
      await withServer(await built(folder, POLICY), async (url) => {
        const inNode = `
          import * as api from 'webgpu-sft';
          import { check } from './surface.mjs';
          console.log('surface ' + JSON.stringify(await check(api, ${JSON.stringify(url)})));`;
        const output = await node([...useAdapter, '--input-type=module', '-e', inNode], folder);
        const ofNode = JSON.parse(/^surface (.*)$/m.exec(output)[1]);
        const ofPage = await withPage(browser, url, (page) =>
          page.evaluate(async () => {
            const load = (path) => import(new URL(path, location.href).href);
            const { check } = await load('surface.mjs');
            return check(await load('node_modules/webgpu-sft/dist/browser/index.js'), location.href);
          }),
        );
        for (const [where, { problems }] of Object.entries({ Node: ofNode, 'a page': ofPage })) {
          if (problems.length > 0) throw new Error(`in ${where}: ${problems.join('\n')}`);
        }
        const different = ofNode.names.filter((name) => !ofPage.names.includes(name));
        if (different.length > 0 || ofNode.names.length !== ofPage.names.length) {
          throw new Error(`expected the same names in Node and in a page, got ${ofNode.names} and ${ofPage.names}`);
        }
      });
    },
  },
];

async function testPackage() {
  const asked = process.argv.slice(2);
  const unknown = asked.filter((name) => !TESTS.some((test) => test.name === name));
  if (unknown.length > 0)
    throw new SetupError(`no such test: ${unknown.join(', ')}`, `one of ${TESTS.map(({ name }) => name).join(', ')}`);
  const missing = { adapter: setup({ adapterOptional: true }) };
  missing.chromium = await prepareChromium().then(
    () => null,
    (error) => error,
  );
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const begin = performance.now();
  const seconds = (since) => ((performance.now() - since) / 1000).toFixed(1);
  await install();
  process.stdout.write(`packed and installed (${seconds(begin)} s)\n`);
  const browser = missing.chromium ? null : await chromium.launch(launchOptions(readEnvironment().chromium));
  for (const { name, needs, run } of TESTS) {
    if (asked.length > 0 && !asked.includes(name)) continue;
    if (missing[needs]) {
      counts.skipped += 1;
      process.stdout.write(`skipped ${name}: ${missing[needs].message}\n`);
      continue;
    }
    const since = performance.now();
    try {
      await run(browser);
      counts.passed += 1;
      process.stdout.write(`passed ${name} (${seconds(since)} s)\n`);
    } catch (error) {
      counts.failed += 1;
      process.stdout.write(`FAILED ${name} (${seconds(since)} s): ${error.message}\n`);
    }
  }
  await browser?.close();
  report(counts);
}

try {
  if (!(await script(testPackage))) report({ passed: 0, failed: 1, skipped: 0 });
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
