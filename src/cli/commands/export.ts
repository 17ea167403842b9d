/** `webgpu-sft export`. */
import { basename, dirname, resolve } from 'node:path';
import { EXPORT_FILE, exportToBnb } from '../../index.ts';
import { SftError } from '../../platform/errors.ts';
import { chooseBase, openChosen } from '../chosenModel.ts';
import { type CommandSpec, oneOf, say } from '../command.ts';
import { bytes } from '../format.ts';
import { refuseForeign } from '../ownFolder.ts';
import { stopSignals } from '../stopSignals.ts';

interface Options {
  readonly to?: string;
  readonly out?: string;
}

const FORMATS = ['gguf', 'mlx', 'bnb', 'trl'];

export const exportCommand: CommandSpec = {
  examples: [
    'webgpu-sft export configs/lora_smollm2.yaml --to bnb',
    'webgpu-sft export --model models/base --to bnb --out models/base-bnb-4bit',
  ],
  addFlags: (command) =>
    void command
      .option('--to <FORMAT>', 'bnb: the base as a 4-bit folder of bitsandbytes', oneOf('--to', FORMATS))
      .option('--out <DIR>', 'folder to write; <output_dir>/bnb if left out'),
  async run(call) {
    const { terminal, quiet } = call;
    const { to, out: wanted } = call.options as unknown as Options;
    if (to !== 'bnb') {
      const got = to ?? 'none';
      throw new SftError('ARGUMENT', `--to: this version writes bnb only, got ${got}`, { hint: 'give --to bnb' });
    }
    const chosen = await chooseBase(call);
    const { config } = chosen;
    const { name } = chosen.model;
    const { block_size: blockSize, double_quant: doubleQuant } = config.tuning.quantization;
    const shown = wanted ?? `${config.output_dir}/bnb`;
    const out = resolve(shown);
    await refuseForeign(out, EXPORT_FILE, 'export');
    const stop = stopSignals(terminal);
    try {
      await exportToBnb(await openChosen(call, chosen, stop.signal), dirname(out), basename(out), {
        blockSize,
        doubleQuant,
        signal: stop.signal,
        onProgress(done, total) {
          if (!quiet) terminal.setStatus('err', `quantising ${name}: ${bytes(done)} of ${bytes(total)}`);
        },
      });
    } catch (error) {
      if (!stop.signal.aborted) throw error;
      throw new SftError('INTERRUPTED', 'stopped before the end; nothing was written', { cause: error });
    } finally {
      terminal.setStatus('err', null);
      stop.release();
    }
    say(call, `wrote ${name} in 4 bits: ${shown}`);
    return 0;
  },
};
