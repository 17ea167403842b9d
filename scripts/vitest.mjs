/** Runs vitest and counts. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder, readJson, runNode } from './common.mjs';

/**
 * Counts vitest's JSON report. A file that failed before its first test counts as one failed; so does a run that ended
 * badly although every test passed (an error outside the tests), or with no report at all.
 */
export function countResults(report, exitCode) {
  const {
    numPassedTests: passed = 0,
    numFailedTests = 0,
    numPendingTests = 0,
    numTodoTests = 0,
    testResults = [],
  } = report ?? {};
  const broken = testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
  );
  const failed = numFailedTests + broken.length;
  return { passed, failed: failed === 0 && exitCode !== 0 ? 1 : failed, skipped: numPendingTests + numTodoTests };
}

/** Names after `--project`, none when all are meant. */
export function askedProjects(args) {
  return args.flatMap((arg, i) =>
    arg === '--project' ? [args[i + 1]] : arg.startsWith('--project=') ? [arg.slice(10)] : [],
  );
}

export async function runVitest(args, env) {
  const file = join(cacheFolder, 'test-results.json');
  rmSync(file, { force: true });
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
  const exitCode = await runNode(['node_modules/vitest/vitest.mjs', 'run', ...reporters, ...args], env);
  return countResults(readJson(file), exitCode);
}

/** Prints the line that ends every test command, and sets the exit code. */
export function report({ passed, failed, skipped }) {
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  if (failed > 0) process.exitCode = 1;
}
