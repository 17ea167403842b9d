/** Preloaded with `node --import`: the device is lost at the submit whose number LOSE_AT says. */
import { globals } from 'webgpu';

const { GPUAdapter, GPUQueue } = globals;
const { requestDevice } = GPUAdapter.prototype;
const { submit } = GPUQueue.prototype;
let device;
let left = Number(process.env.LOSE_AT);

GPUAdapter.prototype.requestDevice = async function (...options) {
  device = await requestDevice.apply(this, options);
  return device;
};
GPUQueue.prototype.submit = function (...commands) {
  left -= 1;
  if (left === 0) device.destroy();
  return submit.apply(this, commands);
};
