/**
 * Does an answer obey a JSON schema? Used where a command shows what fine-tuning changed.
 *
 * Reads the keywords that a schema of flat records needs: `oneOf`, `type` (`object`, `string`), `properties`, `required`,
 * `additionalProperties: false`, `const`, `minLength`. Any other keyword is an error when it is met.
 */
import { SftError } from '../platform/errors.ts';

export type Schema = Readonly<Record<string, unknown>>;

export interface Compliance {
  /** The text, without white space around it, is one JSON value. */
  readonly parses: boolean;
  /** It parses and obeys the schema. */
  readonly complies: boolean;
}

/** Throws `CONFIG` for a schema keyword that is not supported. */
export function checkCompliance(text: string, schema: Schema): Compliance {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { parses: false, complies: false };
  }
  return { parses: true, complies: obeys(value, schema) };
}

function obeys(value: unknown, schema: Schema): boolean {
  return Object.entries(schema).every(([keyword, rule]) => {
    switch (keyword) {
      case '$schema':
      case 'title':
      case 'description':
        return true;
      case 'oneOf':
        return (rule as Schema[]).filter((option) => obeys(value, option)).length === 1;
      case 'const':
        return value === rule;
      case 'type':
        if (rule === 'object') return isObject(value);
        if (rule === 'string') return typeof value === 'string';
        throw unsupported(`type ${JSON.stringify(rule)}`);
      case 'minLength':
        return typeof value !== 'string' || [...value].length >= (rule as number);
      case 'required':
        return !isObject(value) || (rule as string[]).every((key) => Object.hasOwn(value, key));
      case 'properties': {
        const known = Object.entries(rule as Record<string, Schema>);
        return (
          !isObject(value) || known.every(([key, inner]) => !Object.hasOwn(value, key) || obeys(value[key], inner))
        );
      }
      case 'additionalProperties': {
        const known = schema.properties ?? {};
        return rule !== false || !isObject(value) || Object.keys(value).every((key) => Object.hasOwn(known, key));
      }
      default:
        throw unsupported(`"${keyword}"`);
    }
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unsupported(what: string): SftError {
  return new SftError('CONFIG', `schema: expected a keyword that is supported, got ${what}`, {
    hint: 'use oneOf, type (object, string), properties, required, additionalProperties, const, minLength',
  });
}
