/**
 * The live page: static files, and one stream of server-sent events with what the runs of a folder write to their `events.jsonl`.
 *
 * The id of each message is where every run stands, in bytes of its file. A page that was cut off sends the last one back and gets
 * exactly what it has missed. Only this machine is served: the address is loopback, and a request must name it as its host, so that no
 * page of elsewhere can read along (DNS rebinding).
 */
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, extname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { SftError } from '../../platform/errors.ts';
import { findRuns, readEvents } from './tail.ts';

const PAGE = fileURLToPath(new URL('../../dist/dashboard/', import.meta.url));

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};
const SECURITY = {
  'Content-Security-Policy': "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'no-store',
};
const HOSTS = ['localhost', '127.0.0.1', '[::1]'];
/** How often files are looked at. */
const LOOK_MS = 250;
/** Proxies and browsers take a silent connection for a dead one. */
const ALIVE_MS = 15_000;
/** How long a page that does not read may keep the server from closing. */
const FAREWELL_MS = 2000;

export interface Dashboard {
  readonly url: string;
  close(): Promise<void>;
}

/** Serves the runs below `folder`. `port` 0 takes any that is free. Throws `IO` for a port that is taken. */
export async function serveDashboard(folder: string, port: number): Promise<Dashboard> {
  const closing = new AbortController();
  const busy = new Set<Promise<void>>();
  const server = createServer((request, response) => {
    const work = answer(folder, request, response, closing.signal)
      .catch((error: unknown) => {
        if (!response.headersSent) response.writeHead(500);
        response.end(String((error as Error).message));
      })
      .finally(() => busy.delete(work));
    busy.add(work);
  });
  await new Promise<void>((done, failed) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const taken = cause.code === 'EADDRINUSE';
      const message = taken
        ? `port ${port}: expected a free port, another program uses it`
        : `port ${port}: ${cause.message}`;
      failed(new SftError('IO', message, { hint: 'choose another one with --port', cause }));
    });
    server.listen(port, '127.0.0.1', done);
  });
  const { port: own } = server.address() as AddressInfo;
  return {
    url: `http://localhost:${own}/`,
    close: async () => {
      // Pages get the end of the run, which was written a moment ago.
      closing.abort();
      await Promise.race([Promise.all(busy), sleep(FAREWELL_MS, null, { ref: false })]);
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

async function answer(
  folder: string,
  request: IncomingMessage,
  response: ServerResponse,
  closing: AbortSignal,
): Promise<void> {
  const host = (request.headers.host ?? '').replace(/:\d+$/, '');
  const { pathname } = new URL(request.url ?? '/', 'http://localhost');
  if (!HOSTS.includes(host)) return void response.writeHead(403).end('this page is for this machine only\n');
  if (request.method !== 'GET') return void response.writeHead(405).end();
  if (pathname === '/events') return stream(folder, request, response, closing);
  const name = pathname === '/' ? 'index.html' : pathname.slice(1);
  const path = join(PAGE, name);
  if (!path.startsWith(PAGE)) return void response.writeHead(404).end();
  const bytes = await readFile(path).catch(() => null);
  if (!bytes) return void response.writeHead(404).end();
  response
    .writeHead(200, { ...SECURITY, 'Content-Type': TYPES[extname(path)] ?? 'application/octet-stream' })
    .end(bytes);
}

/** Where each run stands, in bytes, by its title: a page that is left open meets the server of another folder too. */
type Places = Record<string, number>;

function placesOf(id: unknown): Places {
  try {
    const value = JSON.parse(String(id)) as unknown;
    const pairs = Object.entries(value as object).filter(([, place]) => Number.isSafeInteger(place) && place >= 0);
    return Object.fromEntries(pairs) as Places;
  } catch {
    return {};
  }
}

async function stream(
  folder: string,
  request: IncomingMessage,
  response: ServerResponse,
  closing: AbortSignal,
): Promise<void> {
  const places = placesOf(request.headers['last-event-id']);
  response.writeHead(200, { ...SECURITY, 'Content-Type': 'text/event-stream; charset=utf-8' });
  response.write('retry: 1000\n\n');
  let open = true;
  response.on('close', () => {
    open = false;
  });
  let toldAt = performance.now();
  const send = async (text: string) => {
    toldAt = performance.now();
    // A page that is slower than the files makes this wait.
    if (!response.write(text) && open) await new Promise((done) => response.once('drain', done).once('close', done));
  };
  while (open) {
    const last = closing.aborted;
    let more = false;
    for (const run of await findRuns(folder)) {
      const title = run === '.' ? basename(resolve(folder)) : run;
      const known = Object.hasOwn(places, title);
      const before = places[title] ?? 0;
      const { lines, end } = await readEvents(folder, run, before);
      if (known && lines.length === 0) continue;
      places[title] = end;
      more ||= lines.length > 0;
      const message = `{"run":${JSON.stringify(title)},"anew":${end < before},"events":[${lines.join(',')}]}`;
      await send(`id: ${JSON.stringify(places)}\ndata: ${message}\n\n`);
    }
    if (more) continue;
    if (last) break;
    if (performance.now() - toldAt > ALIVE_MS) await send(': alive\n\n');
    await sleep(LOOK_MS, null, { signal: closing }).catch(() => {});
  }
  response.end();
}
