/**
 * `npm test [-- FILE… | --project NAME | …]`: makes everything ready, runs the tests, and ends with one line that counts.
 *
 * Projects: unit; gpu on the best adapter; swiftshader and browser run the kernels' tests once more; demo drives the demo page.
 * One that cannot run on this machine is named with the reason and counted as skipped, as are the tokenizers of real models where
 * npm has no connection.
 */
import { SetupError, script } from './common.mjs';
import { prepareChromium, prepareSwiftshader, setup } from './setup.mjs';
import { prepareTokenizers } from './tokenizers.mjs';
import { askedProjects, report, runVitest } from './vitest.mjs';

const args = process.argv.slice(2);

/** The error that keeps a project from running, or null. */
async function problemOf(prepare) {
  try {
    await prepare();
    return null;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    return error;
  }
}

async function test() {
  const asked = askedProjects(args);
  const wants = (name) => asked.length === 0 || asked.includes(name);
  const noAdapter = setup({ adapterOptional: true });
  const problems = { gpu: noAdapter };
  problems.swiftshader = noAdapter ?? (wants('swiftshader') ? await problemOf(prepareSwiftshader) : null);
  for (const name of ['browser', 'demo']) problems[name] = wants(name) ? await problemOf(prepareChromium) : null;
  // Where files or projects are named, those that are there are enough.
  problems.tokenizers = args.length === 0 ? await problemOf(prepareTokenizers) : null;

  const missing = Object.entries(problems).filter(([name, problem]) => problem && wants(name));
  const idle = asked.length > 0 && asked.every((name) => problems[name]);
  const counts = idle ? { passed: 0, failed: 0, skipped: 0 } : await runVitest(args);
  for (const [name, { message, hint }] of missing) process.stdout.write(`skipped ${name}: ${message}; ${hint}\n`);
  report({ ...counts, skipped: counts.skipped + missing.length });
}

if (!(await script(test))) report({ passed: 0, failed: 1, skipped: 0 });
