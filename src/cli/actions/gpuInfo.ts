/** `webgpu-sft gpu-info`: adapters, and which kernels they would run. */
import { listAdapters } from '#platform';
import { type Family, Gpu } from '../../gpu/device.ts';
import { findBudget } from '../../train/budget.ts';
import type { Config } from '../../train/config.ts';
import { gpuOptions } from '../../train/gpuOptions.ts';
import { type Call, printJson, say } from '../command.ts';
import { bytes, table } from '../format.ts';
import { ownCommand } from '../ownCommand.ts';
import { readConfig } from '../readConfig.ts';

const WHY: Readonly<Record<Family, string>> = {
  broadcast: 'the adapter runs on the CPU and all its subgroups have one size: values are handed round by broadcast',
  registers: 'the adapter runs on the CPU, without subgroups of one size: sums stay in registers',
  tiled: 'the adapter is a GPU: tiles of the matrices go through workgroup memory',
};

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const adapters = await listAdapters();
  const gpu = await Gpu.open(await openOptions(call));
  const { name, driver, software, family, backend, subgroupSize } = gpu;
  const features = [...gpu.features].sort();
  const { limits } = gpu;
  await gpu.close();
  const why = WHY[family];
  const memory = await findBudget({ memory: { budget_gib: null } }, { name, software });
  if (call.json) {
    const known = { memory_bytes: memory.guess ? null : memory.bytes, memory_source: memory.source };
    const used = { name, driver, software, features, limits, subgroup_size: subgroupSize, ...known };
    printJson(call, { adapters, adapter: used, backend, kernels: family, why });
    return 0;
  }
  const { terminal } = call;
  const { bold, green, dim } = terminal.colors.out;
  terminal.line('out', bold('adapters'));
  for (const entry of adapters) {
    const inUse = entry.name === name;
    const line = `${inUse ? '>' : ' '} ${entry.name} [${entry.backend}]`;
    terminal.line('out', inUse ? green(line) : line);
  }
  const rows = [
    ['driver', driver || 'unknown'],
    ['kind', software ? 'software: it runs on the CPU' : 'GPU'],
    ['memory', `a run may take ${bytes(memory.bytes)}: ${memory.source}; memory.budget_gib sets another budget`],
    ['features', features.join(', ')],
    ['largest buffer', bytes(limits.bufferBytes)],
    ['largest binding', bytes(limits.bindingBytes)],
    ['bindings', `${limits.storageBuffers} storage buffers in one kernel`],
    ['workgroup', `${limits.workgroupInvocations} invocations, ${bytes(limits.workgroupStorageBytes)} of memory`],
    ['subgroups', subgroupSize > 0 ? `all of ${subgroupSize}` : 'of no fixed size, or not used'],
    ['kernels', `${family}, ${backend === 'portable' ? 'without optional features' : 'with the optional features'}`],
  ];
  for (const line of table(rows)) terminal.line('out', line);
  terminal.line('out', dim(`because ${why}`));
  if (software)
    say(call, 'a GPU is many times faster: one with a driver for Vulkan, Metal or Direct3D 12 is found by itself');
  const own = ownCommand();
  say(call, `next: ${own} doctor tests the kernels on it, ${own} memory-check CONFIG says what fits`);
  return 0;
}

/** What a config says about the device, if there is one. */
export async function openOptions(call: Call): Promise<Parameters<typeof Gpu.open>[0]> {
  const { path, overrides = [] } = call.config;
  if (path === undefined && overrides.length === 0) return {};
  const { config }: { config: Config } = await readConfig(call);
  return gpuOptions(config);
}
