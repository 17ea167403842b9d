/** `npm run bench [-- --json] [NAME…]`: makes everything ready, then measures. */
import { script } from './common.mjs';
import { useAdapterEnvironment } from './environment.mjs';
import { setup } from './setup.mjs';

await script(async () => {
  setup();
  useAdapterEnvironment();
  await import('../dist/bench/main.js');
});
