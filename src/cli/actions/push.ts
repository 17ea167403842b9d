/** `webgpu-sft push`: an adapter or a merged model, with its model card, to the hub. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { SftError } from '../../platform/errors.ts';
import { isHubId } from '../../platform/hubConnection.ts';
import { hubCard, hubSettings, isOffline } from '../../platform/nodeHub.ts';
import { pushFiles, writeSettings } from '../../platform/nodePush.ts';
import { bytesSource } from '../../platform/sources.ts';
import type { ReadableSource } from '../../platform/types.ts';
import type { Config } from '../../train/config.ts';
import { type Call, printJson, say, warn } from '../command.ts';
import { readDataConfig } from '../dataFiles.ts';
import { showTransfer } from '../downloads.ts';
import { bytes, counted, shellQuote, table } from '../format.ts';
import { ownCommand } from '../ownCommand.ts';
import { frontMatterOf, licenseIn, pushedCard } from '../pushedCard.ts';
import { openPushed, type PushedFolder } from '../pushedFolder.ts';
import { stopSignals } from '../stopSignals.ts';

interface Options {
  readonly repo?: string;
  readonly private?: boolean;
  readonly message?: string;
  readonly baseModel?: string;
  readonly dryRun?: boolean;
}

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const options = call.options as Options;
  const repo = expectRepo(options.repo);
  const { config, path } = await choose(call);
  const pushed = await openPushed(path);
  const hubUrl = config.model.hub_url;
  const { url } = await (options.dryRun ? hubSettings({ hubUrl }) : writeSettings({ hubUrl }));
  const base = baseId(call, pushed, options.baseModel);
  const license = await licenseOf(pushed, base, hubUrl);
  const readme = (await pushed.folder.has('README.md')) ? readFileSync(join(path, 'README.md'), 'utf8') : null;
  const card = pushedCard(readme, { repo, hubUrl: url, pushed, base, license });
  const files = await openFiles(path, pushed, card, options.baseModel ?? null);
  try {
    if (options.dryRun) return showPlan(call, repo, files, pushed.left, card);
    return await send(call, { repo, hubUrl, pushed, base }, files);
  } finally {
    for (const file of files.values()) await file.close();
  }
}

function expectRepo(repo: string | undefined): string {
  if (repo !== undefined && isHubId(repo)) return repo;
  const got = repo === undefined ? 'nothing' : JSON.stringify(repo);
  throw new SftError('ARGUMENT', `--repo: expected where to push to, owner/name, got ${got}`, {
    hint: 'the owner is your account on the hub, or an organisation of yours: --repo me/my-adapter',
  });
}

/** The folder that was named, or the result of the run. */
async function choose(call: Call): Promise<{ config: Config; path: string }> {
  const [named] = call.arguments;
  const isFile = named !== undefined && statSync(named, { throwIfNoEntry: false })?.isFile();
  const config = await readDataConfig(isFile ? { ...call, config: { ...call.config, path: named } } : call);
  return { config, path: named === undefined || isFile ? `${config.output_dir}/final_model` : named };
}

/** The base as others can find it. */
function baseId(call: Call, { kind, base }: PushedFolder, given: string | undefined): string | null {
  if (given !== undefined) {
    if (isHubId(given)) return given;
    throw new SftError(
      'ARGUMENT',
      `--base-model: expected the id of a model on the hub, got ${JSON.stringify(given)}`,
      {
        hint: 'owner/name, as in Qwen/Qwen2.5-0.5B-Instruct',
      },
    );
  }
  if (base !== null && isHubId(base) && !existsSync(base)) return base;
  const why = base === null ? 'the files do not say which base' : `the base is ${base}, a folder of this machine`;
  warn(
    call,
    `${why}: ${kind === 'adapter' ? 'others will not find it' : 'the card names none'}; name it with --base-model ID`,
  );
  return null;
}

