/** `adapter_config.json` of a LoRA adapter, with the fields of PEFT 0.21. */
import { SftError } from '../platform/errors.ts';
import { readText } from '../platform/sources.ts';
import type { ReadableFolder } from '../platform/types.ts';
import type { TargetModules } from './loraTargets.ts';

export const ADAPTER_CONFIG_FILE = 'adapter_config.json';

/** What this project uses of an adapter's configuration. Names as in PEFT. */
export interface AdapterConfig {
  readonly base_model_name_or_path: string | null;
  readonly revision: string | null;
  readonly task_type: 'CAUSAL_LM' | 'SEQ_2_SEQ_LM' | null;
  readonly r: number;
  readonly lora_alpha: number;
  readonly lora_dropout: number;
  readonly use_rslora: boolean;
  readonly target_modules: TargetModules;
}

/** What LoRA's part of the output is multiplied with: alpha / r, or alpha / √r with rank stabilisation. */
export function loraScaling({
  r,
  lora_alpha,
  use_rslora,
}: Pick<AdapterConfig, 'r' | 'lora_alpha' | 'use_rslora'>): number {
  return lora_alpha / (use_rslora ? Math.sqrt(r) : r);
}

/** Fields that change nothing in how a trained adapter is applied: readers may find anything in them. */
const NEUTRAL = {
  auto_mapping: null,
  ensure_weight_tying: false,
  inference_mode: true,
  loftq_config: {},
  megatron_core: 'megatron.core',
  peft_version: '0.21.2',
  qalora_group_size: 16,
} as const;

/** Fields of features that this project does not have, switched off. An adapter that switches one on is refused. */
const SWITCHED_OFF = {
  alora_invocation_tokens: null,
  alpha_pattern: {},
  arrow_config: null,
  bias: 'none',
  corda_config: null,
  eva_config: null,
  exclude_modules: null,
  fan_in_fan_out: false,
  init_lora_weights: true,
  kasa_config: null,
  layer_replication: null,
  layers_pattern: null,
  layers_to_transform: null,
  lora_bias: false,
  lora_ga_config: null,
  megatron_config: null,
  modules_to_save: null,
  monteclora_config: null,
  rank_pattern: {},
  target_parameters: null,
  trainable_token_indices: null,
  use_bdlora: null,
  use_dora: false,
  use_qalora: false,
  velora_config: null,
} as const;

/** The text of `adapter_config.json`, as PEFT writes it: all fields, sorted, two spaces. */
export function adapterConfigJson(config: AdapterConfig): string {
  const { target_modules } = config;
  const fields: Record<string, unknown> = {
    ...NEUTRAL,
    ...SWITCHED_OFF,
    ...config,
    peft_type: 'LORA',
    target_modules: typeof target_modules === 'string' ? target_modules : [...target_modules].sort(),
  };
  return JSON.stringify(Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1))), null, 2);
}

/** Reads and checks `adapter_config.json`. Throws `ADAPTER`, naming every field that is wrong or unsupported. */
export async function readAdapterConfig(folder: ReadableFolder): Promise<AdapterConfig> {
  if (!(await folder.has(ADAPTER_CONFIG_FILE))) {
    throw new SftError('ADAPTER', `${folder.name}: expected a PEFT adapter, found no ${ADAPTER_CONFIG_FILE}`, {
      hint: 'name a folder with adapter_config.json and adapter_model.safetensors, such as outputs/run/final_model',
    });
  }
  return parseAdapterConfig(await readText(folder, ADAPTER_CONFIG_FILE), `${folder.name}/${ADAPTER_CONFIG_FILE}`);
}

/** `where` names the file in messages. */
export function parseAdapterConfig(text: string, where: string): AdapterConfig {
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    throw new SftError('ADAPTER', `${where}: expected JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    throw new SftError('ADAPTER', `${where}: expected a JSON object`);
  }

  const problems: string[] = [];
  const field = <T>(name: string, fits: (value: unknown) => value is T, expected: string, fallback?: T): T => {
    const value = fields[name] ?? fallback;
    if (!fits(value)) problems.push(`${name}: expected ${expected}, got ${JSON.stringify(fields[name]) ?? 'nothing'}`);
    return value as T;
  };
  field('peft_type', (value): value is 'LORA' => value === 'LORA', '"LORA"');
  // The fallbacks are PEFT's defaults for fields that are absent.
  const config: AdapterConfig = {
    base_model_name_or_path: field('base_model_name_or_path', isTextOrNull, 'text', null),
    revision: field('revision', isTextOrNull, 'text', null),
    task_type: field('task_type', isTaskType, '"CAUSAL_LM" or "SEQ_2_SEQ_LM"', null),
    r: field('r', isRank, 'an integer of at least 1', 8),
    lora_alpha: field('lora_alpha', isNumber, 'a number', 8),
    lora_dropout: field('lora_dropout', isNumber, 'a number', 0),
    use_rslora: field('use_rslora', isBoolean, 'true or false', false),
    target_modules: field('target_modules', isTargetModules, 'a list of names or a regular expression'),
  };
  for (const [name, value] of Object.entries(fields)) {
    if (name === 'peft_type' || Object.hasOwn(config, name) || Object.hasOwn(NEUTRAL, name) || isOff(name, value))
      continue;
    problems.push(`${name}: ${JSON.stringify(value)} is not supported`);
  }
  if (problems.length > 0) {
    throw new SftError('ADAPTER', `${where}: ${problems.join('; ')}`, {
      hint: 'plain LoRA adapters can be read; merge this one into its base with PEFT and use the merged model',
    });
  }
  return config;
}

const isTextOrNull = (value: unknown): value is string | null => value === null || typeof value === 'string';
const isBoolean = (value: unknown): value is boolean => typeof value === 'boolean';
const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);
const isRank = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 1;
const isTaskType = (value: unknown): value is AdapterConfig['task_type'] =>
  value === null || value === 'CAUSAL_LM' || value === 'SEQ_2_SEQ_LM';
const isTargetModules = (value: unknown): value is TargetModules =>
  typeof value === 'string' ||
  (Array.isArray(value) && value.length > 0 && value.every((name) => typeof name === 'string'));

/** How A and B were initialised matters no more once they are trained, unless the base was changed with them. */
const CHANGES_BASE = /^(pissa|olora|corda|loftq|lora_ga)/;

/** Whether a field, also one that PEFT will only have in the future, leaves its feature unused. */
function isOff(name: string, value: unknown): boolean {
  if (name === 'bias') return value === 'none';
  if (name === 'init_lora_weights') return !CHANGES_BASE.test(String(value));
  return value === null || value === false || (typeof value === 'object' && Object.keys(value).length === 0);
}
