/** `webgpu-sft models`: what is in the cache of the hub, one model more, one less. */
import { SftError } from '../../platform/errors.ts';
import { COMMIT } from '../../platform/hubConnection.ts';
import { type CachedRepo, readCache, removeCached } from '../../platform/nodeCache.ts';
import { cacheFolder } from '../../platform/nodeHub.ts';
import { nearest } from '../../platform/suggest.ts';
import { agrees } from '../agree.ts';
import { type Call, printJson, say } from '../command.ts';
import { showSources } from '../downloads.ts';
import { bytes, counted, shellQuote, table } from '../format.ts';
import { ownCommand } from '../ownCommand.ts';
import { stopSignals } from '../stopSignals.ts';

interface Options {
  readonly revision?: string;
  readonly yes?: boolean;
}

const ACTIONS = { list, download, remove };

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const [action = 'list', id] = call.arguments;
  await ACTIONS[action as keyof typeof ACTIONS](call, id);
  return 0;
}

async function list(call: Call, id: string | undefined): Promise<void> {
  const cache = cacheFolder();
  const all = await readCache(cache);
  const shown = id === undefined ? all : [findRepo(all, id, cache)];
  if (call.json) return printJson(call, shown.map(describe));
  const total = shown.reduce((sum, repo) => sum + repo.bytes, 0);
  if (shown.length > 0) {
    const rows = shown.map((repo) => [nameOf(repo), revisionsOf(repo), bytes(repo.bytes), day(repo.lastUsed)]);
    for (const line of table([['id', 'revisions', 'size', 'last used'], ...rows], [2])) call.terminal.line('out', line);
  }
  say(call, `${counted(shown.length, 'repo')} in ${cache}, ${bytes(total)}`);
  if (shown.length === 0) say(call, `try: ${ownCommand()} models download Qwen/Qwen2.5-0.5B-Instruct`);
}

async function download(call: Call, id: string | undefined): Promise<void> {
  const { revision = 'main' } = call.options as Options;
  const name = expectId(id, 'download');
  if (/^datasets\//.test(name)) {
    throw new SftError('ARGUMENT', `models download: expected a model or an adapter, got ${name}`, {
      hint: 'name the data set in data.raw_path: webgpu-sft process brings its rows',
    });
  }
  const stop = stopSignals(call.terminal);
  try {
    const options = { ...showSources(call), signal: stop.signal };
    const { downloadModel } = await import('../../train/namedFiles.ts');
    const { folder, base } = await downloadModel({ name, revision, hub_url: await hubOf(call, name) }, options);
    const repo = findRepo(await readCache(cacheFolder()), name, cacheFolder());
    const brought = repo.revisions.find(({ commit }) => commit === folder.commit);
    const files = brought?.files ?? [];
    const size = files.reduce((sum, file) => sum + file.bytes, 0);
    if (call.json) return printJson(call, { id: name, commit: folder.commit, files: files.length, bytes: size });
    say(call, `${name}, commit ${folder.commit.slice(0, 7)}: ${counted(files.length, 'file')}, ${bytes(size)}`);
    say(call, `try: ${nextCommand(name, revision, base)}`);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    throw new SftError('INTERRUPTED', `${name}: the download was stopped`, {
      hint: 'the same command goes on where it stopped',
      cause: error,
    });
  }
}

/** An answer with what was brought: a model, or an adapter and its base. */
function nextCommand(name: string, revision: string, base: string | null): string {
  const at = revision === 'main' ? '' : revision;
  if (base === null) {
    const pinned = at && ` --set model.revision=${shellQuote(at)}`;
    return `${ownCommand()} infer --model ${name}${pinned} --prompt 'Hello!'`;
  }
  const adapter = `${name}${at && `@${at}`}`;
  return `${ownCommand()} infer --model ${shellQuote(base)} --adapter ${shellQuote(adapter)} --prompt 'Hello!'`;
}

