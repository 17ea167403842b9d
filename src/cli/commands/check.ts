/** `webgpu-sft check`: every problem at once. */
import { checkRun, type Problem, type RunCheck } from '../../index.ts';
import { type Call, type CommandSpec, printJson, say, warn } from '../command.ts';
import { bytes, counted, quantity, shellQuote } from '../format.ts';

/** Problems of one file that are shown; `--json` has them all. */
const SHOWN_PER_FILE = 10;

export const check: CommandSpec = {
  json: 'the resolved config and all problems',
  examples: ['webgpu-sft check configs/lora_smollm2.yaml'],
  async run(call) {
    const { terminal, quiet } = call;
    const found = await checkRun(call.config, {
      onProgress(stage) {
        if (!quiet && stage.stage === 'rows')
          terminal.setStatus('err', `reading ${stage.file}: ${counted(stage.rows, 'row')}`);
      },
    });
    terminal.setStatus('err', null);
    for (const warning of found.warnings) warn(call, warning);
    const ok = found.problems.length === 0;
    if (call.json) printJson(call, { ok, config: found.config, problems: found.problems });
    else {
      showFindings(call, found);
      showProblems(call, found.problems);
    }
    const train = `webgpu-sft train ${shellQuote(call.config.path ?? '')}`.trim();
    if (ok) say(call, `no problems; go on with: ${train}`);
    else
      say(
        call,
        `${counted(found.problems.length, 'problem')}; correct ${found.problems.length === 1 ? 'it' : 'them'} and check again`,
      );
    return ok ? 0 : 2;
  },
};

function showFindings({ terminal }: Call, { model, template, train, evaluation, adapter, plan }: RunCheck): void {
  const { green } = terminal.colors.out;
  const line = (name: string, text: string) => terminal.line('out', `${green('✓')} ${name.padEnd(10)} ${text}`);
  if (model) line('model', `${model.name} (${model.type}), ${quantity(model.parameters)} parameters`);
  if (template) line('template', template);
  for (const [name, report] of [
    ['train', train],
    ['validation', evaluation],
  ] as const) {
    if (!report) continue;
    const { kept, tokens, trainedTokens, longest, truncated, dropped } = report;
    const less = [
      truncated > 0 && `${truncated} truncated`,
      dropped.length > 0 && `${dropped.length} left out (${dropped[0]?.where}: ${dropped[0]?.why})`,
    ].filter(Boolean);
    const rows = `${counted(kept, 'row')}, ${quantity(tokens)} tokens, ${quantity(trainedTokens)} trained, longest ${longest}`;
    line(name, [rows, ...less].join('; '));
  }
  if (plan) line('memory', `${bytes(plan.peak_bytes)} at batch size ${plan.batch_size}`);
  if (adapter) line('adapter', `${adapter.name}, ${adapter.kernels} kernels`);
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
