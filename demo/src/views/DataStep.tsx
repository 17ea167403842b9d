import { useSignal } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import type { Row } from '../../../src/index.ts';
import { reading, rows, stopReading, unnamed, useFiles, usePasted, useSample } from '../state/data.ts';
import { engine } from '../state/engine.ts';
import { plan } from '../state/plan.ts';
import { isActive } from '../state/run.ts';
import { text } from '../text.ts';
import { Problems } from './Problems.tsx';
import { Progress } from './Progress.tsx';
import { Step } from './Step.tsx';

const ACCEPT = '.jsonl,.ndjson,.json,.csv,.tsv,.parquet,.txt,.md,.pdf,.docx,.gz';

export function DataStep() {
  const now = reading.value;
  return (
    <Step number={1} title={text.data.title} lead={text.data.lead} state={rows.value ? 'done' : 'open'}>
      <fieldset class="plain" disabled={isActive.value}>
        <DropZone />
        <Paste />
      </fieldset>
      {now && (
        <Progress
          label={text.data.reading(now.name)}
          progress={now.progress}
          stop={text.data.stop}
          onStop={stopReading}
        />
      )}
      <Problems place="data" />
      <Columns />
      <Found />
    </Step>
  );
}

function DropZone() {
  const over = useSignal(false);
  useEffect(() => dropAnywhere((files) => void useFiles(files)), []);
  const choose = (input: HTMLInputElement) => {
    const files = [...(input.files ?? [])];
    // The same file may be chosen again, when it was put right.
    input.value = '';
    void useFiles(files);
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: dropping is one way of three, and the file input is another
    <div
      class="drop"
      data-over={over.value}
      onDragOver={() => {
        over.value = true;
      }}
      onDragLeave={() => {
        over.value = false;
      }}
      onDrop={() => {
        over.value = false;
      }}
    >
      <div class="choose">
        <span>{text.data.drop}</span>{' '}
        <span class="file-button">
          <input
            type="file"
            multiple
            accept={ACCEPT}
            aria-label={text.data.input}
            aria-describedby="problems-data"
            onChange={(event) => choose(event.currentTarget)}
          />
          <span aria-hidden="true">{text.data.choose}</span>
        </span>
      </div>
      <button type="button" class={rows.value ? '' : 'main'} onClick={() => void useSample()}>
        {text.data.sample}
      </button>
      <small>{isActive.value ? text.data.fixed : text.data.sampleNote}</small>
    </div>
  );
}

/** Files that are dropped beside the place for them are meant for it too: a browser would leave the page and show them. */
function dropAnywhere(take: (files: readonly File[]) => void): () => void {
  const hover = (event: DragEvent) => {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    if (isActive.peek()) event.dataTransfer.dropEffect = 'none';
  };
  const drop = (event: DragEvent) => {
    const { files } = event.dataTransfer ?? {};
    if (!files || files.length === 0) return;
    event.preventDefault();
    if (!isActive.peek()) take([...files]);
  };
  addEventListener('dragover', hover);
  addEventListener('drop', drop);
  return () => {
    removeEventListener('dragover', hover);
    removeEventListener('drop', drop);
  };
}

function Paste() {
  const pasted = useSignal('');
  const use = async (event: Event) => {
    event.preventDefault();
    if (pasted.value.trim() === '') return;
    await usePasted(pasted.value);
  };
  return (
    <details>
      <summary>{text.data.paste}</summary>
      <form onSubmit={(event) => void use(event)}>
        <label for="paste">{text.data.pasteLabel}</label>
        <textarea
          id="paste"
          rows={5}
          spellcheck={false}
          placeholder={text.data.pasteExample}
          value={pasted.value}
          onInput={(event) => {
            pasted.value = event.currentTarget.value;
          }}
        />
        <p class="buttons">
          <button type="submit">{text.data.usePasted}</button>
          <small>{text.data.pasteHint}</small>
        </p>
      </form>
    </details>
  );
}

