/** `npm run bench [-- --json] [NAME…]`: makes everything ready, then measures. `tab` measures in a browser, and is run alone. */
import { script } from './common.mjs';
import { useAdapterEnvironment } from './environment.mjs';
import { prepareChromium, prepareSwiftshader, setup } from './setup.mjs';

await script(async () => {
  setup();
  const names = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
  const inTab = names.length === 1 && names[0] === 'tab';
  if (inTab) {
    prepareSwiftshader();
    await prepareChromium();
    process.env.WEBGPU_SFT_ADAPTER = 'SwiftShader';
  }
  useAdapterEnvironment();
  if (!inTab) return import('../dist/bench/main.js');
  const { benchTab } = await import('../bench/tab.mjs');
  await benchTab({ json: process.argv.includes('--json') });
});
