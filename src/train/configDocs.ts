/** The page that explains every key, made from the schema and the tables beside it. `scripts/docs.mjs` writes it. */
import { PRESETS } from './config.ts';
import { CONFIG_FLAGS } from './configFlags.ts';
import { flagDescription } from './configOverrides.ts';
import { NOT_YET } from './configRules.ts';
import type { JsonSchema } from './configSchema.ts';
import { configJsonSchema, configLeaves, typeText } from './configSchema.ts';

/** What `configs/schema.json` holds. Editors find it by `# yaml-language-server: $schema=…` in a YAML file. */
export function configSchemaJson(): string {
  const title = 'webgpu-sft configuration';
  return `${JSON.stringify({ title, ...configJsonSchema() }, null, 2)}\n`;
}

/** What `docs/config.md` holds. */
export function configMarkdown(): string {
  return `${[
    INTRODUCTION,
    '## Presets',
    table(
      ['preset', 'sets'],
      Object.entries(PRESETS).map(([name, layer]) => [code(name), presetText(layer)]),
    ),
    ...sections(),
    '## Flags',
    'Each of these flags is one more layer over the files, like `--set key.path=value`.',
    table(
      ['flag', 'commands', 'sets'],
      CONFIG_FLAGS.map((flag) => [
        code(flag.value ? `${flag.flag} ${flag.value}` : flag.flag),
        flag.commands.join(', '),
        flagDescription(flag),
      ]),
    ),
    '## What this version refuses',
    'These values belong to the schema and are refused with an error, never ignored, until what they ask for is there.',
    table(
      ['key', 'value', 'this version', 'instead'],
      NOT_YET.map(({ key, value, reason, instead }) => [code(key), value, reason, instead]),
    ),
  ].join('\n\n')}\n`;
}

const INTRODUCTION = `# Configuration

<!-- Written by scripts/docs.mjs from src/train/config.ts. Change the schema, then run \`node scripts/docs.mjs\`. -->

A configuration is a YAML 1.2 file (with \`<<\`). Every key has a default but \`model.name\`; a file says what differs:

\`\`\`yaml
# yaml-language-server: $schema=./schema.json
base: config_base.yaml
model:
  name: models/SmolLM2-135M-Instruct
tuning:
  mode: lora
train:
  learning_rate: 1e-4
\`\`\`

Layers, each over the one before: the \`base\` (bases may nest), the \`preset\` that the file names, the file itself,
\`--preset\`, then the other flags in the order in which they are typed. Maps merge key by key; lists and single values
replace. \`base\` is relative to the file that names it, every other path to the folder in which \`webgpu-sft\` runs.
Unknown keys, wrong values, duplicate keys, custom tags and circles of bases are errors with file, line and column.`;

function sections(): string[] {
  const groups = new Map<string, { key: string; schema: JsonSchema }[]>();
  for (const leaf of configLeaves()) {
    const section = leaf.key.includes('.') ? leaf.key.slice(0, leaf.key.lastIndexOf('.')) : '';
    groups.set(section, [...(groups.get(section) ?? []), leaf]);
  }
  return [...groups].flatMap(([section, leaves]) => [
    section === '' ? '## Top level' : `## ${code(section)}`,
    table(
      ['key', 'default', 'may be', 'meaning'],
      leaves.map(({ key, schema }) => [
        code(key.slice(key.lastIndexOf('.') + 1)),
        code(JSON.stringify(schema.default)),
        typeText(schema),
        schema.description ?? '',
      ]),
    ),
  ]);
}

function presetText(layer: object): string {
  return Object.entries(layer)
    .flatMap(([section, values]) =>
      Object.entries(values as object).map(([key, value]) => code(`${section}.${key}: ${String(value)}`)),
    )
    .join(', ');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function code(text: string): string {
  return `\`${text}\``;
}
