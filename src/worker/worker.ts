/** The script of the worker: `webgpu-sft/worker`. */
import { holdForLife, workerPort } from '../platform/browserWorker.ts';
import { createHost } from './host.ts';
import { serve } from './protocol.ts';

const port = workerPort();
port.addEventListener('message', ({ data }: MessageEvent<{ type: string; life: string }>) => {
  if (data.type === 'hello') void holdForLife(data.life).then(() => port.postMessage({ type: 'ready' }));
});
serve(port, { ...createHost() });
