/** Loads the model that a command works with, and shows how far that is. */
import type { LanguageModel, LoadOptions } from '../eval/languageModel.ts';
import { loadModel } from '../train/library.ts';
import { templateChoice } from '../train/openText.ts';
import { quantizationOf } from '../train/planMemory.ts';
import { type ChosenModel, openChosen, openChosenAdapter } from './chosenModel.ts';
import type { Call } from './command.ts';
import { bytes } from './format.ts';

/** Tokens that there is room for where rows need fewer. */
const CONVERSATION = 2048;

export async function loadChosen(
  call: Call,
  chosen: ChosenModel,
  gpu: LanguageModel['gpu'],
  options: Pick<LoadOptions, 'maxLength' | 'signal'>,
): Promise<LanguageModel> {
  const { terminal, quiet } = call;
  const { config, model, adapter: name } = chosen;
  const adapter = name === null ? null : await openChosenAdapter(call, { config, adapter: name }, options.signal);
  const loaded = await loadModel(await openChosen(call, chosen, options.signal), gpu, {
    dtype: config.model.dtype,
    quantization: quantizationOf(config.tuning),
    ...(adapter && { adapter }),
    ...(await templateChoice(config)),
    maxLength: Math.max(CONVERSATION, config.model.max_seq_len),
    ...options,
    onProgress(done, total) {
      if (!quiet) terminal.setStatus('err', `loading ${model.name}: ${bytes(done)} of ${bytes(total)}`);
    },
  });
  terminal.setStatus('err', null);
  return loaded;
}
