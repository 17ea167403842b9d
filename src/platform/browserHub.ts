/** The hub in a page: files are read from it range by range. The same names as in `nodeHub.ts`. */
import { HubClient, type HubFolder, type HubOptions } from './hub.ts';
import { type HubRepo, hubAddress, PUBLIC_HUB } from './hubConnection.ts';
import { checkPath } from './paths.ts';
import { noSuchFile } from './sources.ts';

/** Opens a repository of a hub. Throws `MODEL` or `DATA` when the hub does not have it or does not give it, `IO`, `CONFIG`. */
export async function openHub(repo: HubRepo, options: HubOptions = {}): Promise<HubFolder> {
  const { hubUrl, token = null, signal } = options;
  const client = new HubClient(repo, { url: hubAddress(hubUrl ?? PUBLIC_HUB), token, signal });
  const { commit, paths } = await client.lookUp();
  const known = new Set(paths);
  const check = (path: string) => {
    if (!known.has(checkPath(path))) throw noSuchFile(repo.id, path);
  };
  return {
    name: repo.id,
    commit,
    notice: null,
    list: async () => [...paths].sort(),
    has: async (path) => known.has(checkPath(path)),
    async open(path) {
      check(path);
      return client.open(path, commit);
    },
    async download(wanted) {
      for (const path of wanted) check(path);
    },
  };
}