/** Which of unknown columns are the question and the answer. */
function Columns() {
  const now = unnamed.value;
  const [question, setQuestion] = useState(0);
  const [answer, setAnswer] = useState(1);
  if (!now) return null;
  const { files, columns } = now;
  const submit = (event: Event) => {
    event.preventDefault();
    void useFiles(files, { columns: { question: columns[question] ?? '', answer: columns[answer] ?? '' } });
  };
  const field = (id: string, name: string, value: number, set: (value: number) => void) => (
    <div class="field">
      <label for={id}>{name}</label>
      <select id={id} value={value} onChange={({ currentTarget }) => set(Number(currentTarget.value))}>
        {columns.map((column, index) => (
          <option key={column} value={index}>
            {column}
          </option>
        ))}
      </select>
    </div>
  );
  return (
    <form class="columns" onSubmit={submit}>
      <p>{text.data.columns}</p>
      <div class="fields">
        {field('column-question', text.data.questionColumn, question, setQuestion)}
        {field('column-answer', text.data.answerColumn, answer, setAnswer)}
      </div>
      <button type="submit" disabled={question === answer}>
        {text.data.useColumns}
      </button>
    </form>
  );
}

/** What was recognised. */
function Found() {
  const ready = rows.value;
  if (!ready) return null;
  const { report, paths } = ready.stored;
  const { empty, duplicates } = report;
  const splits = plan.value?.rows === ready ? plan.value.check.splits : [];
  const learnt = splits.find(({ split }) => split === 'train')?.report;
  const length = plan.value?.config.model?.max_seq_len ?? 0;
  const notes = [
    empty.count > 0 && text.data.empty(empty.count, empty.first),
    duplicates.count > 0 && text.data.duplicates(duplicates.count),
    learnt && learnt.truncated > 0 && text.data.truncated(learnt.truncated, length),
    learnt && learnt.dropped.length > 0 && text.data.left(learnt.dropped.length),
  ].filter((note) => typeof note === 'string');
  return (
    <div class="found">
      <p>
        <strong>{ready.name}</strong> {text.data.found(report.rows, report.shapes)}
      </p>
      <dl class="splits">
        {report.splits
          .filter(({ rows: number }) => number > 0)
          .map(({ split, rows: number }) => (
            <div key={split} style={{ flexGrow: Math.max(number / report.rows, 0.22) }}>
              <dt>{text.data.splits[split]}</dt>
              <dd>{text.number(number)}</dd>
            </div>
          ))}
      </dl>
      <FirstRow path={paths.train_path} />
      {notes.map((note) => (
        <p class="note" key={note}>
          {note}
        </p>
      ))}
    </div>
  );
}

function FirstRow({ path }: { readonly path: string }) {
  const [row, setRow] = useState<Row | null>(null);
  useEffect(() => {
    let wanted = true;
    engine()
      .then((trainer) => trainer.rows(path, 0, 1))
      .then(
        ([first]) => wanted && setRow(first ?? null),
        // The plan reads the same rows and says what is wrong with them.
        () => {},
      );
    return () => {
      wanted = false;
    };
  }, [path]);
  if (!row) return null;
  const { asks, answers, says, first } = text.data;
  const lines: readonly (readonly [string, string])[] =
    row.kind === 'text'
      ? [[says, row.text]]
      : row.kind === 'prompt_completion'
        ? [
            [asks, row.prompt],
            [answers, row.completion],
          ]
        : row.messages
            .filter(({ role }) => role === 'user' || role === 'assistant')
            .slice(0, 2)
            .map(({ role, content }) => [role === 'user' ? asks : answers, content ?? '']);
  return (
    <dl class="first-row" aria-label={first}>
      {lines.map(([label, said]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd>{said.length > 300 ? `${said.slice(0, 300)}…` : said}</dd>
        </div>
      ))}
    </dl>
  );
}
