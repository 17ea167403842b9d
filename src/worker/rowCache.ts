/** The tokenised training rows that a page looks at: read once, and again when the configuration asks for others. */
import type { Dataset } from '../data/dataset.ts';
import type { TokenizedRow } from '../data/tokenize.ts';
import { SftError } from '../platform/errors.ts';
import type { Config } from '../train/config.ts';
import { openRows } from '../train/openRows.ts';
import { openText } from '../train/openText.ts';

export class RowCache {
  private key = '';
  private dataset: Promise<Dataset> | null = null;

  /** The training rows of a configuration. Throws `DATA`, `TEMPLATE`, `MODEL`. */
  rows(config: Config): Promise<Dataset> {
    const { model, data, train } = config;
    const key = JSON.stringify([model, data, train.seed]);
    if (this.dataset && key === this.key) return this.dataset;
    const reading = readRows(config);
    // What failed may work the next time.
    reading.catch(() => {
      if (this.dataset === reading) this.dataset = null;
    });
    this.key = key;
    this.dataset = reading;
    return reading;
  }

  clear(): void {
    this.dataset = null;
  }
}

async function readRows(config: Config): Promise<Dataset> {
  const rows = await openRows(config, 'train', await openText(config));
  if (!rows) throw new SftError('CONFIG', 'data.train_path: expected a file of rows, got null');
  return rows;
}

/** The row of that number. Throws `ARGUMENT` when there is none, or when it is left out of training. */
export function rowNumber({ rows }: Dataset, number: number): TokenizedRow {
  const row = rows.find((one) => one.row === number);
  if (row) return row;
  throw new SftError('ARGUMENT', `row: expected the number of a row that is trained on, got ${number}`);
}
