/** Which linear layers of a model carry LoRA, by PEFT's rules. A path names a layer: `model.layers.0.self_attn.q_proj`. */
import { type ErrorCode, SftError } from '../platform/errors.ts';

/** As in PEFT: names of layers, one regular expression for whole paths, or `all-linear`. */
export type TargetModules = readonly string[] | string;

const ALL_LINEAR = 'all-linear';

const Q_AND_V = ['q_proj', 'v_proj'] as const;

/** PEFT's default targets by `model_type` (TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING of PEFT 0.21). */
const DEFAULT_TARGETS: Readonly<Record<string, readonly string[]>> = {
  bloom: ['query_key_value'],
  codegen: ['qkv_proj'],
  falcon: ['query_key_value'],
  gemma: Q_AND_V,
  gemma2: Q_AND_V,
  gemma3_text: Q_AND_V,
  gpt2: ['c_attn'],
  gpt_bigcode: ['c_attn'],
  gpt_neo: Q_AND_V,
  gpt_neox: ['query_key_value'],
  gptj: Q_AND_V,
  llama: Q_AND_V,
  mistral: Q_AND_V,
  mixtral: Q_AND_V,
  mpt: ['Wqkv'],
  mt5: ['q', 'v'],
  opt: Q_AND_V,
  phi: ['q_proj', 'v_proj', 'fc1', 'fc2'],
  qwen2: Q_AND_V,
  qwen3: Q_AND_V,
  stablelm: Q_AND_V,
  t5: ['q', 'v'],
};

/** Names of a projection that gives queries, keys and values at once. */
const FUSED = ['qkv_proj', 'query_key_value', 'c_attn', 'Wqkv'];

/** PEFT's default for the model type; where it has none, the q and v projections, or the fused one. Throws `CONFIG`. */
export function defaultTargetModules(modelType: string, linears: Iterable<string>): readonly string[] {
  if (Object.hasOwn(DEFAULT_TARGETS, modelType)) return DEFAULT_TARGETS[modelType]!;
  const paths = [...linears];
  const exists = (name: string) => paths.some((path) => matchesName(name, path));
  if (Q_AND_V.every(exists)) return Q_AND_V;
  const fused = FUSED.filter(exists);
  if (fused.length > 0) return fused;
  throw new SftError('CONFIG', `tuning.lora.target_modules: there is no default for the model type "${modelType}"`, {
    hint: `name the layers, such as ${[...new Set(paths.map(lastPart))].join(', ')}, or use all-linear`,
  });
}

const lastPart = (path: string) => path.slice(path.lastIndexOf('.') + 1);

const matchesName = (name: string, path: string) => path === name || path.endsWith(`.${name}`);

/** Whether the targets, other than `all-linear`, name a path. Throws `code` when they are a bad regular expression. */
function matcher(targets: TargetModules, code: ErrorCode): (path: string) => boolean {
  if (typeof targets !== 'string') return (path) => targets.some((name) => matchesName(name, path));
  const pattern = fullPattern(targets, code);
  return (path) => pattern.test(path);
}

/** Python's `re.fullmatch`. What JavaScript would read differently is refused. */
function fullPattern(source: string, code: ErrorCode): RegExp {
  const refuse = (problem: string, cause?: unknown) =>
    new SftError(code, `target_modules: "${source}": ${problem}`, {
      hint: 'give a list of layer names, such as [q_proj, v_proj], or a plain regular expression for whole paths',
      cause,
    });
  const python = /\\[AZ]|\(\?[aiLmsux]|\(\?P[=>]|\{,/.exec(source);
  if (python) throw refuse(`"${python[0]}" has another meaning outside of Python`);
  try {
    return new RegExp(`^(?:${source.replaceAll('(?P<', '(?<')})$`);
  } catch (cause) {
    throw refuse(`expected a regular expression: ${(cause as Error).message}`, cause);
  }
}

export interface SelectedTargets {
  /** Paths of the layers that carry LoRA, in the order of the model. */
  readonly paths: readonly string[];
  /** For `adapter_config.json`: as given, or for `all-linear` the shortest names that no other module has. */
  readonly targetModules: TargetModules;
}

/** The modules of a model, by path. */
export interface ModelModules {
  /** Linear layers. */
  readonly linears: Iterable<string>;
  /** The linear layer that gives the logits; `all-linear` leaves it out. */
  readonly outputLayer: string;
  /** Modules that cannot carry LoRA, such as embeddings and norms: targets that name one are refused. */
  readonly others?: Iterable<string>;
}

/** Picks the layers that carry LoRA. Throws `code` when there is none, or when a target is no linear layer. */
export function selectTargets(
  targets: TargetModules,
  modules: ModelModules,
  code: ErrorCode = 'CONFIG',
): SelectedTargets {
  const { outputLayer } = modules;
  const linears = [...modules.linears];
  const others = [...(modules.others ?? [])];
  if (typeof targets === 'string' && targets.toLowerCase() === ALL_LINEAR) {
    const paths = linears.filter((path) => path !== outputLayer);
    return { paths, targetModules: shortestNames(paths, [...others, outputLayer]) };
  }
  const matches = matcher(targets, code);
  const wrong = others.find(matches);
  if (wrong !== undefined) {
    throw new SftError(code, `target_modules: "${wrong}" is no linear layer, and only linear layers can carry LoRA`);
  }
  const paths = linears.filter(matches);
  if (paths.length === 0) {
    const layers = [...new Set(linears.map(lastPart))].join(', ');
    throw new SftError(code, `target_modules: ${JSON.stringify(targets)} names no layer of this model`, {
      hint: `its linear layers are ${layers}`,
    });
  }
  return { paths, targetModules: typeof targets === 'string' ? targets : [...targets].sort() };
}

/** For each path the shortest of its endings that names none of the others. */
function shortestNames(paths: readonly string[], others: readonly string[]): string[] {
  const names = new Set<string>();
  for (const path of paths) {
    const parts = path.split('.');
    const endings = parts.map((_, index) => parts.slice(parts.length - 1 - index).join('.'));
    names.add(endings.find((ending) => !others.some((other) => matchesName(ending, other))) ?? path);
  }
  return [...names].sort();
}
