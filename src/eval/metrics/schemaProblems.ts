/**
 * What is wrong with a JSON schema. The validator looks at a keyword when an answer comes to it, and passes over what it does not
 * understand; here every keyword is looked at before.
 */
import { dereference, type Schema } from '@cfworker/json-schema';

const TYPES = ['null', 'boolean', 'object', 'array', 'number', 'string', 'integer'];

type Check = (value: unknown) => boolean;
const isText: Check = (value) => typeof value === 'string';
const isNumber: Check = (value) => typeof value === 'number';
const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isBoolean: Check = (value) => typeof value === 'boolean';
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isTexts: Check = (value) => Array.isArray(value) && value.every(isText);
const isPattern: Check = (value) => {
  try {
    return isText(value) && new RegExp(value as string, 'u') !== null;
  } catch {
    return false;
  }
};
const isType: Check = (value) => {
  const names: unknown[] = Array.isArray(value) ? value : [value];
  return names.length > 0 && names.every((name) => TYPES.includes(name as string));
};

/** What a keyword holds that holds no schema. */
const VALUES: Readonly<Record<string, readonly [expected: string, check: Check]>> = {
  ...Object.fromEntries(
    ['$ref', '$id', '$schema', '$anchor', '$comment', 'title', 'description', 'format'].map((keyword) => [
      keyword,
      ['a text', isText],
    ]),
  ),
  ...Object.fromEntries(
    ['Length', 'Items', 'Properties', 'Contains'].flatMap((what) =>
      ['min', 'max'].map((end) => [`${end}${what}`, ['a whole number from 0', isCount]]),
    ),
  ),
  ...Object.fromEntries(
    ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'].map((keyword) => [keyword, ['a number', isNumber]]),
  ),
  multipleOf: ['a number above 0', (value) => isNumber(value) && (value as number) > 0],
  type: [`${TYPES.slice(0, -1).join(', ')} or integer, or a list of them`, isType],
  enum: ['a list', Array.isArray],
  required: ['a list of texts', isTexts],
  uniqueItems: ['true or false', isBoolean],
  pattern: ['a regular expression of JavaScript', isPattern],
  dependentRequired: [
    'lists of texts by their names',
    (value) => isObject(value) && Object.values(value).every(isTexts),
  ],
};

/** Keywords that hold a schema, a list of schemas, or schemas by their names. */
const ONE = [
  ...['not', 'if', 'then', 'else', 'items', 'contains', 'propertyNames'],
  ...['additionalItems', 'additionalProperties', 'unevaluatedItems', 'unevaluatedProperties'],
];
const LIST = ['allOf', 'anyOf', 'oneOf', 'prefixItems'];
const NAMED = ['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas', 'dependencies'];

/** Keywords that change what a schema means and that the validator does not know. */
const UNKNOWN = ['$dynamicRef', '$dynamicAnchor'];

/** The first problem, with its place as a JSON pointer; null where there is none. `draft4`: limits may be exclusive by true. */
export function findSchemaProblem(schema: unknown, draft4: boolean): string | null {
  const problem = walk(schema, '', draft4);
  if (problem || !isObject(schema)) return problem;
  try {
    return unresolved(dereference(structuredClone(schema) as Schema));
  } catch (error) {
    return (error as Error).message;
  }
}

function walk(schema: unknown, at: string, draft4: boolean): string | null {
  if (typeof schema === 'boolean') return null;
  if (!isObject(schema)) return `${at || 'a document'}: ${shown(schema)} where a schema is expected`;
  for (const [keyword, value] of Object.entries(schema)) {
    const here = `${at}/${keyword}`;
    const mismatch = (expected: string) => `${here}: ${shown(value)} where ${expected} is expected`;
    if (UNKNOWN.includes(keyword)) return `${here}: this keyword is not supported`;
    const [expected, check] = (Object.hasOwn(VALUES, keyword) && VALUES[keyword]) || [];
    const exclusive = draft4 && keyword.startsWith('exclusive');
    if (expected && !(exclusive ? isBoolean : check)?.(value)) return mismatch(exclusive ? 'true or false' : expected);
    for (const [key, inner] of schemasOf(keyword, value) ?? []) {
      const problem = walk(inner, key === '' ? here : `${here}/${key}`, draft4);
      if (problem) return problem;
    }
    if (schemasOf(keyword, value) === null) {
      return mismatch(LIST.includes(keyword) ? 'a list of schemas' : 'an object of schemas');
    }
    const patterns = keyword === 'patternProperties' ? Object.keys(value as object) : [];
    const wrong = patterns.find((pattern) => !isPattern(pattern));
    if (wrong !== undefined) return `${here}: ${shown(wrong)} where a regular expression of JavaScript is expected`;
  }
  return null;
}

/** The schemas that a keyword holds, with their names in it; null where it should hold some and does not. */
function schemasOf(keyword: string, value: unknown): [key: string, schema: unknown][] | null {
  const isList = Array.isArray(value);
  if (LIST.includes(keyword) || (keyword === 'items' && isList)) {
    return isList && value.length > 0 ? [...value.entries()].map(([index, one]) => [String(index), one]) : null;
  }
  if (ONE.includes(keyword)) return [['', value]];
  if (!NAMED.includes(keyword)) return [];
  if (!isObject(value)) return null;
  return Object.entries(value).filter(([, one]) => keyword !== 'dependencies' || !isTexts(one));
}

/** A reference to what is not there. */
function unresolved(known: ReturnType<typeof dereference>): string | null {
  for (const schema of Object.values(known)) {
    if (typeof schema === 'boolean' || !isObject(schema) || typeof schema['$ref'] !== 'string') continue;
    const target = schema['__absolute_ref__'] as string | undefined;
    if (target === undefined || known[target] === undefined) {
      return `$ref: ${shown(schema['$ref'])}, which is not in the document`;
    }
  }
  return null;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
