/** `export --to bnb`: the base as a 4-bit folder of bitsandbytes. */
import { basename, dirname, resolve } from 'node:path';
import { EXPORT_FILE } from '../../model/recordFiles.ts';
import { exportToBnb } from '../../train/library.ts';
import { chooseBase, openChosen } from '../chosenModel.ts';
import { type Call, say } from '../command.ts';
import { bytes } from '../format.ts';
import { refuseForeign } from '../ownFolder.ts';
import { whileShown } from './progress.ts';

export async function exportBnb(call: Call, wanted: string | undefined): Promise<number> {
  const chosen = await chooseBase(call);
  const { config } = chosen;
  const { name } = chosen.model;
  const { block_size: blockSize, double_quant: doubleQuant } = config.tuning.quantization;
  const shown = wanted ?? `${config.output_dir}/bnb`;
  const out = resolve(shown);
  await refuseForeign(out, EXPORT_FILE, 'export');
  const ofBytes = (done: number, total: number) => `${bytes(done)} of ${bytes(total)}`;
  await whileShown(call, `quantising ${name}`, ofBytes, async ({ signal, onProgress }) => {
    const model = await openChosen(call, chosen, signal);
    await exportToBnb(model, dirname(out), basename(out), { blockSize, doubleQuant, signal, onProgress });
  });
  say(call, `wrote ${name} in 4 bits: ${shown}`);
  return 0;
}
