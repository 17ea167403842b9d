import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkPath } from '../../src/platform/paths.ts';
import {
  blobSource,
  bytesFolder,
  bytesSource,
  filesFolder,
  httpFolder,
  httpSource,
  readText,
} from '../../src/platform/sources.ts';

const CONTENT = Uint8Array.from({ length: 1000 }, (_, i) => i % 251);

describe('checkPath', () => {
  it('lets paths inside a folder pass', () => {
    for (const path of ['model.safetensors', 'a/b/c.json', '..a', 'a..', '.gitignore'])
      expect(checkPath(path)).toBe(path);
  });
});

describe('bytesSource and blobSource', () => {
  for (const source of [bytesSource('x', CONTENT), blobSource('x', new Blob([CONTENT]))]) {
    it('reads ranges, and refuses those outside', async () => {
      expect(await source.read(250, 3)).toEqual(new Uint8Array([250, 0, 1]));
      expect(await source.read(1000, 0)).toHaveLength(0);
      for (const [offset, length] of [
        [999, 2],
        [-1, 1],
        [0, 1001],
        [0, -1],
        [2 ** 60, 1],
      ] as const) {
        await expect(source.read(offset, length)).rejects.toMatchObject({ code: 'IO' });
      }
    });
  }

  it('gives copies', async () => {
    const bytes = new Uint8Array([1, 2]);
    (await bytesSource('x', bytes).read(0, 2))[0] = 9;
    expect(bytes[0]).toBe(1);
  });
});

describe('filesFolder', () => {
  it('drops the name of the chosen folder', async () => {
    const nested = new File(['x'], 'config.json');
    Object.defineProperty(nested, 'webkitRelativePath', { value: 'SmolLM2/config.json' });
    const folder = filesFolder('chosen', [nested, new File(['y'], 'data.jsonl')]);
    expect(await folder.list()).toEqual(['config.json', 'data.jsonl']);
    expect(await readText(folder, 'config.json')).toBe('x');
    await expect(folder.open('other')).rejects.toMatchObject({ message: 'chosen/other: there is no such file' });
  });
});

describe('readText', () => {
  const folder = bytesFolder(
    'f',
    new Map([
      ['bom', new Uint8Array([0xef, 0xbb, 0xbf, 0x61])],
      ['latin1', new Uint8Array([0xe4])],
    ]),
  );
  it('drops a byte order mark and refuses what is not UTF-8', async () => {
    expect(await readText(folder, 'bom')).toBe('a');
    await expect(readText(folder, 'latin1')).rejects.toMatchObject({
      code: 'IO',
      message: 'f/latin1: expected UTF-8 text',
    });
  });
});

describe('over HTTP', () => {
  let server: Server;
  let url: string;
  const requests: string[] = [];

  beforeAll(async () => {
    server = createServer((request, response) => {
      requests.push(`${request.method} ${request.url} ${request.headers.range ?? ''}`.trim());
      const name = request.url!.slice(1);
      const size = name.startsWith('empty') ? 0 : CONTENT.length;
      const range = name.startsWith('plain') ? null : /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '');
      if (name === 'missing') return response.writeHead(404).end();
      if (name === 'broken') return response.writeHead(500).end();
      if (name === 'page') return response.writeHead(200, { 'Content-Type': 'text/html' }).end('<html>');
      if (name === 'plain-large') return response.writeHead(200, { 'Content-Length': 2 ** 40 }).flushHeaders();
      if (range && size === 0) return response.writeHead(416, { 'Content-Range': 'bytes */0' }).end();
      if (!range)
        return response.writeHead(200, { 'Content-Length': size }).end(request.method === 'HEAD' ? '' : CONTENT);
      const [from, to] = [Number(range[1]), Number(range[2])];
      const hidden = name === 'hidden-size';
      return response
        .writeHead(206, hidden ? {} : { 'Content-Range': `bytes ${from}-${to}/${size}` })
        .end(CONTENT.subarray(from, to + 1));
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  it('reads ranges', async () => {
    const source = await httpSource(`${url}/model`);
    expect(source.size).toBe(1000);
    requests.length = 0;
    expect(await source.read(500, 3)).toEqual(CONTENT.slice(500, 503));
    expect(requests).toEqual(['GET /model bytes=500-502']);
    expect(await source.read(7, 0)).toHaveLength(0);
    await expect(source.read(999, 2)).rejects.toMatchObject({ code: 'IO' });
  });

  it('asks for the size where Content-Range cannot be seen', async () => {
    expect((await httpSource(`${url}/hidden-size`)).size).toBe(1000);
  });

  it('takes a small file whole from a server without Range, and no large one', async () => {
    const source = await httpSource(`${url}/plain`);
    requests.length = 0;
    expect(await source.read(998, 2)).toEqual(CONTENT.slice(998));
    expect(requests).toEqual([]);
    await expect(httpSource(`${url}/plain-large`)).rejects.toMatchObject({
      message: expect.stringContaining('HTTP Range'),
    });
  });

  it('opens an empty file', async () => {
    expect((await httpSource(`${url}/empty`)).size).toBe(0);
  });

  it('tells what is wrong', async () => {
    await expect(httpSource(`${url}/missing`)).rejects.toMatchObject({
      code: 'IO',
      message: `${url}/missing: expected the file, the server answered 404 Not Found`,
    });
    await expect(httpSource('http://127.0.0.1:1/x')).rejects.toMatchObject({
      message: expect.stringContaining('no answer'),
    });
  });

  it('is a folder', async () => {
    const folder = httpFolder(url);
    expect(await folder.has('model')).toBe(true);
    expect(await folder.has('missing')).toBe(false);
    expect(await folder.has('page')).toBe(false);
    await expect(folder.has('broken')).rejects.toMatchObject({ code: 'IO' });
    expect((await folder.open('model')).size).toBe(1000);
    await expect(folder.open('../model')).rejects.toMatchObject({
      message: expect.stringContaining('inside the folder'),
    });
    await expect(folder.list()).rejects.toMatchObject({ code: 'IO' });
  });
});
