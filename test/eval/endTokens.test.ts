import { describe, expect, it } from 'vitest';
import type { ChatRow } from '../../src/data/rows.ts';
import { type TokenizedRow, tokenizeRow } from '../../src/data/tokenize.ts';
import { endingWarning, endTokens } from '../../src/eval/endTokens.ts';
import { CHATML, chat, template, tokenizer } from '../data/fixtures.ts';

const ENDS = [tokenizer.eosTokenId!];

function rowsOf(jinja: string, rows: readonly ChatRow[], maxSeqLen = 512): TokenizedRow[] {
  const options = { tokenizer, template: template(jinja), maxSeqLen, truncation: 'keep_start', trainOn: 'assistant' };
  return rows.map((row, i) => tokenizeRow(row, i, options as Parameters<typeof tokenizeRow>[2]) as TokenizedRow);
}

describe('where a model stops', () => {
  it('is what generation_config.json says, else config.json, else the tokenizer', () => {
    expect(endTokens({ config: { eos_token_id: 1 }, generation: { eos_token_id: [2, 3] } }, tokenizer)).toEqual([2, 3]);
    expect(endTokens({ config: { eos_token_id: 1 }, generation: {} }, tokenizer)).toEqual([1]);
    expect(endTokens({ config: {}, generation: {} }, tokenizer)).toEqual(ENDS);
    expect(endTokens({ config: {}, generation: {} }, { eosTokenId: null })).toEqual([]);
  });
});

describe('what answers end with', () => {
  const warn = (jinja: string, ends = ENDS, rows = [chat('Q', 'A'), chat('Q', 'A', 'R', 'B')]) => {
    return endingWarning(rowsOf(jinja, rows), { tokenizer, template: template(jinja) }, ends);
  };

  it('is nothing to speak of where the model stops there', () => {
    expect(warn(CHATML)).toBeNull();
    expect(warn('{% for m in messages %}{{ m.content }}<|im_end|> \n{% endfor %}')).toBeNull();
  });

  it('is named with where the model stops, when it is another token', () => {
    expect(warn(CHATML, [0])).toBe(
      '2 of 2 rows end with "<|im_end|>" (2), at which this model does not stop: it stops at "<|endoftext|>" (0) only. ' +
        'Add 2 to eos_token_id in its generation_config.json, or choose a model.chat_template that ends answers as the model does',
    );
    expect(warn(CHATML, [])).toContain('nothing ends its answers');
  });

  it('is named when it is ordinary text, with the blocks of the template that leave the end out', () => {
    const plain = '{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}';
    expect(warn(plain)).toMatch(/^2 of 2 rows end with ordinary text, such as "[AB]" \(\d+\), so that nothing teaches/);
    expect(warn(plain)).not.toContain('generation %}');
    const blocks = CHATML.replace('{{ ', "{{ '<|im_start|>' }}{% generation %}{{ ").replace(
      " + '<|im_end|>' + '\\n' }}",
      " }}{% endgeneration %}{{ '<|im_end|>\\n' }}",
    );
    expect(warn(blocks)).toContain('within {% generation %} … {% endgeneration %}');
  });

  it('does not count rows whose end was cut off', () => {
    const long = chat('Q', 'a long answer '.repeat(20));
    const [row] = rowsOf(CHATML, [long], 20);
    expect(row!.truncated).toBe(true);
    expect(endingWarning([row!], { tokenizer, template: template() }, ENDS)).toBeNull();
  });
});
