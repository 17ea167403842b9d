/** What was trained, as a file. */
import { signal } from '@preact/signals';
import { engine } from './engine.ts';
import { attempt } from './problems.ts';
import { run } from './run.ts';

export const packing = signal(false);

export async function downloadAdapter(): Promise<void> {
  const of = run.value;
  if (!of || packing.value) return;
  packing.value = true;
  const zip = await attempt('download', async () => (await engine()).download(of.outputDir));
  packing.value = false;
  if (!zip) return;
  const link = document.createElement('a');
  link.href = URL.createObjectURL(zip);
  link.download = `${fileName(of.model.title)}-${of.config.tuning?.mode === 'full' ? 'tuned' : 'adapter'}.zip`;
  link.click();
  // The browser reads it after this.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function fileName(title: string): string {
  const last = title.split('/').findLast((part) => part !== '') ?? '';
  return last.replaceAll(/[^\w.-]+/g, '-') || 'model';
}
