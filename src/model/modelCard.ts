/** What a model card tells. */
export interface ModelCard {
  /** An adapter that PEFT loads on top of the base, or a whole model that transformers loads. */
  readonly kind: 'adapter' | 'model';
  /** Folder or hub id of the base. */
  readonly baseModel: string;
  readonly task: 'text-generation' | 'text2text-generation';
  /** What a reader should know of the training, in the order to be printed: `learning_rate` → 2e-4. */
  readonly settings: Readonly<Record<string, string | number | boolean>>;
}

/** The text of `README.md`: the hub's front matter, how to load the weights, and how they were trained. */
export function modelCard({ kind, baseModel, task, settings }: ModelCard): string {
  const base = JSON.stringify(baseModel);
  const tags = kind === 'adapter' ? [`base_model:adapter:${baseModel}`, 'lora'] : [`base_model:finetune:${baseModel}`];
  const rows = Object.entries(settings).map(([name, value]) => `| ${cell(name)} | ${cell(value)} |`);
  const autoClass = task === 'text-generation' ? 'AutoModelForCausalLM' : 'AutoModelForSeq2SeqLM';
  return `---
base_model: ${base}
library_name: ${kind === 'adapter' ? 'peft' : 'transformers'}
pipeline_tag: ${task}
tags:
${[...tags, 'sft', 'webgpu-sft'].map((tag) => `- ${JSON.stringify(tag)}`).join('\n')}
---

# ${kind === 'adapter' ? 'LoRA adapter for' : 'Fine-tuned from'} ${baseModel}

Trained with webgpu-sft.

## Use

\`\`\`python
from transformers import AutoTokenizer, ${autoClass}
${kind === 'adapter' ? adapterUse(base, autoClass) : `model = ${autoClass}.from_pretrained("path/to/this/folder")`}
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
\`\`\`

## Training

| setting | value |
|---|---|
${rows.join('\n')}
`;
}

function adapterUse(base: string, autoClass: string): string {
  return `from peft import PeftModel

model = ${autoClass}.from_pretrained(${base})
model = PeftModel.from_pretrained(model, "path/to/this/folder")`;
}

/** A cell of a Markdown table. */
function cell(value: string | number | boolean): string {
  return String(value).replaceAll('|', '\\|').replaceAll(/\s+/g, ' ');
}
