/** Rows that a program gives instead of files. */
import { expect, test } from 'vitest';
import { parseConfig } from '../../src/train/configCheck.ts';
import { openRows } from '../../src/train/openRows.ts';
import { openText } from '../../src/train/openText.ts';

const config = parseConfig({ model: { name: 'assets/tiny-llama', max_seq_len: 64 }, data: { train_path: 'nowhere' } });

test('they are read as a file of them would be, and files are not', async () => {
  const rows = [
    { question: 'Who are you?', answer: 'A model.' },
    {
      messages: [
        { role: 'user', content: 'Hi' },
        { role: 'assistant', content: 'Hello' },
      ],
    },
  ];
  const dataset = await openRows(config, 'train', await openText(config), { rows });
  expect(dataset?.report).toMatchObject({ read: 2, kept: 2 });
});

test('a bad one is named by its number', async () => {
  const rows = [{ question: 'Who are you?', answer: 'A model.' }, { colour: 'red' }];
  const reading = openRows(config, 'train', await openText(config), { rows });
  await expect(reading).rejects.toMatchObject({ code: 'DATA', message: expect.stringMatching(/^rows\.jsonl:2: /) });
});
