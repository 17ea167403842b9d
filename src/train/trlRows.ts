/**
 * Rows in the form in which TRL's SFTTrainer trains the same tokens as this project does: as text where TRL's own masks are ours,
 * which is looked at row by row, else as token ids and labels, which TRL takes as they are.
 */
import type { Dataset } from '../data/dataset.ts';
import { IGNORE_INDEX } from '../data/labels.ts';
import { rawPromptIds } from '../data/promptRows.ts';
import type { ChatRow, Message, Row } from '../data/rows.ts';
import type { Split } from '../data/split.ts';
import type { TokenizedRow } from '../data/tokenize.ts';
import type { ModelText } from '../eval/modelText.ts';
import type { Config } from './config.ts';
import { openRowsAs, type ReadOptions } from './openRows.ts';

/**
 * `messages`: chats, masked by the template's `{% generation %}` blocks or not at all. `turn`: the last answer of a chat as the completion
 * of what is before it. `completion`: raw text and its completion. `text`: raw text. `tokens`: `input_ids` and `labels`.
 */
export type TrlForm = 'messages' | 'turn' | 'completion' | 'text' | 'tokens';

interface TrlRow extends Pick<TokenizedRow, 'inputIds' | 'labels' | 'truncated'> {
  /** The row as text, where TRL trains the same of it; null where it does not. */
  readonly written: { readonly form: TrlForm; readonly row: object } | null;
}

/** The rows of a split as tokens, and as text where TRL makes the same tokens of it. */
export type TrlRows = Dataset<TrlRow>;

/** The rows of a split; null when the configuration names none. Throws `DATA`, `TEMPLATE`. */
export function openTrlRows(
  config: Config,
  split: Split,
  text: ModelText,
  options: ReadOptions = {},
): Promise<TrlRows | null> {
  return openRowsAs(config, split, text, options, (row, result) => {
    if ('dropped' in result) return null;
    const { inputIds, labels, truncated } = result;
    const written = writeRow(row, result, text, config.data.train_on);
    return { inputIds, labels, truncated, written };
  });
}

/** The form that fits all rows. */
export function formOf(splits: readonly TrlRows[]): TrlForm {
  const forms = new Set(splits.flatMap(({ rows }) => rows.map(({ written }) => written?.form ?? 'tokens')));
  const [form] = forms;
  return forms.size === 1 && form !== undefined ? form : 'tokens';
}

/** The objects to be written, one a line. */
export function* rowsAs(form: TrlForm, { rows }: TrlRows): Generator<object> {
  for (const { written, inputIds, labels } of rows) {
    yield form === 'tokens' || !written ? { input_ids: [...inputIds], labels: [...labels] } : written.row;
  }
}

function writeRow(
  row: Row,
  result: TokenizedRow,
  { tokenizer, template }: ModelText,
  trainOn: Config['data']['train_on'],
): TrlRow['written'] {
  switch (row.kind) {
    case 'text': {
      // A tokenizer that ends texts by itself would end it twice there.
      const whole = tokenizer.encode(result.text, { addSpecialTokens: true }).ids;
      return whole.length === result.wholeLength ? { form: 'text', row: { text: row.text } } : null;
    }
    case 'prompt_completion': {
      const { prompt, completion } = row;
      const before = trainOn === 'all' ? [] : rawPromptIds(prompt, tokenizer);
      return isTrainedAfter(before, result) ? { form: 'completion', row: { prompt, completion } } : null;
    }
    case 'chat': {
      if (!isPlain(row) || template === null) return null;
      const { messages } = row;
      if (trainOn === 'all' || (trainOn === 'assistant' && template.marksGeneration)) {
        return { form: 'messages', row: { messages } };
      }
      const last = messages.length - 1;
      const prompt = messages.slice(0, last);
      if (last < 1 || messages[last]?.role !== 'assistant') return null;
      const before = tokenizer.encode(template.render({ messages: prompt, addGenerationPrompt: true }).text).ids;
      return isTrainedAfter(before, result)
        ? { form: 'turn', row: { prompt, completion: messages.slice(last) } }
        : null;
    }
  }
}

/**
 * Whether a row begins with these tokens, and is trained on all that follows and nothing else. Of a row that lost its start nobody
 * can say.
 */
function isTrainedAfter(before: readonly number[], { inputIds, labels }: TokenizedRow): boolean {
  return inputIds.every((id, t) => {
    return t < before.length ? before[t] === id && labels[t] === IGNORE_INDEX : labels[t] === id;
  });
}

/** Columns of Arrow have one type: what some messages have and others not would be filled with nothing. */
function isPlain({ messages, tools }: ChatRow): boolean {
  const plain = (message: Message) => typeof message.content === 'string' && Object.keys(message).length === 2;
  return tools === undefined && messages.every(plain);
}
