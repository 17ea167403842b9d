/** The worker's side: everything that a page may ask for, done by the library. */
import { inspectRow } from '../data/inspect.ts';
import { Gpu } from '../gpu/device.ts';
import { busyNames, removePath, storageEstimate } from '../platform/browserStorage.ts';
import { SftError } from '../platform/errors.ts';
import { isHubId } from '../platform/hubConnection.ts';
import { findBudget } from '../train/budget.ts';
import { checkRun } from '../train/checkRun.ts';
import { checkConfigObject, configOrThrow } from '../train/configCheck.ts';
import type { WorkerTrainer } from './api.ts';
import { addData, DATA, storedRows } from './dataStore.ts';
import { fetchModel, MODELS, removeModel, storedModels } from './modelStore.ts';
import { RowCache } from './rowCache.ts';
import { RunHost } from './runHost.ts';
import { configOf, runFolders, trainedFolder, unfinishedRuns } from './runs.ts';
import { zipFolder } from './zip.ts';

/** The methods of a `WorkerTrainer` that a worker can have. */
export function createHost(): Omit<WorkerTrainer, 'persist' | 'close'> {
  const rows = new RowCache();
  const runs = new RunHost(rows);
  return {
    device: (choice) =>
      runs.turns.run(async () => {
        runs.adapterName = choice;
        const gpu = await Gpu.open({ adapter: choice });
        try {
          const { name, driver, software, family } = gpu;
          const budget = await findBudget({ memory: { budget_gib: null } }, gpu);
          return { name, driver, software, kernels: family, budget };
        } finally {
          await gpu.close();
        }
      }),
    fetchModel,
    models: storedModels,
    async removeModel(path) {
      if (!runs.isRunning) await runs.freeResident();
      await removeModel(path);
    },
    addData,
    rows: storedRows,
    check: (config) => checkRun(checkConfigObject(config)),
    async inspect(config, first, count) {
      const dataset = await rows.rows(configOrThrow(checkConfigObject(config)));
      return { rows: dataset.rows.slice(first, first + count).map(inspectRow), report: dataset.report };
    },
    train: (config, options) => runs.train(config, options),
    pause: () => runs.pause(),
    resume: async () => runs.resume(),
    unfinishedRuns,
    answer: (where, prompt, options) => runs.answer(where, prompt, options),
    tokenLosses: (config, row) => runs.tokenLosses(config, row),
    async download(outputDir) {
      const trained = await trainedFolder(outputDir);
      if (trained) return zipFolder(trained.folder, outputDir.split('/').at(-1) ?? 'model', await baseOf(outputDir));
      throw new SftError('ARGUMENT', `${outputDir}: there is nothing to download yet`);
    },
    storage: storageEstimate,
    async clear() {
      const [busy] = await busyNames();
      if (runs.isRunning || busy !== undefined) {
        throw new SftError('BUSY', `storage: ${busy ?? 'a run'} is in use`, {
          hint: 'stop what goes on here and in other tabs first',
        });
      }
      await runs.freeResident();
      rows.clear();
      for (const path of [...(await runFolders()), DATA, MODELS]) await removePath(path);
    },
  };
}

/** A base is called by its path in storage here, and elsewhere as the person knows it: by the id of a hub, an address, a name. */
async function baseOf(outputDir: string): Promise<{ here: string; elsewhere: string } | null> {
  const here = (await configOf(outputDir))?.model.name;
  const title = (await storedModels()).find(({ path }) => path === here)?.title;
  if (here === undefined || title === undefined) return null;
  const [id = ''] = title.split('@');
  return { here, elsewhere: isHubId(id) ? id : title };
}
