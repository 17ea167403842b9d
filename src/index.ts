/**
 * The public API: the same names in Node and in a browser.
 *
 * @module API
 */

export { openFile, openFolder, openHub, openStore } from '#platform';
export { createCursor } from './data/batches.ts';
export { type Dataset, type DatasetOptions, type DatasetReport, loadDataset } from './data/dataset.ts';
export { parseDatasetName } from './data/hubDataset.ts';
export { type InspectedRow, type InspectedSequence, inspectRow, inspectSequence } from './data/inspect.ts';
export type { LabelledTokens } from './data/labels.ts';
export { type PackingReport, packingReport, packRows } from './data/packing.ts';
export { type Prompt, readPrompts } from './data/prompts.ts';
export { type Message, type Row, readRows } from './data/rows.ts';
export type { RowShape, ShapeCounts } from './data/shapes.ts';
export type { Split } from './data/split.ts';
export { SUSPICIONS, type Suspicion } from './data/suspicion.ts';
export { ChatTemplate, loadChatTemplate } from './data/template.ts';
export type { TokenizedRow } from './data/tokenize.ts';
export { loadTokenizer, Tokenizer } from './data/tokenizer.ts';
export type { LogitDifference } from './eval/compareLogits.ts';
export { type AnswerOptions, LanguageModel, type LoadOptions } from './eval/languageModel.ts';
export { compileJsonSchema, type JsonSchema, schemaJson } from './eval/metrics/schemaJson.ts';
export type { SamplingOptions } from './eval/sampling.ts';
export { type Family, Gpu, type GpuTraits, type OpenOptions } from './gpu/device.ts';
export { type Bytes, CATEGORIES, type Category, sumBytes } from './gpu/ledger.ts';
export {
  defineKernel,
  defineOp,
  type Gradients,
  type Kernel,
  type OpDefinition,
  type Step,
  type Tensor,
} from './kernels/define.ts';
export type { Architecture } from './model/architecture.ts';
export { ARCHITECTURES, registerArchitecture } from './model/architectures/registry.ts';
export type { DecoderSpec } from './model/decoder.ts';
export type { ExportBnbOptions } from './model/exportBnb.ts';
export type { GgufType } from './model/gguf/format.ts';
export { type MergeBase, type MergeDtype, type MergeReport, mergeJson } from './model/merge.ts';
export { type ModelCard, modelCard } from './model/modelCard.ts';
export { type ModelFiles, openModel } from './model/modelFiles.ts';
export type { QuantizationOptions } from './model/quantization.ts';
export { EXPORT_FILE, MERGE_FILE } from './model/recordFiles.ts';
export { type ErrorCode, SftError } from './platform/errors.ts';
export type { HubFolder, HubOptions, HubProgress } from './platform/hub.ts';
export type { HubRepo } from './platform/hubConnection.ts';
export { blobSource, bytesFolder, bytesSource, filesFolder, httpFolder, httpSource } from './platform/sources.ts';
export { memoryStore, saveFiles, saveFolder } from './platform/stores.ts';
export type { ReadableFolder, ReadableSource, StagedFolder, WritableFile, WritableStore } from './platform/types.ts';
export { VERSION } from './platform/version.ts';
export { type Computed, type ComputeOptions, compute, type Given } from './tensor/compute.ts';
export * as ops from './tensor/ops.ts';
export { SELF_TEST_TOLERANCE, type SelfTestResult, selfTest } from './tensor/selfTest.ts';
export type { Tape } from './tensor/tape.ts';
export { type Budget, findBudget } from './train/budget.ts';
export type { CheckedSplit, SplitFindings } from './train/checkData.ts';
export { checkRun, type Problem, type RunCheck } from './train/checkRun.ts';
export type { Config, ConfigInput } from './train/config.ts';
export { checkConfigObject, parseConfig } from './train/configCheck.ts';
export { type ConfigRequest, checkConfig, type LoadedConfig, loadConfig } from './train/configFile.ts';
export { CONFIG_FLAGS } from './train/configFlags.ts';
export { flagDescription, flagOverride, type Override, setOverride } from './train/configOverrides.ts';
export { type ConfigNode, nodeAt, toPlain } from './train/configTree.ts';
export { parseYaml } from './train/configYaml.ts';
export { type Evaluation, evaluate, tokenLosses } from './train/evaluate.ts';
export {
  type EvalData,
  type EvalPlan,
  evalLength,
  type Measured,
  measure,
  openEvalData,
  openEvalPlan,
} from './train/evaluation.ts';
export type { DoneEvent, EvalRow, LogRow, SampleEvent, StartEvent, TrainEvent } from './train/events.ts';
export {
  exportAdapterToGguf,
  exportModelToGguf,
  GGUF_FILES,
  type GgufModelOptions,
  type GgufOptions,
} from './train/exportGguf.ts';
export { exportToMlx } from './train/exportMlx.ts';
export type { Found } from './train/found.ts';
export { gpuOptions } from './train/gpuOptions.ts';
export {
  compareModels,
  exportToBnb,
  type FolderOrPath,
  generate,
  loadAdapter,
  loadModel,
  type ModelChoice,
  mergeAdapter,
  renderChat,
  requestDevice,
  saveAdapter,
  train,
} from './train/library.ts';
export {
  downloadModel,
  type ModelName,
  type OpenModelOptions,
  openModelFolder,
  openNamedFolder,
  type SourceOptions,
} from './train/namedFiles.ts';
export { openPrompts, openRows, type RunStage } from './train/openRows.ts';
export { openText, templateChoice } from './train/openText.ts';
export {
  type Choice,
  IMAGINED_GPU,
  type MemoryPlan,
  type PlannedRows,
  planMemory,
  planOf,
  quantizationOf,
  RunPlanner,
} from './train/planMemory.ts';
export { type ProcessOptions, type ProcessReport, processRows } from './train/process.ts';
export { readWhole } from './train/readWhole.ts';
export { type Rehearsal, rehearse } from './train/rehearse.ts';
export { describeChange, type PlannedRun, type Remedy, remedies } from './train/remedies.ts';
export { presentSplits, type Rewrite, type RewriteReport, renderRows, styleRows } from './train/rewrite.ts';
export type { RowFileOptions } from './train/rowFiles.ts';
export { openRun, type Run, type RunOptions } from './train/run.ts';
export { type SurvivingOptions, trainThroughLosses } from './train/survive.ts';
export { Trainer } from './train/trainer.ts';
export type { TrainerOptions } from './train/trainerOptions.ts';
export { rowsAs, type TrlForm, type TrlRows } from './train/trlRows.ts';
export { type Argument, openTrlRun, type TrlRun } from './train/trlRun.ts';
export type {
  CallOptions,
  DataOptions,
  DeviceInfo,
  ModelSource,
  StorageInfo,
  StoredData,
  StoredModel,
  TrainOptions,
  Transfer,
  UnfinishedRun,
  WorkerTrainer,
} from './worker/api.ts';
export { createWorkerTrainer, type WorkerTrainerOptions } from './worker/client.ts';
