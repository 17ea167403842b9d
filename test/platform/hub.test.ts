/** The hub and its cache, against a hub on loopback. */
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { openHub as openInPage } from '../../src/platform/browserHub.ts';
import type { SftError } from '../../src/platform/errors.ts';
import { type HubProgress, inParallel } from '../../src/platform/hub.ts';
import { hubAddress, isHubId, sleep } from '../../src/platform/hubConnection.ts';
import { openHub } from '../../src/platform/nodeHub.ts';
import { readBytes, readText } from '../../src/platform/sources.ts';
import { COMMIT, FakeHub, type Fault, TOKEN } from '../fakeHub.ts';

const WEIGHTS = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7) % 251);
const etag = createHash('sha256').update(WEIGHTS).digest('hex');
const MODEL = { type: 'model', id: 'org/tiny', revision: 'main' } as const;
const FILES = { 'config.json': '{"a":1}', 'sub/model.safetensors': WEIGHTS, 'pytorch_model.bin': 'no' };

let hub: FakeHub;
let home = '';

beforeAll(async () => {
  hub = await FakeHub.start();
});
afterAll(() => hub.stop());

beforeEach(() => {
  hub.reset();
  hub.add('model', MODEL.id, { files: FILES });
  home = mkdtempSync(join(tmpdir(), 'webgpu-sft-hub-'));
  for (const name of ['HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'HF_TOKEN', 'HF_TOKEN_PATH', 'HF_HUB_OFFLINE'])
    vi.stubEnv(name, '');
  vi.stubEnv('HF_HOME', home);
  vi.stubEnv('HF_ENDPOINT', hub.url);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(home, { recursive: true });
});

const place = (...parts: string[]) => join(home, 'hub', 'models--org--tiny', ...parts);
/** Matchers look at each byte, which takes seconds. */
const same = (bytes: Uint8Array) => Buffer.from(bytes).equals(WEIGHTS);
const asked = () => hub.asked.map(({ method, path }) => `${method} ${path}`);
const failure = (promise: Promise<unknown>): Promise<SftError> =>
  promise.then(
    () => {
      throw new Error('expected a failure');
    },
    (error: SftError) => error,
  );
/** What happens to requests for content. */
const whenContent = (fault: (n: number) => Fault | undefined) => {
  let count = 0;
  hub.fault = ({ path }) => (path.startsWith('/cdn/') ? fault(count++) : undefined);
};

describe('ids and addresses', () => {
  it('are what the hub allows, and never lead out of the cache', () => {
    for (const id of ['org/tiny', 'Qwen/Qwen2.5-0.5B', 'a/b', 'my_org/x_1.0']) expect(isHubId(id), id).toBe(true);
    const wrong = [
      'tiny',
      'a/b/c',
      '../x',
      'a/..',
      'a/.b',
      '/a',
      'a/',
      'a--b/c',
      'a/b.git',
      'a/b c',
      'a\\b/c',
      '-a/b',
      'a/b-',
      `a/${'b'.repeat(95)}`,
    ];
    for (const id of [...wrong, './a']) expect(isHubId(id), id).toBe(false);
  });

  it('of a hub are http addresses', () => {
    expect(hubAddress('https://hub.example/sub/')).toBe('https://hub.example/sub');
    for (const url of ['hub.example', 'file:///x', 'https://x/?a', ''])
      expect(() => hubAddress(url)).toThrow(/expected an address such as/);
  });

  it.each(['../up', 'a/../b', '/a', 'a//b', 'a b', '', 'a\\b', 'refs/', '.x', 'a/.b'])(
    'refuses the revision %j',
    async (revision) => {
      expect(await failure(openHub({ ...MODEL, revision }))).toMatchObject({ code: 'CONFIG' });
      expect(asked()).toEqual([]);
    },
  );
});

describe('a repository in the cache', () => {
  it('has the layout of huggingface_hub, and only the files that were wanted', async () => {
    const folder = await openHub(MODEL);
    expect(folder).toMatchObject({ name: 'org/tiny', commit: COMMIT, notice: null });
    expect(await folder.list()).toEqual(['config.json', 'pytorch_model.bin', 'sub/model.safetensors']);
    expect([await folder.has('config.json'), await folder.has('other')]).toEqual([true, false]);
    const seen: HubProgress[] = [];
    const opened = await openHub(MODEL, { onProgress: (progress) => seen.push(progress) });
    await opened.download(['config.json', 'sub/model.safetensors']);
    expect(seen.at(-1)).toEqual({ name: 'org/tiny', loaded: WEIGHTS.length + 7, total: WEIGHTS.length + 7 });

    const link = readlinkSync(place('snapshots', COMMIT, 'sub/model.safetensors'));
    expect(link).toMatch(/^\.\.\/\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/);
    expect(readlinkSync(place('snapshots', COMMIT, 'config.json'))).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/);
    expect(readdirSync(place('blobs'))).toHaveLength(2);
    expect(readFileSync(place('refs/main'), 'utf8')).toBe(COMMIT);
    expect(same(await readBytes(folder, 'sub/model.safetensors'))).toBe(true);
    const source = await folder.open('config.json');
    expect(source.name).toBe('org/tiny/config.json');
    await source.close();
  });

  it('is not asked for again, and is there without the hub', async () => {
    await (await openHub(MODEL)).download(['config.json']);
    hub.asked.length = 0;
    await (await openHub(MODEL)).download(['config.json']);
    expect(asked()).toEqual(['GET /api/models/org/tiny/revision/main']);

    hub.asked.length = 0;
    const commit = await openHub({ ...MODEL, revision: COMMIT });
    expect(await readText(commit, 'config.json')).toBe('{"a":1}');
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    const offline = await openHub(MODEL);
    expect(offline.notice).toBeNull();
    expect(await readText(offline, 'config.json')).toBe('{"a":1}');
    expect(await failure(offline.open('sub/model.safetensors'))).toMatchObject({
      code: 'IO',
      message: 'org/tiny/sub/model.safetensors: it is not in the cache, and HF_HUB_OFFLINE is set',
    });
    expect(await failure(openHub({ ...MODEL, id: 'org/other' }))).toMatchObject({
      code: 'MODEL',
      message: 'org/other: HF_HUB_OFFLINE is set and the cache does not have it',
    });
    expect(asked()).toEqual([]);
  });

  it('says when the hub was not reached', async () => {
    await (await openHub(MODEL)).download(['config.json']);
    vi.stubEnv('HF_ENDPOINT', 'http://127.0.0.1:9');
    const folder = await openHub(MODEL);
    expect(folder.notice).toMatch(
      /^org\/tiny: http:\/\/127\.0\.0\.1:9 gave no answer \(.*\); using commit 0123456 of the cache$/,
    );
    expect(await readText(folder, 'config.json')).toBe('{"a":1}');
    expect((await failure(folder.download(['sub/model.safetensors']))).message).toMatch(
      /not in the cache, and http.*gave no answer/,
    );
  });

  it('follows a branch that moves, and keeps what did not change', async () => {
    await (await openHub(MODEL)).download(['config.json', 'sub/model.safetensors']);
    const next = COMMIT.replace('0', 'f');
    hub.add('model', MODEL.id, {
      files: { ...FILES, 'config.json': '{"a":2}' },
      revisions: { main: next, v1: COMMIT },
    });
    hub.asked.length = 0;
    const folder = await openHub(MODEL);
    await folder.download(['config.json', 'sub/model.safetensors']);
    expect([folder.commit, await readText(folder, 'config.json')]).toEqual([next, '{"a":2}']);
    expect(asked().filter((line) => line.includes('/cdn/'))).toEqual([]);
    expect((await openHub({ ...MODEL, revision: 'v1' })).commit).toBe(COMMIT);
    expect(readFileSync(place('refs/main'), 'utf8')).toBe(next);
  });

  it('reads a file in ranges that was not brought', async () => {
    const source = await (await openHub(MODEL)).open('sub/model.safetensors');
    expect(source.size).toBe(WEIGHTS.length);
    expect(await source.read(250, 3)).toEqual(WEIGHTS.slice(250, 253));
    expect(existsSync(place('blobs'))).toBe(false);
    expect(hub.asked.filter(({ path }) => path.startsWith('/cdn/')).map(({ range }) => range)).toEqual([
      'bytes=0-0',
      'bytes=250-252',
    ]);
  });

  it('takes a model that Python has brought, and refuses a data set whose files nobody knows', async () => {
    await (await openHub(MODEL)).download(['config.json']);
    rmSync(place('listings'), { recursive: true });
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect(await (await openHub(MODEL)).list()).toEqual(['config.json']);
    mkdirSync(join(home, 'hub/datasets--org--rows/refs'), { recursive: true });
    writeFileSync(join(home, 'hub/datasets--org--rows/refs/main'), COMMIT);
    expect(await failure(openHub({ type: 'dataset', id: 'org/rows', revision: 'main' }))).toMatchObject({
      code: 'DATA',
    });
  });

  it('lists a repository page by page where the hub gives no short list', async () => {
    hub.add('model', MODEL.id, { files: FILES, paged: true });
    expect(await (await openHub(MODEL)).list()).toEqual(['config.json', 'pytorch_model.bin', 'sub/model.safetensors']);
  });

  it('gives the token to the hub and to nobody else', async () => {
    writeFileSync(join(home, 'token'), `${TOKEN}\n`);
    await (await openHub(MODEL)).download(['config.json', 'sub/model.safetensors']);
    for (const { path, token } of hub.asked) expect(token, path).toBe(path.startsWith('/cdn/') ? undefined : TOKEN);
    hub.asked.length = 0;
    // What was stored for one hub is not shown to another; what the environment says is meant.
    vi.stubEnv('HF_ENDPOINT', '');
    await openHub(MODEL, { hubUrl: hub.url });
    vi.stubEnv('HF_TOKEN', TOKEN);
    await openHub(MODEL, { hubUrl: hub.url });
    expect(hub.asked.map(({ token }) => token)).toEqual([undefined, TOKEN]);
    vi.stubEnv('HF_TOKEN', 'two words');
    expect(await failure(openHub(MODEL))).toMatchObject({
      code: 'CONFIG',
      message: expect.stringMatching(/^HF_TOKEN: /),
    });
  });
});

describe('a download', () => {
  const download = async () => (await openHub(MODEL)).download(['sub/model.safetensors']);
  const ranges = () => hub.asked.filter(({ path }) => path.startsWith('/cdn/')).map(({ range }) => range);
  const isWhole = async () => expect(same(await readBytes(await openHub(MODEL), 'sub/model.safetensors'))).toBe(true);

  it('that is cut goes on where it stopped', async () => {
    whenContent((n) => (n < 2 ? { breakAfter: 100_000 } : undefined));
    await download();
    // What has come but was not read when the connection broke is lost.
    const [none, second = '', third = '', ...more] = ranges();
    expect([none, more]).toEqual([undefined, []]);
    const starts = [second, third].map((range) => Number(/^bytes=(\d+)-$/.exec(range)?.[1]));
    expect(starts[0]).toBeGreaterThan(0);
    expect(starts[1]).toBeGreaterThan(starts[0]!);
    await isWhole();
  });

  it('that hangs goes on as well', async () => {
    whenContent((n) => (n === 0 ? { stopAfter: 50_000 } : n === 1 ? 'hang' : undefined));
    vi.stubEnv('HF_HUB_ETAG_TIMEOUT', '2');
    vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '1');
    await download();
    expect(ranges()).toEqual([undefined, 'bytes=50000-', 'bytes=50000-']);
    await isWhole();
  });

  it('that is given up is gone on with by the next one', async () => {
    whenContent((n) => ({ breakAfter: n === 0 ? 100_000 : 0 }));
    const error = await failure(download());
    expect(error).toMatchObject({ code: 'IO', hint: 'run the command again: it goes on where it stopped' });
    const stopped = /^org\/tiny\/sub\/model.safetensors: the hub stopped after (\d+) of 300000 bytes: .+$/;
    const got = stopped.exec(error.message)?.[1];
    expect(Number(got)).toBeGreaterThan(0);
    expect(readdirSync(place('blobs'))).toEqual([expect.stringMatching(/^[0-9a-f]{64}\.incomplete$/)]);
    expect(existsSync(place('refs'))).toBe(false);
    hub.reset();
    await download();
    expect(ranges()).toEqual([`bytes=${got}-`]);
    expect(readdirSync(place('blobs'))).toEqual([etag]);
    await isWhole();
  }, 30_000);

  it('goes on with what a killed process left, and lets a living one alone', async () => {
    mkdirSync(place('blobs'), { recursive: true });
    writeFileSync(place('blobs', `${etag}.999999999-1.incomplete`), WEIGHTS.subarray(0, 1000));
    writeFileSync(place('blobs', `${etag}.${process.ppid}-1.incomplete`), WEIGHTS.subarray(0, 2000));
    await download();
    expect(ranges()).toEqual(['bytes=1000-']);
    expect(readdirSync(place('blobs')).sort()).toEqual([etag, `${etag}.${process.ppid}-1.incomplete`]);
    await isWhole();
  }, 30_000);

  it('twice at once is two downloads, and both are whole', async () => {
    await Promise.all([download(), download()]);
    expect(readdirSync(place('blobs'))).toEqual([etag]);
    await isWhole();
  });

  it('begins anew after a part that was wrong, and where the server knows no ranges', async () => {
    mkdirSync(place('blobs'), { recursive: true });
    writeFileSync(place('blobs', `${etag}.incomplete`), new Uint8Array(1000));
    await download();
    expect(ranges()).toEqual(['bytes=1000-', undefined]);
    await isWhole();
  }, 30_000);

  it('with another content than promised is refused, and nothing stays', async () => {
    whenContent(() => ({ body: new Uint8Array(WEIGHTS.length) }));
    const wrong = await failure(download());
    expect(wrong).toMatchObject({ code: 'IO', hint: expect.stringMatching(/a proxy on the way changes the file$/) });
    expect(wrong.message).toMatch(
      /^org\/tiny\/sub\/model.safetensors: expected content with SHA-256 \w{64}, got \w{64}$/,
    );
    hub.reset();
    hub.fault = ({ method, path }) =>
      method === 'GET' && path.endsWith('/config.json') ? { body: '{"a":12345}' } : undefined;
    const long = await failure((await openHub(MODEL)).download(['config.json']));
    expect(long.message).toBe('org/tiny/config.json: expected 7 bytes, got 11');
    expect(readdirSync(place('blobs'))).toEqual([]);
    expect(existsSync(place('snapshots'))).toBe(false);
  });

  it('ends when it is stopped', async () => {
    const stop = new AbortController();
    whenContent(() => {
      setTimeout(() => stop.abort(new Error('enough')), 20);
      return { stopAfter: 1000 };
    });
    const folder = await openHub(MODEL, { signal: stop.signal });
    expect((await failure(folder.download(['sub/model.safetensors']))).message).toBe('enough');
    expect(readdirSync(place('blobs'))).toEqual([expect.stringMatching(/\.incomplete$/)]);
  });
});

