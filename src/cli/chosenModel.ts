/** Which base and which adapter a command works with, from its config and flags. */
import { openFolder } from '#platform';
import { SftError } from '../platform/errors.ts';
import type { ReadableFolder } from '../platform/types.ts';
import type { Config } from '../train/config.ts';
import { setOverride } from '../train/configOverrides.ts';
import { type ModelName, openModelFolder, openNamedFolder } from '../train/namedFiles.ts';
import type { Call } from './command.ts';
import { showSources } from './downloads.ts';
import { readConfig } from './readConfig.ts';

export interface ChosenModel {
  readonly config: Config;
  /** The model to load: the base, or what a full fine-tune made. */
  readonly model: ModelName;
  /** Folder or hub id of the adapter, or null for none. */
  readonly adapter: string | null;
}

/** The base alone: that of the config, or what `--model` says. Throws `ARGUMENT`, `CONFIG`. */
export async function chooseBase(call: Call): Promise<Pick<ChosenModel, 'config' | 'model'>> {
  const { path, overrides = [] } = call.config;
  if (path === undefined && !overrides.some(({ key }) => key === 'model.name')) throw noModel();
  const { config } = await readConfig(call);
  return { config, model: config.model };
}

/** Opens the model with its weights. What comes from a hub is shown. Throws as `openModelFolder`. */
export function openChosen(
  call: Call,
  { model }: Pick<ChosenModel, 'model'>,
  signal?: AbortSignal,
): Promise<ReadableFolder> {
  return openModelFolder(model, { need: 'weights', ...showSources(call), signal });
}

/** Opens the adapter. What comes from a hub is shown. Throws as `openNamedFolder`. */
export function openChosenAdapter(
  call: Call,
  { config, adapter }: { readonly config: Config; readonly adapter: string },
  signal?: AbortSignal,
): Promise<ReadableFolder> {
  return openNamedFolder('adapter', adapter, { ...showSources(call), hubUrl: config.model.hub_url, signal });
}

function noModel(): SftError {
  return new SftError('ARGUMENT', 'model: expected a config or --model, got neither', {
    hint: 'give the config of a run, or --model FOLDER and, if there is one, --adapter FOLDER',
  });
}

/**
 * With a config: its base with `<output_dir>/final_model` as the adapter (after a full fine-tune: as the model), unless
 * `--model` or `--adapter` say otherwise. Without one: what the flags say, the base as it is stored.
 *
 * Throws `ARGUMENT`, `CONFIG`, and `ADAPTER` or `MODEL` where there is no final model yet.
 */
export async function chooseModel(call: Call): Promise<ChosenModel> {
  const adapter = (call.options.adapter as string | undefined) ?? null;
  const { path, overrides = [] } = call.config;
  const modelGiven = overrides.some(({ key }) => key === 'model.name');
  if (path === undefined) {
    if (!modelGiven) throw noModel();
    // Nothing is trained, and the base is loaded as it is stored.
    const { config } = await readConfig({
      ...call,
      config: { ...call.config, overrides: [setOverride('tuning.mode=lora'), ...overrides] },
    });
    return { config, model: config.model, adapter };
  }
  const { config } = await readConfig(call);
  const full = config.tuning.mode === 'full';
  if (adapter !== null || (full && modelGiven)) return { config, model: config.model, adapter };
  const trained = `${config.output_dir}/final_model`;
  if (await openFolder(trained).catch(() => null)) {
    return full
      ? { config, model: { name: trained }, adapter: null }
      : { config, model: config.model, adapter: trained };
  }
  throw new SftError(full ? 'MODEL' : 'ADAPTER', `${trained}: there is no such folder, the run has not ended`, {
    hint: `train it with \`webgpu-sft train ${path}\`, or name another with ${full ? '--model' : '--adapter'}`,
  });
}
