/** Everything that can be known to be wrong with a run before it begins: all problems, not only the first. */
import { openFolder, openStore } from '#platform';
import type { LabelledTokens } from '../data/labels.ts';
import type { Split } from '../data/split.ts';
import { loadChatTemplate } from '../data/template.ts';
import { loadTokenizer } from '../data/tokenizer.ts';
import { Endings, endTokens } from '../eval/endTokens.ts';
import type { ModelText } from '../eval/modelText.ts';
import { Gpu, type GpuTraits } from '../gpu/device.ts';
import { readAdapterConfig } from '../model/adapterConfig.ts';
import { openAdapterFolder, optionsOf } from '../model/lora.ts';
import { countParameters, type ModelFiles, openModel } from '../model/modelFiles.ts';
import { type ErrorCode, SftError } from '../platform/errors.ts';
import { openAnswerScores } from './answerScores.ts';
import { type Budget, findBudget, overBudget } from './budget.ts';
import { type CheckedSplit, RowInspector, RowSizes } from './checkData.ts';
import type { Config } from './config.ts';
import type { CheckedConfig } from './configCheck.ts';
import { type ConfigRequest, checkConfig } from './configFile.ts';
import { openJsonSchema } from './evaluation.ts';
import { gpuOptions } from './gpuOptions.ts';
import { exists, openModelFolder, openNamedFolder } from './namedFiles.ts';
import { openRowsAs, sourceOptions } from './openRows.ts';
import { templateChoice } from './openText.ts';
import {
  declareModel,
  IMAGINED_GPU,
  loraOptions,
  type MemoryPlan,
  type PlannedRows,
  planOf,
  RunPlanner,
} from './planMemory.ts';
import { cheapestChange, describeChange } from './remedies.ts';
import { hasEvaluation, type RunOptions } from './run.ts';

/** What would stop a run. */
export interface Problem {
  readonly code: ErrorCode;
  /** A key, `file:line:column`, or what the problem is about. */
  readonly where: string;
  readonly message: string;
  readonly hint: string;
}

/** What was found. Parts that could not be looked at, because of a problem, are null. */
export interface RunCheck {
  /** Resolved, all keys; null when a file could not be read. */
  readonly config: Config | null;
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
  readonly model: { readonly name: string; readonly type: string; readonly parameters: number } | null;
  /** Where the chat template came from; null when there is none. */
  readonly template: string | null;
  /** The splits that could be read; null where none could be looked at. */
  readonly splits: readonly CheckedSplit[];
  readonly adapter: { readonly name: string; readonly kernels: string } | null;
  readonly plan: MemoryPlan | null;
}

/** A template that fails for one row fails for most: so many of its complaints tell enough. */
const MAX_TEMPLATE_PROBLEMS = 20;

