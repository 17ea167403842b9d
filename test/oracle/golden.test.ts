/** The golden files of `test/data/golden` are what tokenizers and transformers make today. */
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { tokenizersFolder } from '../../scripts/tokenizers.mjs';
import { python, runPython } from './python.ts';

const golden = fileURLToPath(new URL('../data/golden', import.meta.url));
const smollm2 = process.env.WEBGPU_SFT_SMOLLM2;

describe.skipIf(!python)('golden files', () => {
  const out = mkdtempSync(join(tmpdir(), 'golden-'));
  afterAll(() => rmSync(out, { recursive: true }));

  it('come out of the script that wrote them', () => {
    // Without SmolLM2's tokenizer, what is there of it stays.
    cpSync(golden, out, { recursive: true });
    const files = runPython<string[]>('golden.py', [tokenizersFolder, out, ...(smollm2 ? [smollm2] : [])]);
    expect(files.length).toBeGreaterThan(1);
    for (const file of files) {
      expect(JSON.parse(readFileSync(join(out, file), 'utf8')), file).toEqual(
        JSON.parse(readFileSync(join(golden, file), 'utf8')),
      );
    }
  });
});
