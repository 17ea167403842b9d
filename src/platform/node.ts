export * from './nodeFiles.ts';
export * from './nodeGpu.ts';
