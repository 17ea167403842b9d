/** `webgpu-sft completion`: scripts for shells, made of the table of commands and their flags. Nothing of it is asked for at each key. */
import { buildCommand, type CommandEntry, type CommandSpec } from '../command.ts';

interface Flag {
  readonly name: string;
  readonly description: string;
  readonly takesValue: boolean;
}

interface Completed {
  readonly name: string;
  readonly summary: string;
  readonly flags: readonly Flag[];
  /** What may stand after the command's name, where that is one of a few words. */
  readonly words: readonly string[];
}

const SCRIPTS: Readonly<Record<string, (commands: readonly Completed[]) => string>> = { bash, zsh, fish };

/** The command, over the table that it is itself a part of. */
export function completion(table: Readonly<Record<string, CommandEntry>>): CommandSpec {
  return {
    arguments: [['<shell>', Object.keys(SCRIPTS).join(', '), Object.keys(SCRIPTS)]],
    examples: [
      'webgpu-sft completion bash > ~/.local/share/bash-completion/completions/webgpu-sft',
      'webgpu-sft completion zsh > ~/.zfunc/_webgpu-sft        # with fpath+=~/.zfunc before compinit',
      'webgpu-sft completion fish > ~/.config/fish/completions/webgpu-sft.fish',
    ],
    action: async () => ({
      async run(call) {
        const script = SCRIPTS[call.arguments[0]!]!;
        const commands = Object.entries(table).map(([name, entry]) => completed(name, entry));
        call.terminal.write('out', script(await Promise.all(commands)));
        return 0;
      },
    }),
  };
}

async function completed(name: string, { summary, load }: CommandEntry): Promise<Completed> {
  const spec = await load();
  const { command } = await buildCommand(name, summary, spec);
  const flags = command.options.map(({ long, description, required, optional }) => ({
    name: long ?? '',
    description,
    takesValue: required || optional,
  }));
  const help = { name: '--help', description: 'show this', takesValue: false };
  return { name, summary, flags: [...flags, help], words: spec.arguments?.[0]?.[2] ?? [] };
}

const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

function bash(commands: readonly Completed[]): string {
  const cases = commands.map(({ name, flags, words }) => {
    const own = words.length === 0 ? '' : ` words=${quote(words.join(' '))}`;
    return `    ${name}) flags=${quote(flags.map((flag) => flag.name).join(' '))}${own} ;;\n`;
  });
  return `# bash completion of webgpu-sft
_webgpu_sft() {
  local word=\${COMP_WORDS[COMP_CWORD]} flags='' words=''
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W ${quote(commands.map(({ name }) => name).join(' '))} -- "$word"))
    return
  fi
  case \${COMP_WORDS[1]} in
${cases.join('')}  esac
  # Files where there is nothing else.
  case $word in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$word")) ;;
    *) [ "$COMP_CWORD" -eq 2 ] && COMPREPLY=($(compgen -W "$words" -- "$word")) ;;
  esac
  return 0
}
complete -o default -F _webgpu_sft webgpu-sft
`;
}

function zsh(commands: readonly Completed[]): string {
  /** `name:description`, for `_describe`. */
  const pair = (name: string, text: string) => quote(`${name.replaceAll(':', '\\:')}:${text}`);
  const cases = commands.map(({ name, flags, words }) => {
    const all = flags.map((flag) => pair(flag.name, flag.description)).join(' ');
    return `    ${name})\n      flags=(${all})\n      words_=(${words.map(quote).join(' ')})\n      ;;\n`;
  });
  return `#compdef webgpu-sft
# zsh completion of webgpu-sft
_webgpu_sft() {
  local -a flags words_
  if (( CURRENT == 2 )); then
    flags=(${commands.map(({ name, summary }) => pair(name, summary)).join(' ')})
    _describe command flags
    return
  fi
  case $words[2] in
${cases.join('')}  esac
  if [[ $PREFIX == -* ]]; then
    _describe flag flags
  elif (( CURRENT == 3 && $#words_ > 0 )); then
    compadd -a words_
  else
    _files
  fi
}
if [[ $funcstack[1] == _webgpu-sft ]]; then _webgpu_sft "$@"; else compdef _webgpu_sft webgpu-sft; fi
`;
}

function fish(commands: readonly Completed[]): string {
  const plain = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = commands.flatMap(({ name, summary, flags, words }) => {
    const after = `complete -c webgpu-sft -n '__fish_seen_subcommand_from ${name}'`;
    return [
      `complete -c webgpu-sft -f -n __fish_use_subcommand -a ${name} -d ${plain(summary)}`,
      ...flags.map(({ name: flag, description, takesValue }) => {
        return `${after} -l ${flag.slice(2)}${takesValue ? ' -r' : ''} -d ${plain(description)}`;
      }),
      ...(words.length === 0 ? [] : [`${after} -f -a ${plain(words.join(' '))}`]),
    ];
  });
  return `# fish completion of webgpu-sft\n${lines.join('\n')}\n`;
}
