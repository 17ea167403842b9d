/** What a run shows: a start block, then a status line at a terminal and plain lines elsewhere, then a curve. */
import type { Gpu } from '../gpu/device.ts';
import { sumBytes } from '../gpu/ledger.ts';
import type { DoneEvent, StartEvent, TrainEvent } from '../train/events.ts';
import type { RunStage } from '../train/openRows.ts';
import { bytes, counted, digits, duration, howFull, quantity, shapesOf } from './format.ts';
import { drawCurve } from './lossCurve.ts';
import type { Colors, Terminal } from './terminal.ts';

type StepEvent = Extract<TrainEvent, { type: 'step' }>;

/** Step durations that the time left is guessed from. */
const RECENT = 20;
const BAR_WIDTH = 20;

export interface TrainViewOptions {
  readonly quiet: boolean;
  /** Plain lines for every step. */
  readonly verbose: boolean;
  /** Said after the run: what to try next. Null when somebody else says how it ends. */
  readonly nextCommand: string | null;
}

export class TrainView {
  /** Everything that is shown, without colours, until it is taken. */
  private log: string[] = [];
  private readonly terminal: Terminal;
  private readonly options: TrainViewOptions;
  private readonly colors: Colors;
  private start: StartEvent | null = null;
  private readonly losses: number[] = [];
  /** When the last steps ended, in milliseconds. */
  private readonly times: number[] = [];
  private readonly stages = new Set<string>();

  constructor(terminal: Terminal, options: TrainViewOptions) {
    this.terminal = terminal;
    this.options = options;
    this.colors = terminal.colors.out;
  }

  /** The lines since the last call, for `training_log.txt`. */
  takeLog(): string {
    const lines = this.log;
    this.log = [];
    return lines.map((line) => `${line}\n`).join('');
  }

  /** A line that stays. `shown` is the same with colours. */
  line(text: string, shown = text): void {
    this.log.push(text);
    if (!this.options.quiet) this.terminal.line('out', shown);
  }

  /** A line for the log alone. */
  note(text: string): void {
    this.log.push(text);
  }

  warn(message: string): void {
    this.log.push(`warning: ${message}`);
    if (!this.options.quiet) this.terminal.line('err', `${this.terminal.colors.err.yellow('warning:')} ${message}`);
  }

  /** What is going on before the first step. */
  stage(stage: RunStage): void {
    // Drivers may have something to say when they are opened.
    if (stage.stage === 'device') {
      this.status(null);
      return;
    }
    if (stage.stage === 'read') {
      const finished = '; data.prompt_template is for raw rows, and these are finished';
      this.line(`read ${shapesOf(stage.shapes, stage.file)}${stage.templateUnused ? finished : ''}`);
      return;
    }
    const doing = this.doing(stage);
    if (!this.stages.has(doing) && !this.terminal.isScreen('out')) this.line(doing);
    this.stages.add(doing);
    if (stage.stage === 'rows') this.status(`${doing}: ${counted(stage.rows, 'row')}`);
    else if (stage.loaded >= stage.total) this.status(stage.stage === 'weights' ? 'compiling kernels' : null);
    else this.status(`${doing}: ${Math.floor((100 * stage.loaded) / stage.total)} %`);
  }

  private doing(stage: Exclude<RunStage, { stage: 'device' | 'read' }>): string {
    if (stage.stage === 'rows') return `reading ${stage.file}`;
    const what = stage.stage === 'download' ? `downloading ${stage.name}` : 'loading weights';
    return `${what}, ${bytes(stage.total)}`;
  }

  event(event: TrainEvent, gpu: Gpu): void {
    switch (event.type) {
      case 'start':
        this.begin(event);
        break;
      case 'step':
        this.step(event, gpu);
        break;
      case 'eval':
        this.evaluation(event);
        break;
      case 'checkpoint':
        this.line(`checkpoint  step ${event.step}  ${this.outputDir()}/${event.folder}`);
        break;
      case 'sample':
        break;
      case 'warning':
        this.warn(event.message);
        break;
      case 'done':
        this.end(event);
        break;
    }
  }

