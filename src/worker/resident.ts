/** The model that is talked to while no run goes on: kept on the GPU until another one is asked for. */
import { LanguageModel } from '../eval/languageModel.ts';
import { Gpu } from '../gpu/device.ts';
import { openModelFolder } from '../train/namedFiles.ts';
import { templateChoice } from '../train/openText.ts';
import { quantizationOf } from '../train/planMemory.ts';
import { configOf, trainedFolder } from './runs.ts';

/** A model and, if given, the run whose adapter goes on top of it. */
export interface Place {
  readonly model: string;
  readonly outputDir?: string;
}

export class Resident {
  private held: { readonly key: string; readonly model: LanguageModel } | null = null;

  /** The model of a place, as its run has left it. `useAdapter: false` is its base. Throws `MODEL`, `ADAPTER`, `OUT_OF_MEMORY`. */
  async at(place: Place, useAdapter: boolean, adapterName: string | undefined): Promise<LanguageModel> {
    const trained = place.outputDir === undefined ? null : await trainedFolder(place.outputDir);
    const isWhole = trained !== null && !(await trained.folder.has('adapter_config.json'));
    const adapter = isWhole ? null : trained;
    const whole = isWhole && useAdapter ? trained.path : null;
    const key = JSON.stringify([whole ?? place.model, adapter?.path, adapterName]);
    if (this.held?.key === key && !this.held.model.gpu.isLost) return this.held.model;
    await this.close();
    const config = place.outputDir === undefined ? null : await configOf(place.outputDir);
    const folder = await openModelFolder({ name: whole ?? place.model });
    const templates = config ? await templateChoice(config) : {};
    const gpu = await Gpu.open({ adapter: adapterName });
    try {
      const model = await LanguageModel.load(folder, gpu, {
        adapter: adapter?.folder,
        ...templates,
        // The base as the adapter knows it.
        ...(config && adapter && { quantization: quantizationOf(config.tuning), dtype: config.model.dtype }),
      });
      this.held = { key, model };
      return model;
    } catch (error) {
      await gpu.close();
      throw error;
    }
  }

  /** Lets the model and its device go. */
  async close(): Promise<void> {
    const gpu = this.held?.model.gpu;
    this.held = null;
    await gpu?.close();
  }
}
