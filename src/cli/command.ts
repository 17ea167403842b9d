/** One command: its flags, parsed, and the configuration that they ask for. */
import { Command, CommanderError } from 'commander';
import { SftError } from '../platform/errors.ts';
import { nearest } from '../platform/suggest.ts';
import type { ConfigRequest } from '../train/configFile.ts';
import { CONFIG_FLAGS } from '../train/configFlags.ts';
import type { Override } from '../train/configOverrides.ts';
import type { Terminal } from './terminal.ts';

/** As commander writes it, a sentence, and the words that are known where only they may be given. */
export type Argument = readonly [syntax: string, description: string, choices?: readonly string[]];

export interface CommandSpec {
  /** What may stand after the command's name; a config where left out. */
  readonly arguments?: readonly Argument[];
  /** Whether `--json` exists: what it prints. */
  readonly json?: string;
  /** After the general help: lines to try. */
  readonly examples: readonly string[];
  /** Adds the flags that set no key of the configuration. */
  readonly addFlags?: (command: Command) => void;
  /** Loads what the command does, which resolves to the exit code: nothing of it is needed for help, completion or a wrong flag. */
  readonly action: () => Promise<{ readonly run: (call: Call) => Promise<number> }>;
}

/** A command before it is loaded. */
export interface CommandEntry {
  readonly summary: string;
  readonly load: () => Promise<CommandSpec>;
}

/** A command as it was typed. */
export interface Call {
  readonly terminal: Terminal;
  /** The arguments after the command's name. */
  readonly typed: readonly string[];
  /** Values of the command's own flags, by their names in camel case. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly config: ConfigRequest;
  /** What stood after the command's name where that is no config. */
  readonly arguments: readonly string[];
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
  readonly debug: boolean;
}

/** A line for the person, on stderr, where the results are not. */
export function say({ terminal, quiet }: Call, text: string): void {
  if (!quiet) terminal.line('err', text);
}

export function warn(call: Call, message: string): void {
  say(call, `${call.terminal.colors.err.yellow('warning:')} ${message}`);
}

/** Prints a result as one JSON document. */
export function printJson({ terminal }: Call, value: unknown): void {
  terminal.line('out', JSON.stringify(value, null, 2));
}

/** A flag that takes a whole number. Throws `ARGUMENT`. */
export function wholeNumber(flag: string): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
    throw new SftError('ARGUMENT', `${flag}: expected a whole number from 0, got ${JSON.stringify(text)}`);
  };
}

/** A flag that takes one of a few words. Throws `ARGUMENT`. */
export function oneOf(flag: string, choices: readonly string[]): (text: string) => string {
  return (text) => {
    if (choices.includes(text)) return text;
    const meant = nearest(text, choices);
    throw new SftError('ARGUMENT', `${flag}: expected one of ${choices.join(', ')}, got ${JSON.stringify(text)}`, {
      ...(meant && { hint: `did you mean ${meant}?` }),
    });
  };
}

const CONFIG: readonly Argument[] = [['[config]', 'YAML file of the run']];

/** A flag that sets keys of the configuration, and what it was given. */
type Typed = readonly [flag: string, value: string | undefined];

/** A command with its help and all of its flags, and what those that set keys of the configuration were given. */
export async function buildCommand(
  name: string,
  summary: string,
  spec: CommandSpec,
): Promise<{ command: Command; typed: Typed[] }> {
  const words = spec.arguments ?? CONFIG;
  const typed: Typed[] = [];
  const command = new Command(`webgpu-sft ${name}`)
    .description(`${summary[0]?.toUpperCase()}${summary.slice(1)}.`)
    .usage(`${words.map(([syntax]) => syntax).join(' ')} [flags]`)
    .helpOption('-h, --help', 'show this')
    .addHelpText('after', `\n${spec.examples.length > 1 ? 'Examples' : 'Example'}:\n  ${spec.examples.join('\n  ')}`);
  for (const [syntax, description] of words) command.argument(syntax, description);
  spec.addFlags?.(command);
  for (const flag of CONFIG_FLAGS.filter(({ commands }) => commands.includes(name))) {
    // The schema of the configuration is loaded where a command has such flags, or they are typed.
    const { flagDescription } = await import('../train/configOverrides.ts');
    const text = flag.value === undefined ? flag.flag : `${flag.flag} <${flag.value}>`;
    command.option(text, flagDescription(flag)).on(`option:${flag.flag.slice(2)}`, (value: string | null) => {
      typed.push([flag.flag, value ?? undefined]);
    });
  }
  command
    .option('--config <FILE>', spec.arguments ? 'YAML file of a run' : 'the same as [config]')
    .option('--set <KEY=VALUE>', 'sets any key: --set train.learning_rate=1e-4 (repeatable)')
    .on('option:set', (value: string) => typed.push(['--set', value]));
  if (spec.json) command.option('--json', spec.json);
  command
    .option('--quiet', 'say nothing but results and errors')
    .option('--verbose', 'say more')
    .option('--debug', 'show the stack of an error');
  return { command, typed };
}

