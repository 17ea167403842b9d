/** One command: its flags, parsed, and the configuration that they ask for. */
import { Command, CommanderError } from 'commander';
import {
  CONFIG_FLAGS,
  type ConfigRequest,
  flagDescription,
  flagOverride,
  type LoadedConfig,
  loadConfig,
  type Override,
  readWhole,
  setOverride,
} from '../index.ts';
import { SftError } from '../platform/errors.ts';
import { nearest } from '../platform/suggest.ts';
import type { Terminal } from './terminal.ts';

export interface CommandSpec {
  /** What may stand after the command's name, as commander writes it, and a sentence; a config where left out. */
  readonly argument?: readonly [syntax: string, description: string];
  /** Whether `--json` exists: what it prints. */
  readonly json?: string;
  /** After the general help: lines to try. */
  readonly examples: readonly string[];
  /** Adds the flags that set no key of the configuration. */
  readonly addFlags?: (command: Command) => void;
  /** Resolves to the exit code. */
  readonly run: (call: Call) => Promise<number>;
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
  readonly argument: string | undefined;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
  readonly debug: boolean;
}

/** A line for the person, on stderr, where the results are not. */
export function say({ terminal, quiet }: Call, text: string): void {
  if (!quiet) terminal.line('err', text);
}

/** Reads the configuration. Its warnings are about training, so they are told only where much is told. Throws `CONFIG`. */
export async function readConfig(call: Call): Promise<LoadedConfig> {
  const loaded = await loadConfig(call.config);
  for (const warning of call.verbose ? loaded.warnings : []) warn(call, warning);
  return loaded;
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

/** Parses what was typed after the command's name. Null when only help was wanted, which is then printed. */
export function parseCall(
  name: string,
  summary: string,
  spec: CommandSpec,
  typed: readonly string[],
  terminal: Terminal,
): Call | null {
  const [syntax, description] = spec.argument ?? ['[config]', 'YAML file of the run'];
  const overrides: Override[] = [];
  let preset: string | undefined;
  const command = new Command(`webgpu-sft ${name}`)
    .description(`${summary[0]?.toUpperCase()}${summary.slice(1)}.`)
    .usage(`${syntax} [flags]`)
    .argument(syntax, description)
    .helpOption('-h, --help', 'show this')
    .exitOverride()
    .configureOutput({ writeOut: (text) => terminal.write('out', text), writeErr: () => {} })
    .configureHelp({ helpWidth: terminal.width('out') })
    .addHelpText('after', `\n${spec.examples.length > 1 ? 'Examples' : 'Example'}:\n  ${spec.examples.join('\n  ')}`);
  spec.addFlags?.(command);
  for (const flag of CONFIG_FLAGS.filter(({ commands }) => commands.includes(name))) {
    const sentence = flagDescription(flag);
    const text = flag.value === undefined ? flag.flag : `${flag.flag} <${flag.value}>`;
    command.option(text, sentence).on(`option:${flag.flag.slice(2)}`, (value: string | null) => {
      if (flag.key === 'preset') preset = value ?? undefined;
      else overrides.push(flagOverride(flag.flag, value ?? undefined));
    });
  }
  command
    .option('--config <FILE>', spec.argument ? 'YAML file of a run' : 'the same as [config]')
    .option('--set <KEY=VALUE>', 'sets any key: --set train.learning_rate=1e-4 (repeatable)')
    .on('option:set', (value: string) => overrides.push(setOverride(value)));
  if (spec.json) command.option('--json', spec.json);
  command
    .option('--quiet', 'say nothing but results and errors')
    .option('--verbose', 'say more')
    .option('--debug', 'show the stack of an error');
  try {
    command.parse([...typed], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === 'commander.helpDisplayed') return null;
    throw toArgumentError(name, error, command);
  }
  const options = command.opts<Record<string, unknown>>();
  const { json = false, quiet = false, verbose = false, debug = false } = options as Record<string, boolean>;
  const [argument] = command.args;
  const path = configPath(spec.argument ? undefined : argument, options.config as string | undefined);
  return {
    terminal,
    typed,
    options,
    config: { readText: readWhole, path, preset, overrides },
    argument: spec.argument && argument,
    json,
    quiet,
    verbose,
    debug,
  };
}

function configPath(argument: string | undefined, flag: string | undefined): string | undefined {
  if (argument === undefined || flag === undefined || argument === flag) return argument ?? flag;
  throw new SftError('ARGUMENT', `config: expected one file, got ${argument} and --config ${flag}`, {
    hint: 'name the config once; a file can build on another with base:',
  });
}

/** What commander says, in the words of this project, with the nearest flag. */
function toArgumentError(name: string, { code, message }: CommanderError, command: Command): SftError {
  const plain = message.replace(/^error: /, '').split('\n')[0] ?? message;
  const help = `webgpu-sft ${name} --help lists the flags`;
  const unknown = /unknown option '([^'=]+)/.exec(plain)?.[1];
  if (code === 'commander.unknownOption' && unknown) {
    const known = command.options.flatMap(({ long }) => long ?? []);
    const meant = nearest(unknown, [...known, '--help']);
    const hint = meant ? `did you mean ${meant}?` : help;
    return new SftError('ARGUMENT', `${unknown}: unknown flag of webgpu-sft ${name}`, { hint });
  }
  if (code === 'commander.excessArguments') {
    return new SftError('ARGUMENT', `webgpu-sft ${name}: expected one config, got ${command.args.join(' ')}`, {
      hint: help,
    });
  }
  if (code === 'commander.optionMissingArgument') {
    const flag = /'(--[\w-]+)/.exec(plain)?.[1] ?? plain;
    return new SftError('ARGUMENT', `${flag}: expected a value, got nothing`, { hint: help });
  }
  return new SftError('ARGUMENT', `webgpu-sft ${name}: ${plain}`, { hint: help });
}
