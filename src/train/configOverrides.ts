/** Values given on the command line, each laid over the files as a layer of its own. */
import { SftError } from '../platform/errors.ts';
import { nearest } from '../platform/suggest.ts';
import { CONFIG_FLAGS, type ConfigFlag, flagNamed } from './configFlags.ts';
import { leafSchema } from './configSchema.ts';
import type { ConfigNode } from './configTree.ts';
import { isForbiddenKey } from './configTree.ts';
import { parseYamlValue } from './configYaml.ts';

/** A value that takes the place of what files and presets say of its key. */
export interface Override {
  /** For messages: `--lr`, `--set train.learning_rate`. */
  readonly where: string;
  /** Dotted, as in `train.learning_rate`. */
  readonly key: string;
  readonly value: ConfigNode;
  /** The override applies only where the key has this value so far. */
  readonly onlyIf?: string;
}

/** What a flag of the table does to the configuration. `text` is as typed; a key that holds text takes it unparsed. */
export function flagOverride(flag: string, text = ''): Override {
  const entry = flagNamed(flag);
  if (!entry) {
    const meant = nearest(
      flag,
      CONFIG_FLAGS.map((candidate) => candidate.flag),
    );
    throw new SftError('ARGUMENT', `${flag}: unknown flag`, { hint: meant ? `did you mean ${meant}?` : 'see --help' });
  }
  const { key, sets } = entry;
  if (sets) return { where: flag, key, value: literal(sets.to, flag), onlyIf: sets.onlyIf };
  return { where: flag, key, value: holdsText(key) ? literal(text, flag) : parseYamlValue(text, flag) };
}

/** The sentence for the help, from the key's own: `train.max_steps: Optimizer steps to train for; …`. */
export function flagDescription({ key, sets }: ConfigFlag): string {
  if (sets) return `${key}: ${sets.to} where it is ${sets.onlyIf}.`;
  return `${key}: ${leafSchema(key).description}`;
}

/** What `--set key.path=value` does. The value is YAML: `--set tuning.lora.target_modules=[q_proj, v_proj]`. */
export function setOverride(text: string): Override {
  const equals = text.indexOf('=');
  const key = text.slice(0, Math.max(0, equals)).trim();
  if (key.split('.').some((part) => part === '' || isForbiddenKey(part))) {
    throw new SftError('ARGUMENT', `--set: expected key.path=value, got ${JSON.stringify(text)}`, {
      hint: 'for example --set train.learning_rate=1e-4',
    });
  }
  const where = `--set ${key}`;
  return { where, key, value: parseYamlValue(text.slice(equals + 1), where) };
}

/** True for a key such as a path or a name, where `2024` means the text and not the number. */
function holdsText(key: string): boolean {
  const { anyOf, ...self } = leafSchema(key);
  return [self, ...(anyOf ?? [])].some(
    (schema) => schema.type === 'string' && !schema.enum && schema.const === undefined,
  );
}

function literal(value: string, where: string): ConfigNode {
  return { where, keyWhere: where, value };
}