/** Parses what was typed after the command's name. Null when only help was wanted, which is then printed. */
export async function parseCall(
  name: string,
  summary: string,
  spec: CommandSpec,
  typed: readonly string[],
  terminal: Terminal,
): Promise<Call | null> {
  const { command, typed: settings } = await buildCommand(name, summary, spec);
  command
    .exitOverride()
    .configureOutput({ writeOut: (text) => terminal.write('out', text), writeErr: () => {} })
    .configureHelp({ helpWidth: terminal.width('out') });
  try {
    command.parse([...typed], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === 'commander.helpDisplayed') return null;
    throw toArgumentError(name, error, command, spec.arguments?.length);
  }
  const options = command.opts<Record<string, unknown>>();
  const { json = false, quiet = false, verbose = false, debug = false } = options as Record<string, boolean>;
  for (const [index, [syntax, , choices]] of (spec.arguments ?? []).entries()) {
    const word = command.args[index];
    if (word !== undefined && choices) oneOf(`webgpu-sft ${name} ${syntax}`, choices)(word);
  }
  const path = configPath(spec.arguments ? undefined : command.args[0], options.config as string | undefined);
  return {
    terminal,
    typed,
    options,
    config: { readText, path, ...(await settingsOf(settings)) },
    arguments: spec.arguments ? command.args : [],
    json,
    quiet,
    verbose,
    debug,
  };
}

const readText = async (path: string) => (await import('../train/readWhole.ts')).readWhole(path);

/** What flags say of the configuration, in the order in which they were typed. Throws `ARGUMENT`. */
async function settingsOf(typed: readonly Typed[]): Promise<Pick<ConfigRequest, 'preset' | 'overrides'>> {
  if (typed.length === 0) return {};
  const { flagOverride, setOverride } = await import('../train/configOverrides.ts');
  const overrides: Override[] = [];
  let preset: string | undefined;
  for (const [flag, value = ''] of typed) {
    if (flag === '--preset') preset = value;
    else overrides.push(flag === '--set' ? setOverride(value) : flagOverride(flag, value));
  }
  return { preset, overrides };
}

function configPath(argument: string | undefined, flag: string | undefined): string | undefined {
  if (argument === undefined || flag === undefined || argument === flag) return argument ?? flag;
  throw new SftError('ARGUMENT', `config: expected one file, got ${argument} and --config ${flag}`, {
    hint: 'name the config once; a file can build on another with base:',
  });
}

/** What commander says, in the words of this project, with the nearest flag. */
function toArgumentError(
  name: string,
  { code, message }: CommanderError,
  command: Command,
  most: number | undefined,
): SftError {
  const plain = message.replace(/^error: /, '').split('\n')[0] ?? message;
  const help = `webgpu-sft ${name} --help lists the flags`;
  const [, unknown, value] = /unknown option '([^'=]+)=?([^']*)/.exec(plain) ?? [];
  if (code === 'commander.unknownOption' && unknown) {
    const known = command.options.flatMap(({ long }) => long ?? []);
    if (known.includes(unknown)) {
      return new SftError('ARGUMENT', `${unknown}: expected no value, got ${value}`, { hint: `give ${unknown} alone` });
    }
    const meant = nearest(unknown, [...known, '--help']);
    const hint = meant ? `did you mean ${meant}?` : help;
    return new SftError('ARGUMENT', `${unknown}: unknown flag of webgpu-sft ${name}`, { hint });
  }
  if (code === 'commander.excessArguments') {
    const expected = most === undefined ? 'one config' : `at most ${most} argument${most === 1 ? '' : 's'}`;
    return new SftError('ARGUMENT', `webgpu-sft ${name}: expected ${expected}, got ${command.args.join(' ')}`, {
      hint: help,
    });
  }
  if (code === 'commander.optionMissingArgument') {
    const flag = /'(--[\w-]+)/.exec(plain)?.[1] ?? plain;
    return new SftError('ARGUMENT', `${flag}: expected a value, got nothing`, { hint: help });
  }
  return new SftError('ARGUMENT', `webgpu-sft ${name}: ${plain}`, { hint: help });
}
