/**
 * The worker's script, with a small web of its own: a hub, a folder and an address where nothing is. Messages to the channel `web`
 * say how many bytes of weights go through before the connection breaks (null: all), and whether weights come damaged.
 */
import '../../src/worker/worker.ts';
import { Sha256 } from '../../src/platform/sha256.ts';

const COMMIT = '0123456789abcdef0123456789abcdef01234567';
const MODEL = `${new URL('../../assets/tiny-llama', import.meta.url).href}/`;
const FILES = [
  ...['README.md', 'chat_template.jinja', 'config.json', 'model.safetensors', 'tokenizer.json'],
  'tokenizer_config.json',
];
const WEIGHTS = 'model.safetensors';

const real = globalThis.fetch;
let breakAfter: number | null = null;
let damaged = false;
const asked: string[] = [];
const channel = new BroadcastChannel('web');
channel.onmessage = ({ data }: MessageEvent<{ breakAfter?: number | null; damaged?: boolean; ask?: true }>) => {
  if (data.breakAfter !== undefined) breakAfter = data.breakAfter;
  if (data.damaged !== undefined) damaged = data.damaged;
  if (data.ask) channel.postMessage({ asked: asked.splice(0) });
};

const bytesOf = async (path: string) => new Uint8Array(await (await real(MODEL + path)).arrayBuffer());

async function file(path: string, range: string | null): Promise<Response> {
  if (!FILES.includes(path)) return new Response(null, { status: 404 });
  const bytes = await bytesOf(path);
  const from = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
  const headers = {
    'Content-Length': String(bytes.length - from),
    ETag: '"1"',
    ...(from > 0 && { 'Content-Range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
  };
  const most = path === WEIGHTS && breakAfter !== null ? breakAfter : bytes.length;
  if (path === WEIGHTS && damaged) bytes[bytes.length - 1]! ^= 1;
  let at = from;
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (at - from >= most) return controller.error(new TypeError('network error'));
      const end = Math.min(bytes.length, at + 16384, from + most);
      controller.enqueue(bytes.slice(at, end));
      at = end;
      if (at === bytes.length) controller.close();
    },
  });
  return new Response(stream, { status: from > 0 ? 206 : 200, headers });
}

async function hub(path: string, range: string | null): Promise<Response> {
  if (path === '/api/models/some/model/revision/main') {
    return Response.json({ sha: COMMIT, siblings: FILES.map((rfilename) => ({ rfilename })) });
  }
  if (path === `/api/models/some/model/tree/${COMMIT}`) {
    const entries = FILES.map(async (path) => {
      const bytes = await bytesOf(path);
      const lfs = path === WEIGHTS && { lfs: { oid: new Sha256().update(bytes).digest(), size: bytes.length } };
      return { type: 'file', path, size: bytes.length, ...lfs };
    });
    return Response.json(await Promise.all(entries));
  }
  const name = path.split(`/some/model/resolve/${COMMIT}/`)[1];
  return name === undefined ? new Response(null, { status: 404 }) : file(name, range);
}

globalThis.fetch = async (address, init) => {
  const url = new URL(String(address));
  const range = new Headers(init?.headers).get('Range');
  if (url.hostname.endsWith('.test')) asked.push(`${url.pathname}${range ? ` ${range}` : ''}`);
  if (url.hostname === 'hub.test') return hub(url.pathname, range);
  if (url.hostname === 'folder.test') return file(url.pathname.replace(/^\/model\//, ''), range);
  if (url.hostname === 'none.test') throw new TypeError('Failed to fetch');
  return real(address, init);
};
