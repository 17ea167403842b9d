/** `webgpu-sft doctor`: every kernel against plain arithmetic, and what a bug report needs to know. */
import { Gpu } from '../../gpu/device.ts';
import { SELF_TEST_TOLERANCE, type SelfTestResult, selfTest } from '../../tensor/selfTest.ts';
import { type Call, printJson, say } from '../command.ts';
import { REPORT_FILE } from '../defaults.ts';
import { toSftError } from '../errors.ts';
import { shellQuote, table } from '../format.ts';
import { ownCommand } from '../ownCommand.ts';
import { refuseOtherFile, versions, writeReport } from '../report/report.ts';
import { openOptions } from './gpuInfo.ts';

/** What helps in the meantime. */
const ELSEWHERE = 'tuning.backend: portable, another driver or WEBGPU_SFT_ADAPTER may go on meanwhile';

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const { terminal } = call;
  const { report } = call.options as { report?: string | true };
  const file = report === true ? REPORT_FILE : report;
  if (file !== undefined) refuseOtherFile(file);
  const results: SelfTestResult[] = [];
  const opened: Gpu[] = [];
  let failure: unknown = null;
  try {
    // What is wrong in a config is in the report too.
    const gpu = await Gpu.open(await openOptions(call));
    opened.push(gpu);
    await test(call, gpu, results);
  } catch (error) {
    failure = error;
  }
  const [gpu] = opened;
  try {
    if (file !== undefined) {
      await writeReport(call, file, { gpu: gpu ?? null, results, failure: failure ? toSftError(failure) : null });
      say(call, `wrote ${file}: look through it, and attach it to the bug report`);
    }
  } finally {
    await gpu?.close();
  }
  if (failure || !gpu) throw failure;
  const ok = results.every((result) => result.ok);
  const { name, driver, software, family, backend } = gpu;
  const adapter = { name, driver, software, kernels: family, backend, features: [...gpu.features].sort() };
  if (call.json) {
    printJson(call, { ok, tolerance: SELF_TEST_TOLERANCE, results, adapter, versions: versions() });
    return ok ? 0 : 1;
  }
  const { bold, green, red } = terminal.colors.out;
  const rows = results.map(({ op, family: kernels, error, ok: right, failure }) => [
    op,
    kernels,
    error === null ? '-' : error.toExponential(1),
    right ? 'right' : `WRONG${failure === null ? '' : `: ${failure.split('\n')[0]}`}`,
  ]);
  const [head = '', ...lines] = table([['op', 'kernels', 'error', 'verdict'], ...rows], [2]);
  terminal.line('out', bold(head));
  for (const [index, line] of lines.entries()) terminal.line('out', results[index]?.ok ? line : red(line));
  terminal.line('out');
  const facts = [
    ['adapter', `${name}${software ? ', software' : ''}`],
    ['driver', driver || 'unknown'],
    ['kernels', `${family}, ${backend}`],
    ['features', adapter.features.join(', ')],
    ...Object.entries(versions()),
  ];
  for (const line of table(facts)) terminal.line('out', line);
  const wrong = results.filter((result) => !result.ok).length;
  terminal.line(
    'out',
    ok ? green('all kernels are right') : red(`${wrong} of ${results.length} are wrong on this adapter`),
  );
  const config = call.config.path === undefined ? '' : ` ${shellQuote(call.config.path)}`;
  if (ok) say(call, `next: ${ownCommand()} check${config || ' CONFIG'} looks at a run`);
  else if (file === undefined)
    say(call, `next: ${ownCommand()} doctor${config} --report writes a file for a bug report; ${ELSEWHERE}`);
  else say(call, `next: ${ELSEWHERE}`);
  return ok ? 0 : 1;
}

async function test(call: Call, gpu: Gpu, results: SelfTestResult[]): Promise<void> {
  const { terminal, quiet } = call;
  try {
    for await (const result of selfTest(gpu)) {
      results.push(result);
      if (!quiet) terminal.setStatus('err', `${result.family} kernels: ${result.op}`);
    }
  } finally {
    terminal.setStatus('err', null);
  }
}
