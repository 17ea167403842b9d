/** The commands: a sentence for each, and where it is. A command is loaded when it is used. */
import type { CommandEntry } from './command.ts';

export const COMMANDS: Readonly<Record<string, CommandEntry>> = {
  init: {
    summary: 'make a folder with everything that a first run needs',
    load: async () => (await import('./commands/init.ts')).init,
  },
  process: {
    summary: 'make training, validation and test rows of raw files',
    load: async () => (await import('./commands/process.ts')).processCommand,
  },
  style: {
    summary: 'copy rows with a system prompt of your own',
    load: async () => (await import('./commands/style.ts')).style,
  },
  render: {
    summary: 'write rows as the text that the model gets and the answer',
    load: async () => (await import('./commands/render.ts')).render,
  },
  train: {
    summary: 'fine-tune a model as a config says',
    load: async () => (await import('./commands/train.ts')).train,
  },
  eval: {
    summary: 'measure the answers to held-out rows, and the loss',
    load: async () => (await import('./commands/eval.ts')).evalCommand,
  },
  infer: {
    summary: 'chat with the result, or answer one prompt or a file of them',
    load: async () => (await import('./commands/infer.ts')).infer,
  },
  merge: {
    summary: 'fold an adapter into its base model',
    load: async () => (await import('./commands/merge.ts')).merge,
  },
  export: {
    summary: 'write model, adapter or run for another program',
    load: async () => (await import('./commands/export.ts')).exportCommand,
  },
  batch: {
    summary: 'make many runs: data sets × configs × styles',
    load: async () => (await import('./commands/batch.ts')).batch,
  },
  inspect: {
    summary: 'show rows token by token, and what is trained of them',
    load: async () => (await import('./commands/inspect.ts')).inspect,
  },
  check: {
    summary: 'list every problem of config, data, template, model and memory',
    load: async () => (await import('./commands/check.ts')).check,
  },
  'memory-check': {
    summary: 'plan the memory of a run, without a GPU and without weights',
    load: async () => (await import('./commands/memoryCheck.ts')).memoryCheck,
  },
  'gpu-info': {
    summary: 'list adapters, and say which kernels they run and why',
    load: async () => (await import('./commands/gpuInfo.ts')).gpuInfo,
  },
  doctor: {
    summary: 'test every kernel on this adapter against plain arithmetic',
    load: async () => (await import('./commands/doctor.ts')).doctor,
  },
  dashboard: {
    summary: 'serve a live page over one run or many',
    load: async () => (await import('./commands/dashboard.ts')).dashboard,
  },
  models: {
    summary: 'list the models of the local cache, bring one, remove one',
    load: async () => (await import('./commands/models.ts')).models,
  },
  push: {
    summary: 'send an adapter or a merged model to the hub, with its model card',
    load: async () => (await import('./commands/push.ts')).push,
  },
  clean: {
    summary: 'remove what was made, after asking',
    load: async () => (await import('./commands/clean.ts')).clean,
  },
  completion: {
    summary: 'print what makes a shell complete commands and flags',
    load: async () => (await import('./commands/completion.ts')).completion(COMMANDS),
  },
};
