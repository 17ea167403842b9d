export { findMemory } from './nodeBudget.ts';
export * from './nodeEnvironment.ts';
export * from './nodeFiles.ts';
export * from './nodeGpu.ts';
export { openHub } from './nodeHub.ts';
