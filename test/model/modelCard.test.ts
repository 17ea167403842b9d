import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { modelCard } from '../../src/model/modelCard.ts';

const settings = { mode: 'lora', learning_rate: 0.0002, data: 'a|b\nc' };

it('an adapter card has the front matter of the hub, the way to load it and the settings', () => {
  const card = modelCard({ kind: 'adapter', baseModel: 'org/it\'s: "x"', task: 'text-generation', settings });
  const [, frontMatter, body] = card.split('---\n');
  expect(parse(frontMatter!)).toEqual({
    base_model: 'org/it\'s: "x"',
    library_name: 'peft',
    pipeline_tag: 'text-generation',
    tags: ['base_model:adapter:org/it\'s: "x"', 'lora', 'sft', 'webgpu-sft'],
  });
  expect(body).toContain('PeftModel.from_pretrained(model, ');
  expect(body).toContain('| learning_rate | 0.0002 |\n| data | a\\|b c |\n');
});

it('a model card names transformers', () => {
  const card = modelCard({ kind: 'model', baseModel: 'org/base', task: 'text2text-generation', settings: {} });
  expect(parse(card.split('---\n')[1]!)).toMatchObject({
    library_name: 'transformers',
    tags: ['base_model:finetune:org/base', 'sft', 'webgpu-sft'],
  });
  expect(card).toContain('model = AutoModelForSeq2SeqLM.from_pretrained("path/to/this/folder")');
  expect(card).not.toContain('peft');
});
