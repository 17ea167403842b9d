export { findMemory } from './nodeBudget.ts';
export * from './nodeFiles.ts';
export * from './nodeGpu.ts';
