/**
 * What the package promises, asked of the installed package from outside: in Node and, the same file, in a page. `address` is a
 * folder on a server with this file, the documents beside it and `tiny-llama/`.
 */

/** Names that outsiders rely on. */
const NAMES = [
  'requestDevice',
  'loadModel',
  'loadTokenizer',
  'loadConfig',
  'parseConfig',
  'Trainer',
  'train',
  'generate',
  'saveAdapter',
  'loadAdapter',
  'mergeAdapter',
  'planMemory',
  'evaluate',
  'renderChat',
  'SftError',
  'openFile',
  'openFolder',
  'openStore',
  'memoryStore',
  'blobSource',
  'bytesSource',
  'httpSource',
  'filesFolder',
  'bytesFolder',
  'httpFolder',
  'createWorkerTrainer',
  'registerArchitecture',
  'defineKernel',
  'defineOp',
];

function expectEqual(what, got, wanted) {
  const [have, want] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (have !== want) throw new Error(`${what}: expected ${want}, got ${have}`);
}

const codeOf = (promise) =>
  promise.then(
    () => 'nothing',
    ({ code }) => code,
  );

/** Each throws what is wrong. */
const CHECKS = {
  async names(api) {
    const missing = NAMES.filter((name) => typeof api[name] !== 'function');
    expectEqual('missing', missing, []);
  },

  async 'every way to read and write'(api, address) {
    const { openStore, openFolder, openFile, memoryStore, blobSource, bytesSource, bytesFolder, filesFolder } = api;
    const textOf = async (source) => new TextDecoder().decode(await source.read(1, source.size - 1));
    const bytes = new TextEncoder().encode('hello');
    for (const store of [memoryStore(), await openStore('outputs/surface')]) {
      await store.write('a', 'hello');
      await api.saveFolder(store, 'folder', (staged) => staged.write('a', 'hello'));
      expectEqual(store.name, await textOf(await store.folder('folder').open('a')), 'ello');
    }
    expectEqual('openFile', await textOf(await openFile('outputs/surface/a')), 'ello');
    expectEqual('openFolder', (await (await openFolder('outputs/surface')).list()).includes('a'), true);
    expectEqual('blobSource', await textOf(blobSource('blob', new Blob([bytes]))), 'ello');
    expectEqual('bytesSource', await textOf(bytesSource('bytes', bytes)), 'ello');
    expectEqual('bytesFolder', await textOf(await bytesFolder('folder', new Map([['a', bytes]])).open('a')), 'ello');
    const http = await api.httpSource(new URL('tiny-llama/config.json', address).href);
    expectEqual('httpSource', JSON.parse(`{${await textOf(http)}`).model_type, 'llama');
    if (typeof File === 'function') {
      expectEqual('filesFolder', await textOf(await filesFolder('files', [new File([bytes], 'a')]).open('a')), 'ello');
    }
  },

  async 'errors have codes'(api) {
    const wrong = async () => api.parseConfig({ model: { name: 'x' }, train: { epochs: -1 } });
    expectEqual('code', await codeOf(wrong()), 'CONFIG');
    expectEqual('class', await wrong().catch((error) => error instanceof api.SftError), true);
  },

  async 'a conversation, a plan, documents: without a GPU'(api, address) {
    const folder = api.httpFolder(new URL('tiny-llama/', address).href);
    const text = await api.renderChat(folder, [{ role: 'user', content: 'Hi' }], { addGenerationPrompt: true });
    expectEqual('renderChat', text.includes('Hi'), true);
    const files = await api.openModel(folder);
    const config = api.parseConfig({ model: { name: 'tiny-llama', max_seq_len: 64 }, tuning: { mode: 'lora' } });
    expectEqual('planMemory', api.planMemory(files, config, api.IMAGINED_GPU).peak_bytes > 0, true);
    await files.checkpoint.close();
    for (const [name, wanted] of [
      ['hello.pdf', 'Hello from paper.'],
      ['hello.docx', 'Hello from Word.'],
    ]) {
      const source = await api.httpSource(new URL(name, address).href);
      for await (const row of api.readRows(source)) expectEqual(name, row.text, wanted);
    }
  },

  async 'an aborted signal'(api, address) {
    const config = api.parseConfig({
      output_dir: 'outputs/aborted',
      model: { name: 'tiny-llama', max_seq_len: 64 },
      tuning: { mode: 'lora' },
      train: { max_steps: 2 },
    });
    const model = api.httpFolder(new URL('tiny-llama/', address).href);
    const rows = [{ question: 'Hello', answer: 'Hello to you.' }];
    const events = api.train(config, { model, rows, signal: AbortSignal.abort() });
    expectEqual('code', await codeOf(events.next()), 'INTERRUPTED');
  },
};

/** What is wrong, and the names that are exported. */
export async function check(api, address) {
  const problems = [];
  for (const [name, run] of Object.entries(CHECKS)) {
    await run(api, address).catch((error) => problems.push(`${name}: ${error.stack ?? error}`));
  }
  return { problems, names: Object.keys(api).sort() };
}