/** The licence that the base is known to have. */
async function licenseOf({ base: named }: PushedFolder, base: string | null, hubUrl: string | null) {
  const own = named === null ? '' : join(named, 'README.md');
  if (existsSync(own)) return licenseIn(frontMatterOf(readFileSync(own, 'utf8')));
  if (base === null || isOffline()) return {};
  // A card without a licence is better than no push.
  return licenseIn(await hubCard(base, { hubUrl }).catch(() => ({})));
}

async function openFiles(
  path: string,
  { folder, kind, paths }: PushedFolder,
  card: string,
  base: string | null,
): Promise<Map<string, ReadableSource>> {
  const text = (name: string, content: string) => bytesSource(name, new TextEncoder().encode(content));
  const files = new Map<string, ReadableSource>([['README.md', text('README.md', card)]]);
  for (const name of paths) files.set(name, await folder.open(name));
  if (kind === 'adapter' && base !== null) {
    const config = JSON.parse(readFileSync(join(path, 'adapter_config.json'), 'utf8')) as object;
    const renamed = `${JSON.stringify({ ...config, base_model_name_or_path: base }, null, 2)}\n`;
    await files.get('adapter_config.json')?.close();
    files.set('adapter_config.json', text('adapter_config.json', renamed));
  }
  return files;
}

const totalOf = (files: ReadonlyMap<string, ReadableSource>) =>
  [...files.values()].reduce((sum, { size }) => sum + size, 0);

const describe = (files: ReadonlyMap<string, ReadableSource>) =>
  [...files].map(([path, { size }]) => ({ path, bytes: size }));

function showPlan(
  call: Call,
  repo: string,
  files: ReadonlyMap<string, ReadableSource>,
  left: readonly string[],
  card: string,
): number {
  if (call.json) {
    printJson(call, { repo, dry_run: true, files: describe(files), left_out: left, card });
    return 0;
  }
  const { terminal } = call;
  const rows = describe(files).map(({ path, bytes: size }) => [path, bytes(size)]);
  for (const line of table(rows, [1])) terminal.line('out', line);
  for (const path of left) terminal.line('out', `${path}: stays here`);
  terminal.line('out', `\nREADME.md:\n\n${card.trimEnd()}`);
  say(call, `${counted(files.size, 'file')}, ${bytes(totalOf(files))} would go to ${repo}; nothing was sent`);
  return 0;
}

async function send(
  call: Call,
  { repo, hubUrl, pushed, base }: { repo: string; hubUrl: string | null; pushed: PushedFolder; base: string | null },
  files: ReadonlyMap<string, ReadableSource>,
): Promise<number> {
  const { private: isPrivate = false, message = `Upload ${pushed.kind} with webgpu-sft` } = call.options as Options;
  const stop = stopSignals(call.terminal);
  const done = await pushFiles(repo, files, {
    hubUrl,
    message,
    private: isPrivate,
    signal: stop.signal,
    onProgress: showTransfer(call, 'sending'),
    onWarning: (text) => warn(call, text),
  }).catch((error: unknown) => {
    call.terminal.setStatus('err', null);
    if (!stop.signal.aborted) throw error;
    throw new SftError('INTERRUPTED', `${repo}: stopped before the commit, so that it has changed nothing there`, {
      hint: 'the same command goes on; files that have been sent whole are not sent again',
      cause: error,
    });
  });
  call.terminal.setStatus('err', null);
  const { page, commit, changed } = done;
  if (call.json) printJson(call, { repo, url: page, commit, files: describe(files), changed });
  else call.terminal.line('out', page);
  const at = commit === null ? '' : `, commit ${commit.slice(0, 7)}`;
  say(
    call,
    changed.length === 0
      ? `${repo} has all of it already${at}`
      : `pushed ${counted(changed.length, 'file')} of ${counted(files.size, 'file')}${at}`,
  );
  const model = pushed.kind === 'model' ? repo : base;
  if (model !== null) {
    const adapter = pushed.kind === 'adapter' ? ` --adapter ${shellQuote(repo)}` : '';
    say(call, `try: ${ownCommand()} infer --model ${shellQuote(model)}${adapter} --prompt 'Hello!'`);
  }
  return 0;
}
