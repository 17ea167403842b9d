/** What a report must not tell: where files lie, who runs this, what data says, what opens doors. */
import { homedir, hostname, userInfo } from 'node:os';
import { extname } from 'node:path';
import type { Config } from '../../train/config.ts';

/** Keys of a configuration that hold a person's own words or places. */
const PRIVATE: Readonly<Record<string, 'path' | 'text'>> = {
  base: 'path',
  output_dir: 'path',
  'model.name': 'path',
  'model.chat_template': 'path',
  'model.hub_url': 'text',
  'tuning.lora.init_from': 'path',
  'data.raw_path': 'path',
  'data.train_path': 'path',
  'data.val_path': 'path',
  'data.test_path': 'path',
  'data.columns': 'text',
  'data.prompt_template': 'text',
  'data.style': 'text',
  'eval.schema.regex': 'text',
  'eval.schema.json_schema': 'path',
  'generation.stop': 'text',
  'logging.project': 'text',
  'logging.run_name': 'text',
};

/**
 * The same configuration with what is private of it replaced: sizes and kinds of files stay, and the id of a model on a hub.
 */
export function redactConfig(config: Config, isOnHub: boolean): unknown {
  const redacted = redact(config, '') as { model: object };
  return isOnHub ? { ...redacted, model: { ...redacted.model, name: config.model.name } } : redacted;
}

function redact(value: unknown, key: string): unknown {
  const kind = PRIVATE[key];
  if (typeof value === 'string') return kind === 'path' ? shortPath(value) : kind === 'text' ? shortText(value) : value;
  if (typeof value !== 'object' || value === null) return value;
  const count = Object.keys(value).length;
  if (kind && count > 0) return `<${count} entries>`;
  if (Array.isArray(value)) return value.map((item) => redact(item, key));
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, redact(inner, key === '' ? name : `${key}.${name}`)]),
  );
}

const shortPath = (path: string) => `<path>${extname(path)}`;
const shortText = (text: string) => `<${text.length} characters>`;

/** Variables whose values open something. */
const SECRET_NAME = /token|key|secret|password|passwd|credential|auth/i;

/** What tokens look like wherever they come from: of hubs, of W&B, of clouds. Addresses may hold them, too. */
const SECRETS: readonly (readonly [RegExp, string])[] = [
  [/\b[a-z][a-z0-9+.-]*:\/\/\S+/gi, '<address>'],
  [/\bhf_[A-Za-z0-9]{8,}/g, '<token>'],
  [/\b(sk|gh[pousr]|github_pat|glpat|xox[abp])[-_][A-Za-z0-9_-]{8,}/g, '<token>'],
  [/\b[0-9a-f]{32,}\b/gi, '<token>'],
  [/\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi, '$1 <token>'],
];

/** Replaces secrets, folders and names in every text of a value. */
export function scrub(value: unknown, from: NodeJS.ProcessEnv = process.env): unknown {
  return walk(value, replacements(from));
}

type Replace = (text: string) => string;

function walk(value: unknown, replace: Replace): unknown {
  if (typeof value === 'string') return replace(value);
  if (Array.isArray(value)) return value.map((item) => walk(item, replace));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [replace(name), walk(inner, replace)]));
}

function replacements(environment: NodeJS.ProcessEnv): Replace {
  const exact: [string, string][] = Object.entries(environment).flatMap(([name, value]) => {
    return value && value.length >= 6 && SECRET_NAME.test(name) ? [[value, `<${name}>`]] : [];
  });
  for (const [folder, short] of [
    [process.cwd(), '.'],
    [environment.HOME, '~'],
    [homedir(), '~'],
  ] as const) {
    // A root as the home or working folder is a part of every path.
    if (folder && folder.length > 1) exact.push([folder, short], [folder.replaceAll('\\', '/'), short]);
  }
  // The longest first: a working folder lies in a home.
  exact.sort(([a], [b]) => b.length - a.length);
  const words = [
    [nameOfUser(environment), '<user>'],
    [hostname(), '<host>'],
  ].filter(([word = '']) => word.length >= 2);
  const patterns = words.map(([word = '', short = '']): [RegExp, string] => [
    new RegExp(`(?<![\\w-])${word.replaceAll(/[^\w]/g, '\\$&')}(?![\\w-])`, 'g'),
    short,
  ]);
  return (text) => {
    let result = text;
    for (const [secret, short] of exact) result = result.replaceAll(secret, short);
    for (const [pattern, short] of [...SECRETS, ...patterns]) result = result.replaceAll(pattern, short);
    return otherPlaces(result);
  };
}

function nameOfUser(environment: NodeJS.ProcessEnv): string {
  try {
    return environment.USER ?? environment.USERNAME ?? userInfo().username;
  } catch {
    // A container may give numbers that have no name.
    return '';
  }
}

/** Other absolute paths than those of the system: the kind of file stays. */
function otherPlaces(text: string): string {
  return text.replaceAll(
    /(?<![\w.~<>:/])(?:[A-Za-z]:[\\/]|\/)(?!usr\b|lib\b|proc\b|dev\b|sys\b)[^\s"'`,;:()]*[\\/][^\s"'`,;:()]*/g,
    (path) => {
      return shortPath(path);
    },
  );
}