describe('what goes wrong', () => {
  const open = (id: string = MODEL.id, type: 'model' | 'dataset' = 'model', revision = 'main') =>
    failure(openHub({ type, id, revision }));

  it('nothing of that id, revision or path', async () => {
    expect(await open('org/none')).toMatchObject({
      code: 'MODEL',
      message: `org/none: ${hub.url} has no model of that id, or it is private or gated (401)`,
      hint: `check the id; if it is right, log in at ${hub.url}/org/none and set HF_TOKEN to a token of that account`,
    });
    expect(await open('org/none', 'dataset')).toMatchObject({
      code: 'DATA',
      hint: expect.stringContaining('/datasets/org/none'),
    });
    expect(await open(MODEL.id, 'model', 'v9')).toMatchObject({
      code: 'MODEL',
      message: `org/tiny@v9: ${hub.url} has no revision "v9" of it (404)`,
    });
    vi.stubEnv('HF_TOKEN', TOKEN);
    expect((await open('org/none')).message).toBe(`org/none: ${hub.url} has no model of that id (404)`);
    const folder = await openHub(MODEL);
    expect((await failure(folder.open('other'))).message).toBe('org/tiny/other: there is no such file');
    expect((await failure(folder.download(['other']))).message).toBe('org/tiny/other: there is no such file');
    expect((await failure(folder.download(['../up']))).message).toMatch(/expected a path inside the folder/);
  });

  it('private, gated, and a token that nobody knows', async () => {
    hub.add('model', MODEL.id, { files: FILES, access: 'private' });
    expect((await open()).message).toMatch(/private or gated \(401\)$/);
    hub.add('model', MODEL.id, { files: FILES, access: 'gated' });
    const folder = await openHub(MODEL);
    expect(await failure(folder.download(['config.json']))).toMatchObject({
      code: 'MODEL',
      message: `org/tiny/config.json: ${hub.url} lets nobody without a token have this model (401)`,
      hint: `open ${hub.url}/org/tiny in a browser, log in and ask for access, then set HF_TOKEN to a token of that account`,
    });
    vi.stubEnv('HF_TOKEN', 'hf_other');
    expect((await open()).message).toBe(`org/tiny: ${hub.url} does not know this token (401)`);
    vi.stubEnv('HF_TOKEN', TOKEN);
    await (await openHub(MODEL)).download(['config.json']);
  });

  it('a hub that is busy is asked again, and not for ever', async () => {
    let left = 2;
    hub.fault = () => (left-- > 0 ? 503 : undefined);
    hub.faultHeaders = { 'Retry-After': '0' };
    expect((await openHub(MODEL)).commit).toBe(COMMIT);
    hub.fault = () => 500;
    hub.asked.length = 0;
    expect(await open()).toMatchObject({
      code: 'IO',
      message: `org/tiny: ${hub.url} answered 500 (it has a problem of its own)`,
    });
    expect(asked()).toHaveLength(4);
    hub.fault = () => 429;
    hub.faultHeaders = { 'Retry-After': '300' };
    hub.asked.length = 0;
    expect(await open()).toMatchObject({
      message: `org/tiny: ${hub.url} answered 429 (too many requests)`,
      hint: 'try again in 5 minutes; with HF_TOKEN set, more requests are allowed',
    });
    expect(asked()).toHaveLength(1);
  });

  it('a hub that is silent, away, or something else', async () => {
    hub.fault = () => 'hang';
    vi.stubEnv('HF_HUB_ETAG_TIMEOUT', '0.2');
    expect(await open()).toMatchObject({
      code: 'IO',
      message: `org/tiny: ${hub.url} gave no answer (nothing came for 0.2 s)`,
    });
    vi.stubEnv('HF_HUB_ETAG_TIMEOUT', '');
    hub.fault = () => ({ body: '<html>' });
    expect((await open()).message).toMatch(
      /^org\/tiny: expected the answer of a model hub at http.*, got something else$/,
    );
    hub.fault = () => ({ body: '{"sha":"../../up","siblings":[]}' });
    expect((await open()).message).toMatch(/got something else$/);
    hub.fault = () => 451;
    expect((await open()).message).toMatch(/answered 451/);
    vi.stubEnv('HF_ENDPOINT', 'http://127.0.0.1:9');
    expect(await open()).toMatchObject({ code: 'IO', message: expect.stringMatching(/127\.0\.0\.1:9 gave no answer/) });
  });
});

it('of failures side by side the first item tells, whichever came first', async () => {
  const work = async (milliseconds: number) => {
    await sleep(milliseconds);
    throw new Error(`after ${milliseconds}`);
  };
  expect((await failure(inParallel([30, 0, 60], 2, work))).message).toBe('after 30');
});

it('in a page the same names read from the hub itself', async () => {
  const folder = await openInPage(MODEL, { hubUrl: hub.url });
  expect(await folder.list()).toEqual(['config.json', 'pytorch_model.bin', 'sub/model.safetensors']);
  await folder.download(['config.json']);
  expect(await readText(folder, 'config.json')).toBe('{"a":1}');
  const weights = await folder.open('sub/model.safetensors');
  expect([weights.name, await weights.read(299_999, 1)]).toEqual(['org/tiny/sub/model.safetensors', WEIGHTS.slice(-1)]);
  expect((await failure(folder.open('other'))).message).toBe('org/tiny/other: there is no such file');
  expect(existsSync(join(home, 'hub'))).toBe(false);
});
