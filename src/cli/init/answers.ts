/** What `init` has to know, and the questions that find it out. */
import type { Proposal } from './propose.ts';

/** What a person has to learn from. */
export interface OwnData {
  readonly kind: 'sample' | 'rows' | 'documents';
  /** `data.raw_path`. */
  readonly path: string;
}

export interface Answers {
  readonly data: OwnData;
  /** `model.name`. */
  readonly model: string;
  /** The small model that comes with the program; it is copied into the project. */
  readonly embedded: boolean;
  readonly mode: Proposal['mode'];
  readonly maxSeqLen: number;
}

export const SAMPLE: OwnData = { kind: 'sample', path: 'data/raw/sample.jsonl' };
export const EMBEDDED = 'models/tiny-llama';
/** Its rows have at most 90 tokens, so that longer ones would only take time. */
const EMBEDDED_LENGTH = 128;

/** Everything left at its default: works at once, with nothing but what is in the package. */
export function defaultAnswers(model?: string, data?: string): Answers {
  return {
    data: data === undefined ? SAMPLE : { kind: kindOf(data), path: data },
    model: model ?? EMBEDDED,
    embedded: model === undefined,
    mode: model === undefined ? 'lora' : 'qlora',
    maxSeqLen: model === undefined ? EMBEDDED_LENGTH : 1024,
  };
}

/** Documents by the end of a name; a folder, or anything else, is of rows. */
function kindOf(path: string): OwnData['kind'] {
  return /\.(pdf|docx|txt|md)(\.gz)?$/i.test(path) ? 'documents' : 'rows';
}

/** The mode and length of a model that fits this machine; the defaults where nothing can be planned. */
export async function withProposal(answers: Answers): Promise<Answers> {
  if (answers.embedded) return answers;
  const { propose } = await import('./propose.ts');
  const [first] = await propose(answers.model);
  return first ? { ...answers, mode: first.mode, maxSeqLen: first.maxSeqLen } : answers;
}

const MODELS = [
  { value: 'HuggingFaceTB/SmolLM2-135M-Instruct', hint: '135M weights, 270 MB: learns on anything' },
  { value: 'HuggingFaceTB/SmolLM2-1.7B-Instruct', hint: '1.7B weights, 3.4 GB' },
  { value: 'Qwen/Qwen2.5-0.5B-Instruct', hint: '0.5B weights, 1 GB' },
  { value: 'Qwen/Qwen2.5-1.5B-Instruct', hint: '1.5B weights, 3.1 GB' },
  { value: 'Qwen/Qwen2.5-7B-Instruct', hint: '7.6B weights, 15 GB: for a GPU with 8 GB or more' },
];
const OTHER = 'other';

/** Asks at the terminal. Null when the person gives up. */
export async function askAnswers(given: Answers): Promise<Answers | null> {
  const { cancel, isCancel, log, select, spinner, text } = await import('@clack/prompts');
  const required = (value: string | undefined) => (value?.trim() ? undefined : 'a path or a name is needed');
  const giveUp = () => {
    cancel('nothing was written');
    return null;
  };

  const kind = await select<OwnData['kind']>({
    message: 'What shall the model learn from?',
    initialValue: given.data.kind,
    options: [
      { value: 'sample', label: 'The sample data', hint: 'everyday requests, answered in JSON' },
      { value: 'rows', label: 'Rows of my own', hint: 'JSONL, JSON, CSV or Parquet: questions and answers, chats' },
      { value: 'documents', label: 'Documents of my own', hint: 'PDF, DOCX, TXT, MD' },
    ],
  });
  if (isCancel(kind)) return giveUp();
  let data = SAMPLE;
  if (kind !== 'sample') {
    const initialValue = given.data.kind === kind ? given.data.path : 'data/raw';
    const path = await text({ message: 'Where are they? (a file, or a folder)', initialValue, validate: required });
    if (isCancel(path)) return giveUp();
    data = { kind, path };
  }

  const choice = await select({
    message: 'Which model?',
    initialValue: given.embedded ? EMBEDDED : given.model,
    options: [
      { value: EMBEDDED, label: 'tiny-llama', hint: 'comes with the program; to see how it works, in a minute' },
      ...MODELS.map(({ value, hint }) => ({ value, label: value, hint })),
      ...(given.embedded ? [] : [{ value: given.model, label: given.model }]),
      { value: OTHER, label: 'Another one', hint: 'a folder or a hub id; Llama and Qwen2 families' },
    ],
  });
  if (isCancel(choice)) return giveUp();
  if (choice === EMBEDDED) return { ...defaultAnswers(), data };
  let model: string = choice;
  if (choice === OTHER) {
    const name = await text({ message: 'Its folder, or its id on the hub', validate: required });
    if (isCancel(name)) return giveUp();
    model = name;
  }

  const plain = { ...defaultAnswers(model), data };
  const waiting = spinner();
  waiting.start('planning what fits into memory');
  const { propose } = await import('./propose.ts');
  const proposals = await propose(model).catch((error: Error) => error);
  if (!Array.isArray(proposals) || proposals.length === 0) {
    waiting.stop('nothing could be planned yet');
    if (proposals instanceof Error) log.warn(proposals.message);
    return plain;
  }
  waiting.stop(`${proposals[0]?.device}: ${proposals[0]?.budget}`);
  const index = await select({
    message: 'How shall it be trained?',
    options: proposals.map(({ mode, maxSeqLen, text: hint }, value) => ({
      value,
      label: `${mode}, rows of up to ${maxSeqLen} tokens`,
      hint,
    })),
  });
  if (isCancel(index)) return giveUp();
  const { mode, maxSeqLen } = proposals[index] ?? plain;
  return { ...plain, mode, maxSeqLen };
}
