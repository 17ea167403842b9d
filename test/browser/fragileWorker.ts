/** The worker's script, with a device that a test can take away: a message to the channel `fragile` destroys it. */
import '../../src/worker/worker.ts';

let device: GPUDevice | undefined;
const { requestDevice } = GPUAdapter.prototype;
GPUAdapter.prototype.requestDevice = async function (...options) {
  device = await requestDevice.apply(this, options);
  return device;
};
new BroadcastChannel('fragile').onmessage = () => device?.destroy();
