/** The five walks of docs/data.md, from a file to a trained adapter: each command as it is printed there, with the output that is shown. */
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { beforeAll, describe, expect, test } from 'vitest';
import { root } from '../../../scripts/common.mjs';
import { listFiles, useCli } from '../../cli/cli.ts';
import { docx, pdf } from '../../data/madeDocuments.ts';
import { blocksOf, runShell, shown } from '../page.ts';

const folder = useCli();
const [init, ...blocks] = blocksOf('docs/data.md', 'Five files, five adapters');
const tickets = blocks.find(({ language }) => language === 'csv')!.text;

const THINGS = ['pump', 'door', 'lamp', 'boiler', 'window', 'lift', 'heater', 'gate', 'bell', 'fan', 'oven', 'tap'];

function writeFiles(): void {
  const at = (name: string) => join(folder(), name);
  copyFileSync(join(root, 'test/assets/gsm8k.jsonl'), at('gsm8k.jsonl'));

  const more = THINGS.map((thing) => `My ${thing} is broken.,"Thank you, we come and look at the ${thing}.",repairs\n`);
  writeFileSync(at('tickets.csv'), `${tickets}${more.join('')}`);

  const column = (name: string, text: (thing: string) => string) => ({ name, data: THINGS.map(text) });
  const columnData = [
    column('instruction', () => 'Turn the sentence into a question.'),
    column('input', (thing) => `The ${thing} is old.`),
    column('output', (thing) => `Is the ${thing} old?`),
  ];
  writeFileSync(at('tasks.parquet'), new Uint8Array(parquetWriteBuffer({ columnData })));

  const pages = THINGS.map((thing, i) => [
    'Manual of the house',
    `The ${thing} is looked after once a year. Before the main-`,
    `tenance of the ${thing} begins, the electricity is turned off.`,
    `Page ${i + 1} of ${THINGS.length}`,
  ]);
  writeFileSync(at('manual.pdf'), pdf(pages));

  mkdirSync(at('house'));
  const rules = THINGS.map((thing) => `Whoever finds the ${thing} broken tells the caretaker on the same day.`);
  writeFileSync(at('house/rules.docx'), docx('House rules', 'It is quiet from ten at night to six.', ...rules));
  const rows = THINGS.map((thing) => ({ question: `Who mends the ${thing}?`, answer: 'The caretaker.' }));
  writeFileSync(at('house/questions.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}

describe('docs/data.md', () => {
  beforeAll(async () => {
    writeFiles();
    const { code, stderr } = await runShell(init!.text, folder());
    expect(code, stderr).toBe(0);
  });

  const configs = blocks.filter(({ language }) => language === 'yaml');
  test.each(configs.map(({ text }) => /^# (\w+)\.yaml\n/.exec(text)![1]!))('%s', { timeout: 120_000 }, async (name) => {
    const start = blocks.findIndex(({ text }) => text.startsWith(`# ${name}.yaml\n`));
    writeFileSync(join(folder(), `${name}.yaml`), blocks[start]!.text);
    let printed = '';
    let commands = 0;
    for (const { language, text } of blocks.slice(start + 1)) {
      if (language === 'yaml' || language === 'csv') break;
      if (language === 'text') {
        expect(printed).toMatch(shown(text));
        continue;
      }
      for (const line of text.trimEnd().split('\n')) {
        const { code, stdout, stderr } = await runShell(line, folder());
        expect(code, `${line}\n${stderr}`).toBe(0);
        printed = text.startsWith(line) ? stdout : printed + stdout;
        commands += 1;
      }
    }
    expect(commands).toBeGreaterThanOrEqual(5);
    const adapter = join(folder(), 'outputs', name, 'final_model');
    expect(existsSync(join(adapter, 'adapter_model.safetensors')), listFiles(folder()).join('\n')).toBe(true);
    const { trainer } = { trainer: JSON.parse(readFileSync(join(adapter, '../trainer_state.json'), 'utf8')) };
    expect(trainer.global_step).toBe(10);
  });

  test('shows five', () => expect(configs).toHaveLength(5));
});
