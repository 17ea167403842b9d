/** The schema as data: for the docs, for editors, for flags and for the texts of errors. */
import { z } from 'zod';
import { invariant } from '../platform/errors.ts';
import { configSchema } from './config.ts';

export type Path = readonly (string | number)[];

/** The part of JSON Schema (draft 7) that the configuration needs. */
export interface JsonSchema {
  readonly $schema?: string;
  readonly title?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly JsonSchema[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly minItems?: number;
  readonly items?: JsonSchema | readonly JsonSchema[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: boolean | JsonSchema;
}

let cached: JsonSchema | undefined;

/** JSON Schema of what may be written in a file, with defaults and descriptions. */
export function configJsonSchema(): JsonSchema {
  cached ??= z.toJSONSchema(configSchema, {
    target: 'draft-7',
    io: 'input',
    override({ jsonSchema }) {
      // A section's default is made of its keys' defaults, and zod writes JavaScript's integer range as bounds.
      if (jsonSchema.properties) delete jsonSchema.default;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
    },
  }) as JsonSchema;
  return cached;
}

/** The schema at a path, or undefined where nothing is known of it. Numbers are places in a list. */
export function schemaAt(path: Path): JsonSchema | undefined {
  let schema: JsonSchema | undefined = configJsonSchema();
  for (const key of path) {
    if (schema === undefined) return undefined;
    const { items, additionalProperties: others } = listOrSelf(schema);
    if (typeof key === 'number') schema = Array.isArray(items) ? items[key] : (items as JsonSchema | undefined);
    else schema = schema.properties?.[key] ?? (typeof others === 'object' ? others : undefined);
  }
  return schema;
}

/** Of a choice such as "name or list of names": the list. */
function listOrSelf(schema: JsonSchema): JsonSchema {
  return schema.anyOf?.find((choice) => choice.items !== undefined) ?? schema;
}

interface Leaf {
  /** Dotted, as in `train.epochs`. */
  readonly key: string;
  readonly schema: JsonSchema;
}

/** Every key that holds a value, in the order of the schema. */
export function configLeaves(schema = configJsonSchema(), prefix = ''): Leaf[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, child]) => {
    const key = prefix + name;
    return child.properties ? configLeaves(child, `${key}.`) : [{ key, schema: child }];
  });
}

/** The schema of a key that is known to exist. */
export function leafSchema(key: string): JsonSchema {
  const schema = schemaAt(key.split('.'));
  invariant(schema !== undefined, `no configuration key ${key}`);
  return schema;
}

/** What a value may be, as the words after "expected" in an error and in the docs: `auto or a whole number from 1`. */
export function typeText(schema: JsonSchema): string {
  const parts = choices(schema);
  return parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} or ${parts.at(-1)}`;
}

function choices(schema: JsonSchema): string[] {
  if (schema.anyOf) return schema.anyOf.flatMap(choices);
  if (Array.isArray(schema.type)) return schema.type.flatMap((type: string) => choices({ ...schema, type }));
  if (schema.enum) return [schema.enum.length === 1 ? String(schema.enum[0]) : `one of ${schema.enum.join(', ')}`];
  if (schema.const !== undefined) return [String(schema.const)];
  switch (schema.type) {
    case 'string':
      return ['text'];
    case 'boolean':
      return ['true', 'false'];
    case 'null':
      return ['null'];
    case 'integer':
      return [`a whole number${rangeText(schema)}`];
    case 'number':
      return [`a number${rangeText(schema)}`];
    case 'array':
      return [listText(schema)];
    default:
      return [schema.properties ? 'a section of keys and values' : 'a map of texts'];
  }
}

function rangeText({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }: JsonSchema): string {
  let text = '';
  if (minimum !== undefined) text += ` from ${minimum}`;
  if (exclusiveMinimum !== undefined) text += ` above ${exclusiveMinimum}`;
  if (maximum !== undefined) text += ` to ${maximum}`;
  if (exclusiveMaximum !== undefined) text += ` to below ${exclusiveMaximum}`;
  return text;
}

function listText({ items, minItems }: JsonSchema): string {
  // Lists of a fixed length have the same kind of item at every place.
  if (Array.isArray(items)) return `a list of ${items.length}, each ${typeText(items[0] as JsonSchema)}`;
  return `a list${minItems ? ' of one or more' : ''}, each ${typeText(items as JsonSchema)}`;
}
