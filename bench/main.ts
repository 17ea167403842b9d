/** `npm run bench [-- --json] [NAME…]`: ratios, each measured side by side in this process. */
import { Gpu } from '../src/gpu/device.ts';
import { benchData } from './data.ts';
import { benchGenerate } from './generate.ts';
import { benchAttention, benchCrossEntropy, benchGemm, benchQuantized } from './kernels.ts';
import type { Result } from './measure.ts';
import { benchSteady, benchStep } from './step.ts';

const BENCHES = {
  gemm: benchGemm,
  quantized: benchQuantized,
  attention: benchAttention,
  'cross-entropy': benchCrossEntropy,
  step: benchStep,
  steady: benchSteady,
  data: benchData,
  generate: benchGenerate,
} as const;

const names = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const json = process.argv.includes('--json');
const unknown = names.filter((name) => !Object.hasOwn(BENCHES, name));
if (unknown.length > 0) {
  process.stderr.write(
    `error[ARGUMENT]: bench: expected names of benches, got ${unknown.join(', ')}\nhint: there are ${Object.keys(BENCHES).join(', ')}, and tab, which is run alone\n`,
  );
  process.exit(2);
}

const say = (line: string) => (json ? process.stderr : process.stdout).write(`${line}\n`);
const round = (value: number) =>
  Math.abs(value) >= 1e6 ? value.toExponential(3) : value.toFixed(value >= 100 ? 0 : 2);
const gpu = await Gpu.open();
say(`adapter: ${gpu.name} (${gpu.software ? 'software' : 'GPU'}), kernels: ${gpu.family}`);
const results: Result[] = [];
for (const [name, bench] of Object.entries(BENCHES)) {
  if (names.length > 0 && !names.includes(name)) continue;
  for await (const result of bench(gpu)) {
    results.push(result);
    const { name, ours, reference, ratio, unit, note } = result;
    const speeds = reference === null ? round(ours) : `${round(ours)} ÷ ${round(reference)}`;
    say(`${name.padEnd(44)} ${(ratio?.toFixed(3) ?? '').padStart(7)}   ${speeds} ${unit}   (${note})`);
  }
}
await gpu.close();
if (json) process.stdout.write(`${JSON.stringify({ adapter: gpu.name, results }, null, 2)}\n`);
