/** `webgpu-sft doctor`: every kernel against plain arithmetic, and what a bug report needs to know. */
import { arch, platform, release } from 'node:os';
import { Gpu, SELF_TEST_TOLERANCE, type SelfTestResult, selfTest, VERSION } from '../../index.ts';
import { type CommandSpec, printJson } from '../command.ts';
import { table } from '../format.ts';
import { openOptions } from './gpuInfo.ts';

export const doctor: CommandSpec = {
  json: 'results, adapter and versions as one document',
  examples: ['webgpu-sft doctor > report.txt'],
  async run(call) {
    const { terminal, quiet } = call;
    const gpu = await Gpu.open(await openOptions(call));
    const results: SelfTestResult[] = [];
    try {
      for await (const result of selfTest(gpu)) {
        results.push(result);
        if (!quiet) terminal.setStatus('err', `${result.family} kernels: ${result.op}`);
      }
    } finally {
      terminal.setStatus('err', null);
      await gpu.close();
    }
    const ok = results.every((result) => result.ok);
    const { name, driver, software, family, backend } = gpu;
    const adapter = { name, driver, software, kernels: family, backend, features: [...gpu.features].sort() };
    const system = `${platform()} ${release()} ${arch()}`;
    const versions = { 'webgpu-sft': VERSION, node: process.versions.node, system };
    if (call.json) {
      printJson(call, { ok, tolerance: SELF_TEST_TOLERANCE, results, adapter, versions });
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
      ...Object.entries(versions),
    ];
    for (const line of table(facts)) terminal.line('out', line);
    const wrong = results.filter((result) => !result.ok).length;
    terminal.line(
      'out',
      ok ? green('all kernels are right') : red(`${wrong} of ${results.length} are wrong; attach this to a bug report`),
    );
    return ok ? 0 : 1;
  },
};