/** Looks at everything that a run needs: of a configuration to be read, or of one that `checkConfigObject` has. Writes nothing. */
export async function checkRun(
  request: ConfigRequest | CheckedConfig,
  options: Pick<RunOptions, 'onProgress' | 'signal'> = {},
): Promise<RunCheck> {
  const checked = 'problems' in request ? request : await checkConfig(request);
  const { config, problems: wrong, given } = checked;
  const warnings = [...checked.warnings];
  const problems: Problem[] = [...wrong];
  const attempt = async <T>(look: () => Promise<T> | T): Promise<T | null> => {
    try {
      return await look();
    } catch (error) {
      if (!(error instanceof SftError)) throw error;
      problems.push(toProblem(error));
      return null;
    }
  };
  const nothing = { model: null, template: null, splits: [], adapter: null, plan: null };
  if (!config) return { config, problems, warnings, ...nothing };

  const traits = await attempt(() => openTraits(config));
  const gpu = traits ?? { ...IMAGINED_GPU, name: '' };
  const opening = { ...options, onWarning: (message: string) => warnings.push(message) };
  const folder =
    config.model.name === '' ? null : await attempt(() => openModelFolder(config.model, sourceOptions(opening)));
  const files = folder && (await attempt(() => openModel(folder)));
  const tokenizer = folder && (await attempt(() => loadTokenizer(folder)));
  const template =
    folder &&
    (await attempt(async () => loadChatTemplate(folder, tokenizer?.namedTokens ?? {}, await templateChoice(config))));
  // Where the template itself is wrong, rows would only say so again.
  const templateIsWrong = problems.some(({ code }) => code === 'TEMPLATE');
  const splits: CheckedSplit[] = [];
  const endings = tokenizer && files && new Endings({ tokenizer, template }, endTokens(files, tokenizer));
  const inspector = tokenizer && new RowInspector(tokenizer, endings);
  const sizes = new RowSizes(config.model.max_seq_len);
  const rows = async (split: Split, text: ModelText): Promise<readonly LabelledTokens[] | null> => {
    const before = problems.length;
    let complaints = 0;
    const onProblem = (problem: SftError) => {
      complaints += problem.code === 'TEMPLATE' ? 1 : 0;
      if (complaints > MAX_TEMPLATE_PROBLEMS) throw problem;
      problems.push(toProblem(problem));
    };
    const { see, findings } = inspector!.inspect(split);
    try {
      const data = await openRowsAs(config, split, text, { ...opening, onProblem }, (row, result) => {
        see(row, result);
        return 'dropped' in result ? null : sizes.of(result);
      });
      if (data) splits.push({ split, report: data.report, findings: findings() });
      return data?.rows ?? null;
    } catch (error) {
      if (!(error instanceof SftError)) throw error;
      // With bad rows, that none is left is no news; what is wrong with the configuration was told before.
      if (problems.length === before && error.code !== 'CONFIG') problems.push(toProblem(error));
      return null;
    }
  };
  const readable = tokenizer && !templateIsWrong ? { tokenizer, template: template ?? null } : null;
  const train = readable && (await rows('train', readable));
  const ending = endings?.warning() ?? null;
  const evaluation = readable && (await hasEvaluation(config, given)) ? await rows('val', readable) : null;
  const test = config.data.test_path;
  if (readable && test !== null && (given.has('data.test_path') || (await exists(test)))) await rows('test', readable);
  await attempt(() => openJsonSchema(config));
  const schemaIsWrong = problems.some(({ where, message }) => `${where}: ${message}`.includes('eval.schema'));
  if (readable && evaluation && !schemaIsWrong) await attempt(() => openAnswerScores(config, readable, options));
  const budget = traits && (await attempt(() => findBudget(config, traits)));
  const planned = train && { train, eval: evaluation ?? [] };
  const plan = files && (await attempt(() => planWithin(files, config, planned, gpu, budget)));
  if (files) await attempt(() => checkInitial(files, config, gpu));
  await attempt(() => checkOutput(config));
  await files?.checkpoint.close();
  return {
    config,
    problems,
    warnings: ending === null ? warnings : [...warnings, `train: ${ending}`],
    model: files && { name: config.model.name, type: files.spec.modelType, parameters: countParameters(files) },
    template: template?.source ?? null,
    splits,
    adapter: traits && { name: traits.name, kernels: traits.family },
    plan,
  };
}

/** `where` is what stands before the first colon that is followed by a space. */
function toProblem({ code, message, hint }: SftError): Problem {
  const [, where = '', rest = message] = /^(.*?): (.*)$/s.exec(message) ?? [];
  return { code, where, message: rest, hint: hint ?? '' };
}

/** What the adapter in use can do. Throws `NO_GPU`. */
async function openTraits(config: Config): Promise<GpuTraits & { readonly name: string; readonly software: boolean }> {
  const gpu = await Gpu.open(gpuOptions(config));
  const { name, software, family, subgroupSize, nativeF16, limits } = gpu;
  await gpu.close();
  return { name, software, family, subgroupSize, nativeF16, limits };
}

/** The plan of the run. Also finds weights that do not fit config.json, and targets that name no layer. */
function planWithin(
  files: ModelFiles,
  config: Config,
  rows: PlannedRows | null,
  traits: GpuTraits,
  budget: Budget | null,
): MemoryPlan {
  const planner = new RunPlanner(files, config, traits, rows, loraOptions(config.tuning));
  const choice = planner.choose(budget);
  const plan = planOf(planner, choice);
  if (budget === null || plan.peak_bytes <= budget.bytes) return plan;
  const change = cheapestChange({ files, config, traits, rows }, choice, budget);
  throw overBudget(plan.peak_bytes, budget, change && `set ${describeChange(change)}`);
}

/** The adapter to start from must fit the base. */
async function checkInitial(files: ModelFiles, config: Config, traits: GpuTraits): Promise<void> {
  const path = config.tuning.lora.init_from;
  if (path === null || config.tuning.mode === 'full') return;
  const folder = await openNamedFolder('initFrom', path, { hubUrl: config.model.hub_url });
  const { decoder } = declareModel(files, config, traits, optionsOf(await readAdapterConfig(folder)));
  await openAdapterFolder(folder, decoder);
}

/** Throws `IO` when the output folder cannot be written, `BUSY` when another run writes there. */
async function checkOutput(config: Config): Promise<void> {
  if (!(await openFolder(config.output_dir).catch(() => null))) return;
  const release = await (await openStore(config.output_dir)).lock();
  await release();
}
