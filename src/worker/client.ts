/** The page's side: an engine in a dedicated worker, with the methods of `WorkerTrainer`. Nothing of the engine is loaded here. */
import { persistStorage, untilFree } from '../platform/browserWorker.ts';
import { SftError } from '../platform/errors.ts';
import type { WorkerTrainer } from './api.ts';
import { Caller } from './protocol.ts';

/** Where the worker comes from. */
export interface WorkerTrainerOptions {
  /**
   * A worker that runs `webgpu-sft/worker`, for bundlers that do not follow `new Worker(new URL('./worker.js', import.meta.url))`
   * in a package. Nobody else may use it; `close` ends it.
   */
  readonly worker?: Worker;
}

/**
 * Starts the engine in a worker. A worker that dies, because the browser ended it or it ran out of memory, makes every call fail
 * with `WORKER_LOST`; what it has stored is there for the next one.
 */
export function createWorkerTrainer({ worker = startWorker() }: WorkerTrainerOptions = {}): WorkerTrainer {
  const caller = new Caller(worker);
  const closing = new AbortController();
  const fail = (message: string, hint: string) => {
    closing.abort();
    worker.terminate();
    caller.fail(new SftError('WORKER_LOST', message, { hint }));
  };
  worker.addEventListener('error', (event) => {
    event.preventDefault();
    fail(`the worker failed: ${event.message || 'its script could not be loaded'}`, 'reload the page');
  });
  const life = `webgpu-sft-worker:${crypto.randomUUID()}`;
  worker.addEventListener('message', ({ data }: MessageEvent<{ type: string }>) => {
    if (data.type !== 'ready') return;
    void untilFree(life, closing.signal).then(() => {
      if (!closing.signal.aborted)
        fail(
          'the worker has ended, perhaps for want of memory',
          'reload the page; a run goes on from its last checkpoint',
        );
    });
  });
  worker.postMessage({ type: 'hello', life });

  return {
    device: (...args) => caller.call('device', args),
    fetchModel: (...args) => caller.call('fetchModel', args),
    models: () => caller.call('models', []),
    removeModel: (...args) => caller.call('removeModel', args),
    addData: (...args) => caller.call('addData', args),
    rows: (...args) => caller.call('rows', args),
    check: (...args) => caller.call('check', args),
    inspect: (...args) => caller.call('inspect', args),
    train: (...args) => caller.stream('train', args),
    pause: () => caller.call('pause', []),
    resume: () => caller.call('resume', []),
    unfinishedRuns: () => caller.call('unfinishedRuns', []),
    answer: (...args) => caller.stream('answer', args),
    tokenLosses: (...args) => caller.call('tokenLosses', args),
    download: (...args) => caller.call('download', args),
    storage: () => caller.call('storage', []),
    // Workers may not ask for this.
    persist: persistStorage,
    clear: () => caller.call('clear', []),
    close: () => fail('the worker was closed', 'make another one with createWorkerTrainer'),
  };
}

function startWorker(): Worker {
  if (typeof Worker === 'undefined') {
    throw new SftError('ARGUMENT', 'createWorkerTrainer: there are no web workers here', {
      hint: 'outside of a page use train() and loadModel()',
    });
  }
  return new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'webgpu-sft' });
}
