/**
 * Keeps the page's own files, so that it works without a network once it was loaded. Models lie in the storage of the browser and
 * other sites are no business of this worker. The build fills in the two constants.
 */

interface Extendable extends Event {
  waitUntil(work: Promise<unknown>): void;
}
interface Fetching extends Extendable {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}
interface Scope {
  readonly registration: { readonly scope: string };
  readonly clients: { claim(): Promise<void> };
  addEventListener(type: 'install' | 'activate', listener: (event: Extendable) => void): void;
  addEventListener(type: 'fetch', listener: (event: Fetching) => void): void;
}

const scope = globalThis as unknown as Scope;
const VERSION = '__VERSION__';
const FILES = '__FILES__' as unknown as readonly string[];

const { scope: root } = scope.registration;
const cacheName = `webgpu-sft ${root} ${VERSION}`;
const own = new Set(FILES.map((file) => new URL(file, root).href));

scope.addEventListener('install', (event) => {
  event.waitUntil(caches.open(cacheName).then((cache) => cache.addAll([...own])));
});

scope.addEventListener('activate', (event) => {
  const tidy = async () => {
    const names = (await caches.keys()).filter((name) => name.startsWith(`webgpu-sft ${root} `));
    await Promise.all(names.filter((name) => name !== cacheName).map((name) => caches.delete(name)));
    // The page that installed this worker loads the engine later, perhaps without a network.
    await scope.clients.claim();
  };
  event.waitUntil(tidy());
});

scope.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  url.search = '';
  url.hash = '';
  const name = url.href === new URL('index.html', root).href ? root : url.href;
  if (request.method !== 'GET' || !own.has(name)) return;
  const answer = async () => {
    const kept = await (await caches.open(cacheName)).match(name);
    return kept ?? fetch(request);
  };
  event.respondWith(answer());
});
