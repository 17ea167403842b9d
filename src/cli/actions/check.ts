/** `webgpu-sft check`: every problem at once. */
import { SUSPICIONS, type Suspicion } from '../../data/suspicion.ts';
import type { CheckedSplit } from '../../train/checkData.ts';
import { checkRun, type Problem, type RunCheck } from '../../train/checkRun.ts';
import type { Found } from '../../train/found.ts';
import { type Call, printJson, say, warn } from '../command.ts';
import { showDownloadStage } from '../downloads.ts';
import { bytes, counted, countsOf, digits, places, quantity, shellQuote } from '../format.ts';
import { ownCommand } from '../ownCommand.ts';

/** Problems of one file that are shown; `--json` has them all. */
const SHOWN_PER_FILE = 10;

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const { terminal, quiet } = call;
  const onStage = showDownloadStage(call);
  const found = await checkRun(call.config, {
    onProgress(stage) {
      onStage(stage);
      if (!quiet && stage.stage === 'rows')
        terminal.setStatus('err', `reading ${stage.file}: ${counted(stage.rows, 'row')}`);
    },
  });
  terminal.setStatus('err', null);
  for (const warning of found.warnings) warn(call, warning);
  const ok = found.problems.length === 0;
  const { config, problems, splits } = found;
  if (call.json) printJson(call, { ok, config, problems, data: Object.fromEntries(splits.map(splitJson)) });
  else {
    showFindings(call, found);
    showProblems(call, found.problems);
  }
  const train = `${ownCommand()} train ${shellQuote(call.config.path ?? '')}`.trim();
  if (ok) say(call, `no problems; go on with: ${train}`);
  else
    say(
      call,
      `${counted(found.problems.length, 'problem')}; correct ${found.problems.length === 1 ? 'it' : 'them'} and check again`,
    );
  return ok ? 0 : 2;
}

function showFindings({ terminal }: Call, { model, template, splits, adapter, plan }: RunCheck): void {
  const { green, yellow } = terminal.colors.out;
  const line = (name: string, text: string, mark = green('✓')) =>
    terminal.line('out', `${mark} ${name.padEnd(10)} ${text}`);
  if (model) line('model', `${model.name} (${model.type}), ${quantity(model.parameters)} parameters`);
  if (template) line('template', template);
  for (const checked of splits) {
    const { split, report, findings } = checked;
    line(split, rowsLine(report));
    line('', `longest: ${findings.longest.map(({ where, tokens }) => `${where} (${tokens} tokens)`).join(', ')}`, ' ');
    for (const text of remarks(checked)) line(split, text, yellow('!'));
  }
  if (plan) line('memory', `${bytes(plan.peak_bytes)} at batch size ${plan.batch_size}`);
  if (adapter) line('adapter', `${adapter.name}, ${adapter.kernels} kernels`);
}

function rowsLine({ kept, shapes, tokens, trainedTokens, mix }: CheckedSplit['report']): string {
  const share = digits((100 * trainedTokens) / tokens, 3);
  const mixed = mix ? `, ${mix.leftOut} more not chosen by data.documents.mix_ratio` : '';
  return `${counted(kept, 'row')} (${countsOf(shapes)}), ${quantity(tokens)} tokens, ${share} % trained${mixed}`;
}

/** What is worth a look in a split, one line each. */
function remarks({ split, report, findings }: CheckedSplit): string[] {
  const { dropped } = report;
  const { truncated, repeated, inEarlierSplit, suspicious } = findings;
  const leftOut = { count: dropped.length, first: dropped.slice(0, 1).map(({ where, why }) => `${where}: ${why}`) };
  const all: [Found, string][] = [
    [leftOut, 'left out'],
    [truncated, 'truncated to model.max_seq_len'],
    [repeated, 'repeated word for word'],
    [inEarlierSplit, `of ${split} that an earlier split has, word for word`],
    ...(Object.entries(suspicious) as [Suspicion, Found][]).map(([name, found]): [Found, string] => [
      found,
      SUSPICIONS[name],
    ]),
  ];
  return all
    .filter(([{ count }]) => count > 0)
    .map(([found, what]) => `${counted(found.count, 'row')} ${what}: ${places(found)}`);
}

/** The findings of a split as `--json` has them: beside the problems, as none of them stops a run. */
function splitJson({ split, report, findings }: CheckedSplit) {
  const { read, kept, shapes, dropped, tokens, trainedTokens } = report;
  return [
    split,
    {
      read,
      kept,
      shapes,
      tokens,
      trained_tokens: trainedTokens,
      longest: findings.longest,
      truncated: findings.truncated,
      left_out: dropped,
      repeated: findings.repeated,
      in_earlier_split: findings.inEarlierSplit,
      suspicious: findings.suspicious,
    },
  ] as const;
}

function showProblems({ terminal }: Call, problems: readonly Problem[]): void {
  const { red, cyan, dim } = terminal.colors.err;
  const shown = new Map<string, number>();
  for (const { code, where, message, hint } of problems) {
    const file = where.replace(/(:\d+)+$/, '');
    const before = shown.get(file) ?? 0;
    shown.set(file, before + 1);
    if (before >= SHOWN_PER_FILE) continue;
    terminal.line('err', `${red(`error[${code}]:`)} ${where}: ${message}`);
    if (hint !== '') terminal.line('err', `${cyan('hint:')} ${hint}`);
  }
  for (const [file, count] of shown) {
    if (count > SHOWN_PER_FILE) terminal.line('err', dim(`${file}: ${count - SHOWN_PER_FILE} more, see --json`));
  }
}
