/**
 * The small language in which all text of this folder is written.
 *
 *     wake me (up |)at {time} {@day}        one of the two endings; {slots} stay as they are
 *     <weekday> or <weekday>                each <rule> is replaced by one expansion of that rule
 *
 * Alternatives are equally likely; a rule's text is a list of alternatives itself. Line breaks and the spaces around
 * them are only for the reader of the rule.
 */
import { rules } from './rules.mjs';

/** One random expansion of a template. @param {import('./random.mjs').Random} random @param {string} template */
export function expand(random, template) {
  return parse(template)
    .map((part) => write(random, part))
    .join('');
}

function write(random, part) {
  if (typeof part === 'string') return part;
  if (part.rule !== undefined) return write(random, { choices: ruleChoices(part.rule) });
  return random
    .pick(part.choices)
    .map((inner) => write(random, inner))
    .join('');
}

/** Template → parts: plain text, `{ choices }` or `{ rule }`. Parsed once per template. */
const parsed = new Map();

function parse(template) {
  let parts = parsed.get(template);
  if (parts === undefined) {
    const choices = parseChoices({ text: template.replace(/\s*\n\s*/g, ''), at: 0 });
    parts = choices.length === 1 ? choices[0] : [{ choices }];
    parsed.set(template, parts);
  }
  return parts;
}

function ruleChoices(name) {
  if (rules[name] === undefined) throw new Error(`expand: there is no rule <${name}>`);
  const parts = parse(rules[name]);
  return parts.length === 1 && parts[0].choices ? parts[0].choices : [parts];
}

function parseChoices(source) {
  const choices = [[]];
  while (source.at < source.text.length && source.text[source.at] !== ')') {
    const rest = source.text.slice(source.at);
    const rule = /^<(\w+)>/.exec(rest);
    const text = /^[^()|<]+/.exec(rest);
    if (rest[0] === '|') {
      choices.push([]);
      source.at += 1;
    } else if (rest[0] === '(') {
      source.at += 1;
      choices.at(-1).push({ choices: parseChoices(source) });
      if (source.text[source.at] !== ')') throw new Error(`expand: unclosed ( in ${source.text}`);
      source.at += 1;
    } else if (rule) {
      choices.at(-1).push({ rule: rule[1] });
      source.at += rule[0].length;
    } else if (text) {
      choices.at(-1).push(text[0]);
      source.at += text[0].length;
    } else {
      throw new Error(`expand: cannot read ${rest}`);
    }
  }
  return choices;
}

/** Puts values into slots. `{@day}` writes "on Monday" where `{day}` writes "Monday", and both write "tomorrow". */
export function fill(pattern, values) {
  return pattern.replace(/\{(@?)(\w+)\}/g, (_, at, slot) => {
    const value = values[slot];
    if (value === undefined) throw new Error(`fill: no value for {${slot}} in ${pattern}`);
    return at && /^[A-Z]\w*$/.test(value) ? `on ${value}` : value;
  });
}

/** First letter in upper case; a pattern that begins with a slot is left alone, because slots are copied verbatim. */
export function sentence(text) {
  return text.replace(/^[a-z]/, (letter) => letter.toUpperCase());
}
