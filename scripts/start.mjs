/** `npm start`: makes everything ready, then fine-tunes the embedded model and shows the difference. */
import { script } from './common.mjs';
import { useAdapterEnvironment } from './environment.mjs';
import { setup } from './setup.mjs';

await script(async () => {
  setup();
  useAdapterEnvironment();
  await import('../dist/cli/quickstart.js');
});
