/** What kind of thing went wrong; `exitCode` follows from it. */
export type ErrorCode =
  | 'ARGUMENT' // the command line or an API argument is wrong
  | 'CONFIG' // the configuration is wrong
  | 'DATA' // a row or a data file is wrong
  | 'TEMPLATE' // a chat template is wrong or raised
  | 'MODEL' // a model folder, its config or its weights are wrong
  | 'ADAPTER' // a LoRA adapter folder is wrong or belongs to another base
  | 'RESUME' // a checkpoint cannot be continued with this configuration
  | 'NO_GPU' // no WebGPU adapter, or none with the asked-for name
  | 'OUT_OF_MEMORY' // the plan or an allocation does not fit
  | 'DEVICE_LOST' // the GPU device went away
  | 'WORKER_LOST' // the worker of a page has ended
  | 'GPU' // a GPU call failed
  | 'KERNEL' // a kernel does not compile on this adapter
  | 'IO' // a file could not be read or written
  | 'BUSY' // another run uses this output folder
  | 'NUMERIC' // NaN or infinity where a number is needed
  | 'INTERRUPTED' // cancelled by the user; state was saved
  | 'INTERNAL'; // a defect of this project

/** Codes that mean "the command, config or data is wrong": exit code 2. All others are failures while running: 1. */
const WRONG_INPUT: ReadonlySet<ErrorCode> = new Set([
  'ARGUMENT',
  'CONFIG',
  'DATA',
  'TEMPLATE',
  'MODEL',
  'ADAPTER',
  'RESUME',
]);

/**
 * The one error class of the project.
 *
 * `message` says where, what was expected (with numbers) and what was got; `hint` says what to do. Presentation is the
 * caller's: the command line prints `error[CODE]: message` and `hint: …`, a page shows both beside the control.
 */
export class SftError extends Error {
  override readonly name = 'SftError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(code === 'INTERNAL' ? `internal: ${message}` : message, { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }

  /** 2 when the command, config or data is wrong, 130 when interrupted, else 1. */
  get exitCode(): 1 | 2 | 130 {
    if (this.code === 'INTERRUPTED') return 130;
    return WRONG_INPUT.has(this.code) ? 2 : 1;
  }
}

/** Throws an `internal:` error when a condition that this project guarantees does not hold. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new SftError('INTERNAL', message);
}
