/** `webgpu-sft init`: a folder with everything that a first run needs. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { SftError } from '../../platform/errors.ts';
import { loadConfig } from '../../train/configFile.ts';
import { type Call, say, warn } from '../command.ts';
import { counted, shellQuote } from '../format.ts';
import { askAnswers, defaultAnswers, withProposal } from '../init/answers.ts';
import { nextCommands, projectFiles, RUN_FILE, writeProject } from '../init/files.ts';
import { ownCommand } from '../ownCommand.ts';

interface Options {
  readonly yes?: boolean;
  readonly model?: string;
  readonly data?: string;
}

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const { yes = false, model, data } = call.options as Options;
  const folder = call.arguments[0] ?? '.';
  refuseFile(folder);
  const given = defaultAnswers(model, data);
  if (!yes && !(process.stdin.isTTY && process.stdout.isTTY)) {
    throw new SftError('ARGUMENT', 'init: expected a terminal to ask at, there is none', {
      hint: 'webgpu-sft init --yes takes every default',
    });
  }
  const answers = yes ? await plannedDefaults(call, given) : await askAnswers(given);
  if (!answers) return 130;
  const command = ownCommand();
  // What a file says holds longer than the place of this program.
  const lasting = command.startsWith('node ') ? 'npx webgpu-sft' : command;
  const files = projectFiles(folder, answers, lasting, call.config.overrides);
  await checkRunFile(files);
  const written = writeProject(folder, files);
  report(call, folder, written);
  const { terminal } = call;
  if (resolve(folder) !== process.cwd()) terminal.line('out', `cd ${shellQuote(folder)}`);
  for (const line of nextCommands(command, answers)) terminal.line('out', line);
  return 0;
}

/** A model that cannot be looked at now, such as one on a hub without a connection, is no reason to make no project. */
async function plannedDefaults(call: Call, given: ReturnType<typeof defaultAnswers>) {
  try {
    return await withProposal(given);
  } catch (error) {
    if (!(error instanceof SftError)) throw error;
    warn(call, `nothing could be planned for ${given.model}: ${error.message}`);
    return given;
  }
}

function report(call: Call, folder: string, written: ReturnType<typeof writeProject>): void {
  const { bold, dim } = call.terminal.colors.err;
  const made = written.filter(({ what }) => what === 'new');
  say(call, `${bold(folder === '.' ? 'this folder' : folder)}: ${counted(made.length, 'file')} written`);
  for (const { path } of made.filter(({ path: name }) => !name.startsWith('models/'))) say(call, dim(`  ${path}`));
  for (const { path, what } of written) if (what === 'kept') warn(call, `${path} is yours and was left as it is`);
  say(call, '\nGo on with:');
}

/** What `--set` has put into the run file is as right as in any other. Throws `CONFIG`. */
async function checkRunFile(files: ReadonlyMap<string, Uint8Array>): Promise<void> {
  await loadConfig({
    path: RUN_FILE,
    readText: async (path) => new TextDecoder().decode(files.get(path)),
  });
}

function refuseFile(folder: string): void {
  const entry = statSync(folder, { throwIfNoEntry: false });
  if (!entry || entry.isDirectory()) return;
  throw new SftError('ARGUMENT', `init: expected a folder, got the file ${folder}`, { hint: 'name another one' });
}
