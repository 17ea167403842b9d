/** `webgpu-sft merge`. */
import { basename, dirname, resolve } from 'node:path';
import { MERGE_FILE, type MergeDtype, mergeAdapter, openFolder } from '../../index.ts';
import { SftError } from '../../platform/errors.ts';
import { chooseModel } from '../chosenModel.ts';
import { type CommandSpec, oneOf, say } from '../command.ts';
import { shellQuote } from '../format.ts';

interface Options {
  readonly out?: string;
  readonly dtype: MergeDtype;
}

export const merge: CommandSpec = {
  examples: [
    'webgpu-sft merge configs/lora_smollm2.yaml',
    'webgpu-sft merge --model models/base --adapter outputs/run/final_model --out merged --dtype bfloat16',
  ],
  addFlags: (command) =>
    void command
      .option('--out <DIR>', 'folder of the merged model; <output_dir>/merged if left out')
      .option(
        '--dtype <TYPE>',
        'float32, float16 or bfloat16',
        oneOf('--dtype', ['float32', 'float16', 'bfloat16']),
        'float16',
      )
      .option('--adapter <DIR>', 'adapter folder; <output_dir>/final_model of the config if left out'),
  async run(call) {
    const { terminal, quiet } = call;
    const { dtype, out: wanted } = call.options as unknown as Options;
    const { config, model, adapter } = await chooseModel(call);
    if (adapter === null) {
      const full = call.config.path !== undefined;
      throw new SftError('ARGUMENT', 'merge: expected an adapter, got none', {
        hint: full ? 'a full fine-tune is a whole model already' : 'name one with --adapter',
      });
    }
    const out = resolve(wanted ?? `${config.output_dir}/merged`);
    await refuseForeign(out);
    await mergeAdapter(model, adapter, dirname(out), basename(out), {
      dtype,
      onProgress(done, total) {
        if (!quiet) terminal.setStatus('err', `merging tensor ${done} of ${total}`);
      },
    });
    terminal.setStatus('err', null);
    const shown = wanted ?? `${config.output_dir}/merged`;
    say(call, `merged ${adapter} into ${model}, as ${dtype}: ${shown}`);
    say(call, `try: webgpu-sft infer --model ${shellQuote(shown)} --prompt 'Hello!'`);
    return 0;
  },
};

/** Throws `ARGUMENT` where the folder holds something that no merge has made. */
async function refuseForeign(path: string): Promise<void> {
  const folder = await openFolder(path).catch((error: unknown) => {
    // What is no folder, or cannot be read, is told when it is written.
    if (error instanceof SftError) return null;
    throw error;
  });
  if (!folder || (await folder.list()).length === 0 || (await folder.has(MERGE_FILE))) return;
  throw new SftError('ARGUMENT', `--out: ${path}: expected a new or empty folder, or one that merge has made`, {
    hint: 'choose another folder: what is in this one would be lost',
  });
}
