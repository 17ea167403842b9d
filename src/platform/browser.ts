export * from './browserFiles.ts';
export * from './browserGpu.ts';
