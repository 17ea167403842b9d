/** The file of `doctor --report`: what a bug report needs to know of this machine and this run. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { arch, cpus, platform, release, totalmem } from 'node:os';
import { stringify } from 'yaml';
import { listAdapters, openStore } from '#platform';
import type { Gpu } from '../../gpu/device.ts';
import { SftError } from '../../platform/errors.ts';
import { VERSION } from '../../platform/version.ts';
import { SELF_TEST_TOLERANCE, type SelfTestResult } from '../../tensor/selfTest.ts';
import { findBudget } from '../../train/budget.ts';
import type { Config } from '../../train/config.ts';
import { checkConfig } from '../../train/configFile.ts';
import type { Call } from '../command.ts';
import { redactConfig, scrub } from './redact.ts';

const HEAD =
  '# Report of webgpu-sft doctor, to be attached to a bug report. Private paths, names and tokens were taken out.';

/** Variables that change what runs. Of those that may be private, only that they are set. */
const VARIABLES = ['WEBGPU_SFT_ADAPTER', 'HF_HUB_OFFLINE', 'NODE_OPTIONS', 'VK_ICD_FILENAMES', 'VK_DRIVER_FILES'];
const PRIVATE_VARIABLES = ['HF_TOKEN', 'HF_ENDPOINT', 'HF_HOME', 'WANDB_API_KEY', 'WANDB_BASE_URL', 'HTTPS_PROXY'];

export interface Findings {
  /** Null where no device could be opened. */
  readonly gpu: Gpu | null;
  readonly results: readonly SelfTestResult[];
  /** Why the tests did not come to their end. */
  readonly failure: SftError | null;
}

/** Throws `ARGUMENT` for a file that is something else: it would be overwritten. */
export function refuseOtherFile(path: string): void {
  if (!existsSync(path) || readFileSync(path, 'utf8').startsWith(HEAD)) return;
  throw new SftError('ARGUMENT', `--report: ${path}: expected a new file or an earlier report`, {
    hint: 'choose another name: what is in this one would be lost',
  });
}

/** Writes the file. Throws `IO`. */
export async function writeReport(call: Call, path: string, findings: Findings): Promise<void> {
  const report = scrub({
    versions: versions(),
    machine: { cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length, memory_bytes: totalmem() },
    environment: variables(),
    adapters: await listAdapters().catch((error: unknown) => String(error)),
    adapter: findings.gpu && (await adapterFacts(findings.gpu)),
    failure: findings.failure && { code: findings.failure.code, message: findings.failure.message.split('\n')[0] },
    kernels: kernels(findings.results),
    ...(await configFacts(call)),
  });
  try {
    writeFileSync(path, `${HEAD}\n${stringify(report, { lineWidth: 0 })}`);
  } catch (cause) {
    throw new SftError('IO', `--report: ${(cause as Error).message}`, { cause });
  }
}

/** What runs this program. */
export function versions(): Readonly<Record<string, string>> {
  return { 'webgpu-sft': VERSION, node: process.versions.node, system: `${platform()} ${release()} ${arch()}` };
}

function variables(): Record<string, string> {
  const given = VARIABLES.map((name) => [name, process.env[name] ?? ''] as const);
  const hidden = PRIVATE_VARIABLES.map((name) => [name, process.env[name] ? 'set' : ''] as const);
  return Object.fromEntries([...given, ...hidden].filter(([, value]) => value !== ''));
}

async function adapterFacts(gpu: Gpu): Promise<object> {
  const { name, driver, software, family, backend, subgroupSize, limits } = gpu;
  const memory = await findBudget({ memory: { budget_gib: null } }, { name, software });
  const features = [...gpu.features].sort();
  return { name, driver, software, kernels: family, backend, subgroup_size: subgroupSize, memory, features, limits };
}

function kernels(results: readonly SelfTestResult[]): object {
  const wrong = results.filter(({ ok }) => !ok);
  return { tested: results.length, tolerance: SELF_TEST_TOLERANCE, wrong };
}

/** The configuration that was named, and what its run has said of itself. */
async function configFacts(call: Call): Promise<object> {
  const { path, overrides = [] } = call.config;
  if (path === undefined && overrides.length === 0) return {};
  const { config, problems } = await checkConfig(call.config);
  if (!config || problems.length > 0) {
    return { config_problems: problems.map(({ where, message }) => `${where}: ${message}`) };
  }
  const isOnHub = /^[\w.-]+\/[\w.-]+$/.test(config.model.name) && !existsSync(config.model.name);
  return { config: redactConfig(config, isOnHub), run: await runFacts(config) };
}

async function runFacts({ output_dir }: Config): Promise<unknown> {
  const store = await openStore(output_dir);
  const read = async (file: string): Promise<unknown> => {
    const bytes = await store.read(file).catch(() => null);
    try {
      return bytes && (JSON.parse(new TextDecoder().decode(bytes)) as unknown);
    } catch {
      return 'no JSON';
    }
  };
  return { backend: await read('backend.json'), memory: await read('memory.json') };
}
