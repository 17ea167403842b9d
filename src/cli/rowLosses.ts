/** The losses that `inspect --loss` shows. The engine is loaded for nothing else of `inspect`. */
import type { Config } from '../train/config.ts';
import { tokenLosses } from '../train/evaluate.ts';
import { gpuOptions } from '../train/gpuOptions.ts';
import { loadModel, requestDevice } from '../train/library.ts';
import { templateChoice } from '../train/openText.ts';
import { quantizationOf } from '../train/planMemory.ts';
import { openChosen } from './chosenModel.ts';
import type { Call } from './command.ts';
import type { DataRow, Losses } from './tokenView.ts';

/** Yields each row with the loss of each of its tokens, under the base model and `--adapter`. */
export async function* rowLosses(
  call: Call,
  config: Config,
  rows: readonly DataRow[],
): AsyncGenerator<{ readonly row: DataRow; readonly losses: Losses }, void> {
  const { adapter } = call.options as { readonly adapter?: string };
  const gpu = await requestDevice(gpuOptions(config));
  try {
    const options = {
      dtype: config.model.dtype,
      quantization: quantizationOf(config.tuning),
      ...(await templateChoice(config)),
      ...(adapter && { adapter }),
    };
    const model = await loadModel(await openChosen(call, { model: config.model }), gpu, options);
    for (const row of rows) yield { row, losses: await tokenLosses(model, row) };
    await model.close();
  } finally {
    await gpu.close();
  }
}
