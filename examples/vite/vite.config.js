import { defineConfig } from 'vite';

export default defineConfig({
  worker: { format: 'es' },
  // The development server leaves the package as it is, so that the worker's file is found beside the others.
  optimizeDeps: { exclude: ['webgpu-sft'] },
});
