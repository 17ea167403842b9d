/** `export --to mlx`: the adapter as a folder of mlx-lm. */
import { basename, dirname, resolve } from 'node:path';
import { openFolder, openStore } from '#platform';
import { EXPORT_FILE } from '../../model/recordFiles.ts';
import { SftError } from '../../platform/errors.ts';
import { exportToMlx } from '../../train/exportMlx.ts';
import { openModelFolder } from '../../train/namedFiles.ts';
import { chooseModel, openChosenAdapter } from '../chosenModel.ts';
import { type Call, say } from '../command.ts';
import { showSources } from '../downloads.ts';
import { shellQuote } from '../format.ts';
import { refuseForeign } from '../ownFolder.ts';

export async function exportMlx(call: Call, wanted: string | undefined): Promise<number> {
  const chosen = await chooseModel(call);
  const { adapter, config, model } = chosen;
  if (adapter === null) {
    throw new SftError('ARGUMENT', 'export --to mlx: expected an adapter, got none', {
      hint: 'name one with --adapter; mlx_lm.convert takes whole models as they are',
    });
  }
  const shown = wanted ?? `${config.output_dir}/mlx`;
  const out = resolve(shown);
  await refuseForeign(out, EXPORT_FILE, 'export');
  const base = await openModelFolder(model, { need: 'config', ...showSources(call) });
  const isFolder = await openFolder(model.name).catch(() => null);
  const baseName = isFolder ? resolve(model.name) : model.name;
  await exportToMlx(
    base,
    await openChosenAdapter(call, { config, adapter }),
    await openStore(dirname(out)),
    basename(out),
    baseName,
  );
  say(call, `wrote the adapter for mlx-lm: ${shown}`);
  say(
    call,
    `try: mlx_lm.generate --model ${shellQuote(baseName)} --adapter-path ${shellQuote(shown)} --prompt 'Hello!'`,
  );
  return 0;
}
