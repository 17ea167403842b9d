/** `export --to gguf`: the adapter, or the model with or without it, as one file for llama.cpp. */
import { basename, dirname, resolve } from 'node:path';
import { openStore } from '#platform';
import type { GgufType } from '../../model/gguf/format.ts';
import { EXPORT_FILE } from '../../model/recordFiles.ts';
import { SftError } from '../../platform/errors.ts';
import { exportAdapterToGguf, exportModelToGguf, GGUF_FILES } from '../../train/exportGguf.ts';
import { openModelFolder } from '../../train/namedFiles.ts';
import { templateChoice } from '../../train/openText.ts';
import { type ChosenModel, chooseModel, openChosen, openChosenAdapter } from '../chosenModel.ts';
import { type Call, say, warn } from '../command.ts';
import { showSources } from '../downloads.ts';
import { shellQuote } from '../format.ts';
import { refuseForeign } from '../ownFolder.ts';
import { whileShown } from './progress.ts';

export async function exportGguf(call: Call, wanted: string | undefined): Promise<number> {
  const { type, merged = false } = call.options as { type?: GgufType; merged?: boolean };
  const chosen = await chooseModel(call);
  const { adapter } = chosen;
  if (merged && adapter === null) {
    throw new SftError('ARGUMENT', '--merged: expected an adapter to fold into the model, got none', {
      hint: 'leave --merged out, or name one with --adapter',
    });
  }
  const folder = wanted ?? `${chosen.config.output_dir}/gguf`;
  const out = resolve(folder);
  await refuseForeign(out, EXPORT_FILE, 'export');
  if (adapter !== null && !merged) {
    const file = shellQuote(`${folder}/${GGUF_FILES.adapter}`);
    await writeAdapter(call, { ...chosen, adapter }, out, type ?? 'f32');
    say(call, `wrote the adapter: ${file}`);
    say(call, `try: llama-cli -m BASE.gguf --lora ${file}`);
  } else {
    const file = shellQuote(`${folder}/${GGUF_FILES.model}`);
    await writeModel(call, chosen, out, type ?? 'f16');
    say(call, `wrote the model: ${file}`);
    say(call, `try: llama-cli -m ${file}`);
  }
  return 0;
}

async function writeAdapter(
  call: Call,
  chosen: ChosenModel & { readonly adapter: string },
  out: string,
  type: GgufType,
): Promise<void> {
  const base = await openModelFolder(chosen.model, { need: 'config', ...showSources(call) });
  const folder = await openChosenAdapter(call, chosen);
  await exportAdapterToGguf(base, folder, await openStore(dirname(out)), basename(out), { type });
}

async function writeModel(call: Call, chosen: ChosenModel, out: string, type: GgufType): Promise<void> {
  const { config, adapter: name } = chosen;
  const template = await templateChoice(config);
  const store = await openStore(dirname(out));
  const counted = (done: number, total: number) => `tensor ${done} of ${total}`;
  const warnings = await whileShown(call, `writing ${chosen.model.name}`, counted, async ({ signal, onProgress }) => {
    const adapter = name === null ? undefined : await openChosenAdapter(call, { config, adapter: name }, signal);
    const model = await openChosen(call, chosen, signal);
    return exportModelToGguf(model, store, basename(out), { type, adapter, template, signal, onProgress });
  });
  for (const warning of warnings) warn(call, warning);
}
