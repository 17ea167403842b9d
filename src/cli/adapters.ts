/** The model of a conversation and the adapters that it was asked to answer with. */
import type { LanguageModel } from '../eval/languageModel.ts';
import { SftError } from '../platform/errors.ts';
import { loadAdapter } from '../train/library.ts';
import { type ChosenModel, openChosenAdapter } from './chosenModel.ts';
import type { Call } from './command.ts';
import { loadChosen } from './loadChosen.ts';

export class Adapters {
  model: LanguageModel;
  /** Whether the adapter takes part; else the base answers. */
  useAdapter: boolean;
  private readonly call: Call;
  private chosen: ChosenModel;
  /** In the order in which they were named. */
  private readonly known: Set<string>;

  constructor(call: Call, chosen: ChosenModel, model: LanguageModel) {
    this.call = call;
    this.chosen = chosen;
    this.model = model;
    this.useAdapter = chosen.adapter !== null;
    this.known = new Set(chosen.adapter === null ? [] : [chosen.adapter]);
  }

  /**
   * Answers with the adapter of that folder or hub id from now on; null is the base. One of the same shape as the last takes its place,
   * for another the model is loaded again. Throws `ADAPTER`, and then everything is as it was.
   */
  async use(adapter: string | null): Promise<void> {
    if (adapter !== null && adapter !== this.chosen.adapter) {
      const folder = await openChosenAdapter(this.call, { ...this.chosen, adapter });
      try {
        await loadAdapter(this.model, folder);
        this.chosen = { ...this.chosen, adapter };
      } catch (error) {
        if (!(error instanceof SftError) || error.code !== 'ADAPTER') throw error;
        await this.reload({ ...this.chosen, adapter });
      }
      this.known.add(adapter);
    }
    this.useAdapter = adapter !== null;
  }

  /** A line for each adapter and one for the base, with a star at what answers. */
  list(): string[] {
    const star = (isOn: boolean) => (isOn ? '* ' : '  ');
    const { adapter, model } = this.chosen;
    const adapters = [...this.known].map((path) => `${star(this.useAdapter && path === adapter)}${path}`);
    return [...adapters, `${star(!this.useAdapter)}off: ${model.name}`];
  }

  private async reload(chosen: ChosenModel): Promise<void> {
    const { gpu } = this.model;
    await this.model.close();
    try {
      this.model = await loadChosen(this.call, chosen, gpu, {});
      this.chosen = chosen;
    } catch (error) {
      this.model = await loadChosen(this.call, this.chosen, gpu, {});
      throw error;
    }
  }
}
