/** Writes an adapter as a folder of mlx-lm. Of the base only its config is read; needs no GPU. */
import { exportMlx } from '../model/exportMlx.ts';
import { readSpec } from '../model/modelFiles.ts';
import { saveFolder } from '../platform/stores.ts';
import type { ReadableFolder, WritableStore } from '../platform/types.ts';
import { openAdapter } from './exportGguf.ts';

/** `baseName` is how the adapter's config names the base. Throws `MODEL`, `ADAPTER`. */
export async function exportToMlx(
  base: ReadableFolder,
  adapterFolder: ReadableFolder,
  store: WritableStore,
  out: string,
  baseName: string = base.name,
): Promise<void> {
  const spec = await readSpec(base);
  const adapter = await openAdapter(spec, adapterFolder);
  const folders = { base, adapter: adapterFolder, baseName };
  await saveFolder(store, out, (staged) => exportMlx(adapter, spec.spec, folders, staged));
}
