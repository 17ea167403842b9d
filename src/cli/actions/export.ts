import { SftError } from '../../platform/errors.ts';
import type { Call } from '../command.ts';

interface Options {
  readonly to?: string;
  readonly out?: string;
  readonly adapter?: string;
  readonly merged?: boolean;
  readonly type?: string;
}

/** Flags that not every format has a use for. */
const ONLY_FOR: Readonly<Record<'adapter' | 'merged' | 'type', readonly string[]>> = {
  adapter: ['gguf', 'mlx'],
  merged: ['gguf'],
  type: ['gguf'],
};

type Target = (call: Call, out: string | undefined) => Promise<number>;

/** Each is loaded when it is asked for. */
const TARGETS: Readonly<Record<string, () => Promise<Target>>> = {
  gguf: async () => (await import('../export/gguf.ts')).exportGguf,
  mlx: async () => (await import('../export/mlx.ts')).exportMlx,
  bnb: async () => (await import('../export/bnb.ts')).exportBnb,
  trl: async () => (await import('../export/trl.ts')).exportTrl,
};

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const { to, out, ...flags } = call.options as unknown as Options;
  const target = to === undefined ? undefined : TARGETS[to];
  for (const [flag, targets] of Object.entries(ONLY_FOR)) {
    if (to === undefined || targets.includes(to) || flags[flag as keyof typeof ONLY_FOR] === undefined) continue;
    throw new SftError('ARGUMENT', `--${flag}: expected it with --to ${targets.join(' or ')}, got --to ${to}`, {
      hint: `leave it out: ${to} has no use for it`,
    });
  }
  if (target) return (await target())(call, out);
  throw new SftError('ARGUMENT', `--to: expected one of ${Object.keys(TARGETS).join(', ')}, got none`, {
    hint: 'say what to write: --to trl',
  });
}