async function remove(call: Call, id: string | undefined): Promise<void> {
  const { revision, yes = false } = call.options as Options;
  const cache = cacheFolder();
  const repo = findRepo(await readCache(cache), expectId(id, 'remove'), cache);
  const commit = revision === undefined ? undefined : findCommit(repo, revision);
  const what = `${nameOf(repo)}${commit === undefined ? '' : `, commit ${commit.slice(0, 7)}`}`;
  if (!call.json) say(call, `${what}: ${bytes(repo.bytes)} in ${repo.path}`);
  if (!yes && !(await agrees(call, 'remove it?', 'models remove'))) return say(call, 'nothing was removed');
  await removeCached(cache, repo, commit);
  const left = (await readCache(cache)).find(({ path }) => path === repo.path)?.bytes ?? 0;
  if (call.json) printJson(call, { id: nameOf(repo), commit: commit ?? null, bytes: repo.bytes - left });
  say(call, `removed ${what}: ${bytes(repo.bytes - left)} are free`);
}

/** The configuration says which hub; the model is that of the command line. */
async function hubOf(call: Call, name: string): Promise<string | null> {
  const { readConfig } = await import('../readConfig.ts');
  const { setOverride } = await import('../../train/configOverrides.ts');
  const overrides = [...(call.config.overrides ?? []), setOverride(`model.name=${name}`)];
  return (await readConfig({ ...call, config: { ...call.config, overrides } })).config.model.hub_url;
}

function expectId(id: string | undefined, action: string): string {
  if (id !== undefined) return id;
  throw new SftError('ARGUMENT', `models ${action}: expected the id of a model, got none`, {
    hint: `webgpu-sft models ${action} owner/name; webgpu-sft models list shows what is there`,
  });
}

/** How a repository is shown and named: models by their id alone, as on the hub. */
const nameOf = ({ type, id }: CachedRepo) => (type === 'model' ? id : `${type}s/${id}`);

/** Only what is in the cache can be named, so that nothing else is ever removed. Throws `ARGUMENT`. */
function findRepo(all: readonly CachedRepo[], id: string, cache: string): CachedRepo {
  const found = all.find((repo) => nameOf(repo) === id);
  if (found) return found;
  const meant = nearest(id, all.map(nameOf));
  throw new SftError('ARGUMENT', `models: expected the id of something in ${cache}, got ${JSON.stringify(id)}`, {
    hint: meant === undefined ? 'webgpu-sft models list shows what is there' : `did you mean ${meant}?`,
  });
}

function findCommit(repo: CachedRepo, revision: string): string {
  const found = repo.revisions.filter(
    ({ commit, refs }) => refs.includes(revision) || (revision.length >= 7 && commit.startsWith(revision)),
  );
  if (found.length === 1) return found[0]!.commit;
  throw new SftError('ARGUMENT', `--revision: expected one of ${nameOf(repo)}, got ${JSON.stringify(revision)}`, {
    hint: `there is ${revisionsOf(repo) || 'none that is whole'}`,
  });
}

const revisionsOf = ({ revisions }: CachedRepo) =>
  revisions
    .map(({ commit, refs }) => {
      const short = COMMIT.test(commit) ? commit.slice(0, 7) : commit;
      return refs.length === 0 ? short : `${refs.join(', ')} (${short})`;
    })
    .join(', ');

const day = (time: number | null) => (time === null ? '' : new Date(time).toISOString().slice(0, 10));

/** The JSON of a repository. */
function describe(repo: CachedRepo): object {
  return {
    id: repo.id,
    type: repo.type,
    bytes: repo.bytes,
    last_used: repo.lastUsed === null ? null : new Date(repo.lastUsed).toISOString(),
    path: repo.path,
    revisions: repo.revisions.map(({ commit, refs, files }) => ({
      commit,
      refs,
      files: files.length,
      bytes: files.reduce((sum, file) => sum + file.bytes, 0),
    })),
  };
}
