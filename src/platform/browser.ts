export { findMemory } from './browserBudget.ts';
export * from './browserEnvironment.ts';
export * from './browserFiles.ts';
export * from './browserGpu.ts';
export { openHub } from './browserHub.ts';