  /** The block that says what is going to happen. */
  begin(event: StartEvent): void {
    this.start = event;
    this.times.push(performance.now());
    const { model, rows, packing, adapter, plan } = event;
    const whole = model.parameters + (event.config.tuning.mode === 'full' ? 0 : model.trainable_parameters);
    const share = digits((100 * model.trainable_parameters) / whole, 3);
    const used = Object.entries(plan.categories).filter(([, count]) => count > 0);
    const resumed = event.resumed_step > 0 ? `, from step ${event.resumed_step}` : '';
    const facts: [string, string][] = [
      ['model', `${model.name} (${model.type}), ${quantity(model.parameters)} parameters`],
      [
        'trained',
        `${quantity(model.trainable_parameters)} parameters of ${quantity(whole)} (${share} %), mode ${event.config.tuning.mode}`,
      ],
      ['rows', `${rows.train} to train${rows.eval > 0 ? `, ${rows.eval} to evaluate` : ''}`],
      ...(packing ? [['packed', howFull(packing, event.config.model.max_seq_len)] satisfies [string, string]] : []),
      [
        'steps',
        `${event.total_steps}${resumed}, each ${event.batch_size} x ${event.gradient_accumulation_steps} ${packing ? 'sequences' : 'rows'} (batch x accumulation)`,
      ],
      ['adapter', `${adapter.name}${adapter.software ? ', software' : ''}, ${adapter.kernels} kernels`],
      ['batch', event.reason],
      [
        'memory',
        `${bytes(plan.peak_bytes)}: ${used.map(([category, count]) => `${category} ${bytes(count)}`).join(', ')}`,
      ],
    ];
    for (const [name, text] of facts) {
      this.line(`${name.padEnd(9)} ${text}`, `${this.colors.bold(name.padEnd(9))} ${text}`);
    }
    this.status('compiling kernels');
  }

  close(): void {
    this.terminal.close();
  }

  private outputDir(): string {
    return this.start?.config.output_dir ?? '';
  }

  private step(event: StepEvent, gpu: Gpu): void {
    if (Number.isFinite(event.loss)) this.losses.push(event.loss);
    this.times.push(performance.now());
    if (this.times.length > RECENT + 1) this.times.shift();
    const total = this.start?.total_steps ?? event.step;
    const left = this.secondsLeft(total - event.step);
    const live = bytes(sumBytes(gpu.ledger.live));
    const speed = `${quantity(event.tokens_per_second)} tok/s`;
    const interval = this.start?.config.logging.log_interval ?? 1;
    if (this.options.verbose || event.step % interval === 0 || event.step === total) {
      const line = [
        `step ${String(event.step).padStart(String(total).length)}/${total}`,
        `epoch ${event.epoch.toFixed(2)}`,
        `loss ${digits(event.loss, 5)}`,
        `grad_norm ${digits(event.grad_norm, 3)}`,
        ...(event.skipped_steps ? [`skipped ${event.skipped_steps}`] : []),
        `lr ${digits(event.learning_rate, 3)}`,
        speed,
        `${duration(left)} left`,
        live,
      ].join('  ');
      // At a terminal the status line shows it; the log keeps it all the same.
      if (this.terminal.isScreen('out') && !this.options.verbose) this.log.push(line);
      else this.line(line);
    }
    const filled = Math.round((event.step / total) * BAR_WIDTH);
    const progress = '━'.repeat(filled) + '─'.repeat(BAR_WIDTH - filled);
    this.status(
      `step ${event.step}/${total} ${progress} loss ${digits(event.loss, 4)} · ${speed} · ${duration(left)} left · ${live}`,
    );
  }

  private evaluation({ type: _, step, epoch, eval_runtime, ...metrics }: Extract<TrainEvent, { type: 'eval' }>): void {
    const values = Object.entries(metrics).map(([name, value]) => `${name} ${digits(value, 5)}`);
    const line = `eval        step ${step}  ${values.join('  ')}  in ${duration(eval_runtime)}`;
    this.line(line, this.colors.cyan(line));
  }

  private secondsLeft(steps: number): number {
    const [first = 0] = this.times;
    const last = this.times.at(-1) ?? 0;
    return (steps * (last - first)) / 1000 / Math.max(1, this.times.length - 1);
  }

  private end(event: DoneEvent): void {
    this.status(null);
    const curve = drawCurve(this.losses, Math.min(this.terminal.width('out'), 76));
    if (curve.length > 0) {
      this.line('');
      for (const line of curve) this.line(line, this.colors.green(line));
      const [first = 0] = this.losses;
      this.line(
        `loss ${digits(first, 4)} at step ${event.step - this.losses.length + 1}, ${digits(this.losses.at(-1) ?? 0, 4)} at step ${event.step}`,
      );
    }
    const { nextCommand } = this.options;
    if (nextCommand === null) return;
    this.line('');
    const full = this.start?.config.tuning.mode === 'full';
    const what = full ? 'model' : 'adapter';
    this.line(`done in ${duration(event.runtime)}: the ${what} is in ${event.final_model}`);
    if (event.best_model_checkpoint !== null && this.start?.config.train.load_best_model_at_end) {
      this.line(`it is that of ${event.best_model_checkpoint}, which had the lowest eval_loss`);
    }
    this.line(`try: ${nextCommand}`);
  }

  private status(text: string | null): void {
    if (!this.options.quiet) this.terminal.setStatus('out', text);
  }
}
