/** `webgpu-sft infer`: a chat at the terminal, one prompt, or a file of prompts. */
import { basename, dirname } from 'node:path';
import { openFile, openStore } from '#platform';
import { type Prompt, readPrompts } from '../../data/prompts.ts';
import type { AnswerOptions, LanguageModel } from '../../eval/languageModel.ts';
import { SftError } from '../../platform/errors.ts';
import { gpuOptions } from '../../train/gpuOptions.ts';
import { requestDevice } from '../../train/library.ts';
import { Adapters } from '../adapters.ts';
import { chat } from '../chat.ts';
import { chooseModel } from '../chosenModel.ts';
import { type Call, say } from '../command.ts';
import { counter } from '../counter.ts';
import { counted } from '../format.ts';
import { loadChosen } from '../loadChosen.ts';
import { stopSignals } from '../stopSignals.ts';

interface Options {
  readonly prompt?: string;
  readonly input?: string;
  readonly out?: string;
  readonly seed?: number;
  readonly stream: boolean;
}

type Sampling = AnswerOptions & { readonly seed: number };

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const { prompt, input, seed, stream } = checkOptions(call);
  const prompts = input === undefined ? null : await collect(input);
  const chosen = await chooseModel(call);
  const { generation, train } = chosen.config;
  const sampling: Sampling = {
    maxNewTokens: generation.max_new_tokens,
    temperature: generation.temperature,
    topP: generation.top_p,
    topK: generation.top_k,
    repetitionPenalty: generation.repetition_penalty,
    stop: generation.stop,
    seed: seed ?? train.seed,
  };
  const stop = stopSignals(call.terminal);
  const gpu = await requestDevice(gpuOptions(chosen.config));
  try {
    const model = await loadChosen(call, chosen, gpu, { signal: stop.signal });
    if (prompts) await answerFile(call, model, prompts, { ...sampling, signal: stop.signal });
    else if (prompt !== undefined) await answerOne(call, model, prompt, { ...sampling, signal: stop.signal });
    else {
      stop.release();
      const adapters = new Adapters(call, chosen, model);
      await chat(adapters, call.terminal, { ...sampling, stream });
      await adapters.model.close();
    }
    if (stop.signal.aborted) throw new SftError('INTERRUPTED', 'stopped before the end of the answer');
    await model.close();
    return 0;
  } finally {
    await gpu.close();
  }
}

/** Throws `ARGUMENT` for flags that do not go together, before anything is loaded. */
function checkOptions({ options }: Call): Options {
  const { prompt, input, out } = options as unknown as Options;
  const wrong = (message: string, hint: string) => new SftError('ARGUMENT', message, { hint });
  if (prompt !== undefined && input !== undefined) {
    throw wrong('infer: expected --prompt or --input, got both', 'give one of the two');
  }
  if (out !== undefined && input === undefined) {
    throw wrong('--out: expected --input with it, got none', 'name a file of prompts with --input');
  }
  if (out !== undefined && !/\.(jsonl|txt)$/.test(out)) {
    throw wrong(`--out: expected a .jsonl or .txt file, got ${out}`, 'rows of prompt and prediction, or one line each');
  }
  if (out !== undefined && out === input) {
    throw wrong(`--out: expected another file than --input, got ${out}`, 'the prompts would be lost');
  }
  if (prompt === undefined && input === undefined && !process.stdin.isTTY) {
    throw wrong('infer: expected --prompt, --input or a terminal to chat at, got none', 'give --prompt TEXT');
  }
  return options as unknown as Options;
}

async function collect(path: string): Promise<Prompt[]> {
  const source = await openFile(path).catch((cause: SftError) => {
    throw new SftError('DATA', `--input: ${cause.message}`, { cause, ...(cause.hint && { hint: cause.hint }) });
  });
  try {
    const prompts: Prompt[] = [];
    for await (const prompt of readPrompts(source)) prompts.push(prompt);
    return prompts;
  } finally {
    await source.close();
  }
}

async function answerOne({ terminal, options }: Call, model: LanguageModel, prompt: string, sampling: Sampling) {
  const { stream } = options as unknown as Options;
  let whole = '';
  for await (const piece of model.answer([{ role: 'user', content: prompt }], sampling)) {
    if (stream) terminal.write('out', piece);
    else whole += piece;
  }
  terminal.write('out', whole);
  // A program that reads the answer gets the answer and nothing else.
  if (terminal.isScreen('out')) terminal.line('out');
}

/** Answers every prompt, several side by side, then writes the file whole. */
async function answerFile(call: Call, model: LanguageModel, prompts: Prompt[], options: Sampling) {
  const { terminal } = call;
  const { out } = call.options as unknown as Options;
  const rows = out?.endsWith('.jsonl') ?? false;
  const tell = counter(call, 'answered', prompts.length);
  const lines: string[] = [];
  let [answered, shown] = [0, 0];
  const questions = prompts.map(({ messages }) => messages);
  for await (const { index, text: prediction } of model.completions(questions, options)) {
    lines[index] = rows ? JSON.stringify({ prompt: prompts[index]?.text, prediction }) : oneLine(prediction);
    answered += 1;
    tell(answered);
    // In the order of the prompts, as soon as those before are there.
    while (out === undefined && lines[shown] !== undefined) terminal.line('out', lines[shown++]);
  }
  options.signal?.throwIfAborted();
  if (out === undefined) return;
  const store = await openStore(dirname(out));
  await store.write(basename(out), lines.map((line) => `${line}\n`).join(''));
  say(call, `${counted(prompts.length, 'answer')} in ${out}`);
}

function oneLine(text: string): string {
  return text.replaceAll('\r', '\\r').replaceAll('\n', '\\n');
}
