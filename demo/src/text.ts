/** Every word that the page says. */
import type { RowShape, RunStage, ShapeCounts } from '../../src/index.ts';
import type { Problem } from './state/problems.ts';

const numbers = new Intl.NumberFormat('en');
export const count = (value: number): string => numbers.format(value);
const plural = (value: number, one: string, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** Bytes as people write them. */
export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let size = value;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toPrecision(3)} ${units[unit]}`;
}

/** Bytes of memory, as the engine's messages write them. */
export function memory(value: number): string {
  return value < 2 ** 27 ? `${(value / 2 ** 20).toFixed(1)} MiB` : `${(value / 2 ** 30).toFixed(2)} GiB`;
}

/** Parameters of a model. */
export function parameters(value: number): string {
  if (value >= 1e9) return `${(value / 1e9).toPrecision(3)} B parameters`;
  return value >= 1e6 ? `${(value / 1e6).toPrecision(3)} M parameters` : `${count(value)} parameters`;
}

export function loss(value: number): string {
  return value >= 10 ? value.toFixed(2) : value.toFixed(3);
}

export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

const shapes: Record<RowShape, string> = {
  messages: 'conversations',
  sharegpt: 'conversations (ShareGPT)',
  chat: 'chats',
  qa: 'questions and answers',
  alpaca: 'instructions and outputs',
  prompt_completion: 'prompts and completions',
  text: 'plain text',
  documents: 'documents',
  prompt_template: 'a prompt template',
};

export const text = {
  number: count,

  page: {
    name: 'webgpu-sft',
    title: 'Teach a language model with your own examples',
    lead: 'It learns here, in this tab, on your own GPU. There is no account and no server, and not a byte of your data leaves this page.',
    titleWhile: (step: number, total: number) => `${step}/${total} · webgpu-sft`,
    titleDone: 'Done · webgpu-sft',
    software: 'software adapter',
    softwareNote:
      'This browser computes on the CPU. Everything works, but slowly: fine for the small model of this page. With a GPU, see chrome://gpu for what keeps it from being used.',
    onGpu: (name: string) => name,
    dismiss: 'Dismiss',
    apply: 'Use these settings',
    moreProblems: (number: number) => `and ${count(number)} more`,
  },

  earlier: {
    label: 'Your last visit',
    unfinished: (step: number, total: number, model: string) =>
      `Your last visit ended in the middle of training ${model}: step ${count(step)} of ${count(total)} is saved.`,
    begun: (model: string) =>
      `Your last visit ended before the training of ${model} was saved for the first time. Your rows are still here.`,
    done: (total: number, model: string) =>
      `What you trained on your last visit is still here: ${model}, ${plural(total, 'step')}.`,
    resume: 'Resume',
    setUp: 'Set it up again',
    open: 'Open it',
    forget: 'Not now',
  },

  support: {
    title: 'This browser cannot use the GPU yet',
    insecure: {
      why: 'WebGPU works only on pages that were reached safely, and this address is not one of them.',
      what: ['Open the page with https://, or from this computer as http://localhost.'],
    },
    missing: {
      why: 'The page needs WebGPU, and this browser does not have it, or has it switched off.',
      what: [],
    },
    'no-adapter': {
      why: 'The browser has WebGPU, but found no GPU that it wants to use.',
      what: [],
    },
    browsers: [
      ['Chrome or Edge', 'version 113 or newer on Windows, macOS and ChromeOS; 121 on Android. Nothing to switch on.'],
      [
        'Chrome on Linux',
        'open chrome://flags/#enable-unsafe-webgpu, choose Enabled, start the browser again. If it still finds no GPU, do the same with chrome://flags/#enable-vulkan.',
      ],
      ['A GPU that Chrome blocks', 'chrome://gpu gives the reason; chrome://flags/#ignore-gpu-blocklist allows it.'],
      ['Safari', 'version 26 or newer on macOS, iOS, iPadOS.'],
      [
        'Firefox',
        'version 141 or newer on Windows, 145 on macOS with Apple silicon; elsewhere set dom.webgpu.enabled in about:config.',
      ],
    ] as const,
    again: 'Look again',
  },

  data: {
    title: 'Your examples',
    lead: 'Pairs of what goes in and what should come out. A few hundred are plenty to begin with.',
    input: 'Training data (JSONL, JSON, CSV, Parquet, TXT, PDF, DOCX)',
    drop: 'Drop files here, or',
    choose: 'choose files',
    sample: 'Use the sample set',
    sampleNote: '1,248 everyday requests and their answers as JSON',
    sampleName: 'Sample set',
    fixed: 'It is being trained on these. Stop it to choose others.',
    paste: 'Paste rows',
    pasteLabel: 'Rows to paste',
    pasteHint: 'One JSON object a line, a JSON list, CSV with a header, or plain text.',
    pasteExample: '{"question": "How do I …?", "answer": "…"}',
    usePasted: 'Use these rows',
    pastedName: 'pasted',
    columns: 'Or say which columns they are:',
    questionColumn: 'What goes in',
    answerColumn: 'What should come out',
    useColumns: 'Use these columns',
    reading: (name: string) => `Reading ${name}`,
    stop: 'Cancel reading',
    files: (number: number) => plural(number, 'file'),
    found: (rows: number, found: ShapeCounts) => {
      const names = Object.entries(found) as [RowShape, number][];
      const [only] = names;
      if (names.length === 1 && only) return `${plural(rows, 'row')}, recognised as ${shapes[only[0]]}`;
      return `${plural(rows, 'row')}: ${names.map(([shape, number]) => `${count(number)} ${shapes[shape]}`).join(', ')}`;
    },
    splits: { train: 'to learn from', val: 'to check on the way', test: 'to ask afterwards' },
    empty: (number: number, places: readonly string[]) =>
      `${plural(number, 'row')} with an empty question or answer: ${places.join(', ')}${number > places.length ? ' …' : ''}`,
    duplicates: (number: number) =>
      `${plural(number, 'row')} to check with ${number === 1 ? 'is' : 'are'} also learnt from, word for word`,
    first: 'The first row',
    asks: 'asks',
    answers: 'answers',
    says: 'says',
    truncated: (rows: number, length: number) =>
      `${plural(rows, 'row')} longer than ${count(length)} tokens will be cut`,
    left: (rows: number) =>
      `${plural(rows, 'row')} left out: nothing of ${rows === 1 ? 'it' : 'them'} would be trained`,
  },

  model: {
    title: 'Model and method',
    lead: 'The small model of this page learns the sample set in a minute or two. Larger ones take a Hugging Face name or the address of a folder.',
    input: 'Model',
    hint: 'embedded, a Hugging Face name such as HuggingFaceTB/SmolLM2-135M-Instruct, or the address of a folder',
    list: 'Models',
    embedded: 'embedded',
    embeddedNote: 'the small model of this page, 4 MB',
    suggestions: [
      ['HuggingFaceTB/SmolLM2-135M-Instruct', '135 M parameters, 270 MB'],
      ['HuggingFaceTB/SmolLM2-360M-Instruct', '362 M parameters, 720 MB'],
      ['Qwen/Qwen2.5-0.5B-Instruct', '494 M parameters, 990 MB'],
    ] as const,
    stored: (size: number) => `on this computer already, ${bytes(size)}`,
    folder: 'A folder on this computer …',
    folderInput: 'Folder with the files of a model',
    load: 'Load',
    loadWithToken: 'Load with this token',
    fixed: 'This is being trained. Stop it to choose something else.',
    fetching: (name: string) => `Bringing ${name}`,
    file: (what: string, done: number, total: number | null) =>
      `${what}: ${bytes(done)}${total === null ? '' : ` of ${bytes(total)}`}`,
    stop: 'Cancel',
    ready: (size: number, context: number, type: string) =>
      `${parameters(size)}, ${type}, up to ${count(context)} tokens`,
    noTemplate:
      'It has no chat template: it can learn from plain text and from prompts with completions, but not from conversations.',
    token: 'Access token',
    tokenHint: 'For gated models. It is sent to the hub only, and forgotten with this tab.',
    method: 'Method',
    methods: {
      lora: ['LoRA', 'trains a small adapter beside the model'],
      qlora: ['QLoRA', 'the same, over a model squeezed to 4 bits: needs the least memory'],
      full: ['Full', 'trains every weight: needs the most memory'],
    },
  },

  settings: {
    more: 'More',
    auto: (value: string) => `${value} unless you say otherwise`,
    names: {
      steps: [
        'Steps',
        (rows: number, epochs: number | null) =>
          `of ${count(rows)} rows each${epochs === null ? '' : `: ${epochs.toPrecision(2)} times through your rows`}`,
      ],
      rate: ['Learning rate', () => 'the highest, from which it falls to nothing'],
      rank: ['Rank', () => 'size of the adapter'],
      length: ['Longest row', () => 'in tokens; what is longer is cut'],
      memory: ['Memory limit', () => 'in GiB, if you know better than the browser'],
    } as const,
    wrong: (least: number, most: number, whole: boolean) =>
      `${whole ? 'A whole number' : 'A number'} from ${least} to ${count(most)}`,
    adapter: 'GPU',
    adapters: { '': 'as the browser likes', 'high-performance': 'the fast one', 'low-power': 'the frugal one' },
    keys: 'Other settings',
    keysHint: 'As in a config file of the command line, one a line: train.seed: 7',
    keysWrong: (line: string) =>
      `“${line}” is no setting of train, tuning, memory, model.max_seq_len, model.dtype, data.train_on, data.truncation or data.style`,
    link: 'Copy a link to this set-up',
    copied: 'Copied',
    linkNote: 'It holds the settings above and none of your data.',
  },

  plan: {
    title: 'Memory plan',
    empty: 'What the training will take of your GPU’s memory, to the byte, before anything starts.',
    planning: 'Planning …',
    fits: (peak: number, budget: number) => `${memory(peak)} of ${memory(budget)}: it fits.`,
    tooLarge: (peak: number, budget: number) => `${memory(peak)} is more than the ${memory(budget)} that there are.`,
    unknown: memory,
    tooLargeTitle: 'This run is too large for this GPU.',
    guess:
      'Browsers do not tell how much memory there is; this is a careful guess. Set a memory limit under “More” if you know better.',
    bar: (parts: string) => `Memory by use: ${parts}`,
    share: (part: number) => `${percent(part)} of what there is`,
    budget: 'what there is',
    batch: (rows: number, times: number, checkpointing: boolean) =>
      `${plural(rows, 'row')} at once${times > 1 ? `, ${count(times)} times a step` : ''}${checkpointing ? ', with layers computed twice to save memory' : ''}`,
    categories: {
      weights: 'model',
      adapters: 'adapter',
      gradients: 'gradients',
      optimizer: 'optimizer',
      activations: 'activations',
      logits: 'logits',
      staging: 'staging',
    },
    keyNames: {
      'train.batch_size': 'rows at once',
      'train.gradient_accumulation_steps': 'times a step',
      'train.gradient_checkpointing': 'layers computed twice',
      'train.precision': 'precision of activations',
      'train.optimizer': 'optimizer',
      'tuning.mode': 'method',
      'tuning.lora.r': 'rank',
      'model.max_seq_len': 'longest row',
      'memory.budget_gib': 'memory limit',
    } as Readonly<Record<string, string>>,
    would: (settings: string) => `It would fit with ${settings}.`,
    setting: (name: string, value: string) => `${name} ${value === 'true' ? 'on' : value}`,
  },

  training: {
    title: 'Training',
    idle: 'Not started yet.',
    start: 'Start training',
    pause: 'Pause',
    resume: 'Resume',
    stop: 'Stop',
    waitFor: {
      data: 'It needs examples first.',
      model: 'It needs a model first.',
      plan: 'The plan comes first.',
      fit: 'The plan has to fit first.',
      mend: 'What is told above has to be put right first.',
    },
    preparing: 'Preparing',
    stage: (now: RunStage) => {
      if (now.stage === 'rows') return `Reading rows: ${count(now.rows)}`;
      if (now.stage === 'read') return `Read ${now.file.split('/').at(-1)}`;
      if (now.stage === 'device') return 'Making the GPU ready';
      return `Loading the model: ${bytes(now.loaded)} of ${bytes(now.total)}`;
    },
    status: {
      starting: (stage: string) => `${stage} …`,
      running: (step: number, total: number, value: number | null) => progress(step, total, value),
      paused: (step: number, total: number, value: number | null) => `Paused. ${progress(step, total, value)}`,
      stopping: (step: number, total: number, value: number | null) => `Stopping. ${progress(step, total, value)}`,
      stopped: (step: number, total: number, value: number | null) =>
        `Stopped and saved. ${progress(step, total, value)}`,
      failed: (step: number, total: number, value: number | null) =>
        `Ended by a problem. ${progress(step, total, value)}`,
      done: (step: number, total: number, value: number | null) => `Done. ${progress(step, total, value)}`,
    },
    loss: 'Loss',
    lossNote: 'surprise per token',
    held: 'on rows it does not learn from',
    rate: 'Learning rate',
    speed: 'Tokens a second',
    left: 'Time left',
    chart: (first: number, last: number) => `Loss over the steps: from ${loss(first)} to ${loss(last)}`,
    series: { loss: 'loss', smooth: 'smoothed', held: 'held-out rows', step: 'step' },
    battery: (level: number) => `The battery is at ${Math.round(100 * level)} % and not charging.`,
    wait: 'Wait for the charger',
    goOn: 'Never mind',
    waiting: 'It goes on when the charger is connected.',
    hidden: 'It goes on while you look at other tabs.',
  },

  tokens: {
    title: 'Tokens',
    empty: 'Your own rows as the model sees them, token by token: what is trained, and how well it knows each by now.',
    row: 'Row',
    of: (number: number) => `of ${count(number)}`,
    previous: 'Previous row',
    next: 'Next row',
    list: (row: number) => `Tokens of row ${count(row)}`,
    known: 'knows it',
    surprised: 'surprised',
    untrained: 'read, not trained',
    token: (piece: string, trained: boolean, value: number | null) => {
      const shown = JSON.stringify(piece);
      if (!trained) return `${shown}, not trained`;
      return value === null ? `${shown}, trained` : `${shown}, loss ${loss(value)}`;
    },
    detail: (piece: string, id: number, trained: boolean, value: number | null) => {
      const chance = value === null ? '' : `: it gave this token a chance of ${percent(Math.exp(-value))}`;
      const what = trained ? (value === null ? 'trained' : `loss ${loss(value)}${chance}`) : 'read, not trained';
      return `${JSON.stringify(piece)} (id ${id}), ${what}`;
    },
    pick: 'Point at a token, or move with the arrow keys.',
    mean: (first: number, last: number) =>
      first === last ? `loss of this row ${loss(last)}` : `loss of this row ${loss(first)} → ${loss(last)}`,
    cut: 'The row is cut at the longest length.',
  },

  compare: {
    title: 'Before and after',
    empty: 'The same prompts, answered by the model as it came and by what you are training.',
    held: 'From rows that it does not learn from. Change them as you like.',
    trained: 'From rows that it learns from: there are too few to keep some apart. Change them as you like.',
    prompt: (number: number) => `Prompt ${number}`,
    base: 'Before',
    adapted: 'After',
    at: (step: number) => `step ${count(step)}`,
    expected: 'Your row says',
    nothing: '(nothing)',
    notYet: 'not trained yet',
    waiting: '…',
    json: 'valid JSON',
    noJson: 'no JSON',
    same: 'as your row',
  },

  chat: {
    title: 'Talk to it',
    lead: 'With and without what it has learnt.',
    log: 'Conversation',
    empty: 'Nothing said yet.',
    message: 'Message',
    placeholder: 'Wake me at ten to nine on Saturday.',
    send: 'Send',
    cut: 'Cut it short',
    fresh: 'New conversation',
    adapter: 'Use adapter',
    you: 'You',
    withAdapter: 'With adapter',
    without: 'Model as it came',
    wasCut: 'cut short',
  },

  download: {
    title: 'Take it with you',
    lead: 'A folder that Hugging Face PEFT loads as its own, with a model card.',
    leadFull: 'A folder in Hugging Face layout, with a model card.',
    adapter: 'Download adapter',
    model: 'Download model',
    packing: 'Packing …',
    notYet: 'There is something to download from the first checkpoint on.',
  },

  storage: {
    used: (used: number, quota: number) => `${bytes(used)} of ${bytes(quota)} in this browser’s storage`,
    persisted: 'kept until you clear it',
    fleeting: 'the browser may clear it when it runs out of space',
    clear: 'Clear storage',
    sure: 'Remove all models, rows and runs of this page from this computer?',
    yes: 'Remove everything',
    no: 'Keep it',
  },

  /** How what the engine says is said here. */
  wording: {
    rows: (split: 'train' | 'val' | 'test', row: string | undefined): string =>
      `${row === undefined ? 'the rows' : `row ${row} of those`} ${text.data.splits[split]}`,
    /** There are none here. */
    commands: /(?:look at a row with|run) `webgpu-sft [^`]*`[;:] /g,
    keys: (name: string) => `“${name}”`,
    others: [
      [/, and the address in model\.hub_url or HF_ENDPOINT/g, ''],
      [/check the address of the hub in model\.hub_url or HF_ENDPOINT/g, 'try again later'],
      [/set HF_TOKEN to/g, 'enter below'],
      [/HF_TOKEN/g, 'an access token'],
      [
        /free some storage in the settings of the browser/g,
        'clear the storage at the end of this page, in the settings of the browser',
      ],
      [
        /the id of a hub, owner\/name/g,
        '“embedded”, a Hugging Face name such as owner/name, or the address of a folder',
      ],
      [/write it as the page of the repository does/g, 'a folder of this computer is chosen from the list'],
    ] as const,
  },

  problems: {
    partMissing: {
      code: 'IO',
      message: 'A part of this page could not be loaded.',
      hint: 'Look at the connection, then reload the page. What is saved stays saved.',
    } satisfies Problem,
    otherTab: {
      code: 'BUSY',
      message: 'Another tab of this page is training.',
      hint: 'Wait until it is done or stop it there; then start here.',
    } satisfies Problem,
    internalHint: 'This is a mistake of the page. Reload it: what is saved stays saved.',
    ownFile: (url: string, status: number) =>
      `${url.split('/').at(-1)} is a file of this page and could not be loaded (HTTP ${status})`,
    notCopied: 'The browser did not let the page copy. The address of the page is the link.',
  },
} as const;

function progress(step: number, total: number, value: number | null): string {
  return `Step ${step} of ${total}${value === null ? '' : ` · loss ${loss(value)}`}`;
}

function percent(share: number): string {
  const value = 100 * share;
  return value >= 99.95
    ? 'nearly 100 %'
    : value < 0.1
      ? 'less than 0.1 %'
      : `${value.toPrecision(value < 10 ? 2 : 3)} %`;
}
