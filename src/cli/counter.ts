/** How far something is: one line that is written again at a terminal, else a line now and then and one at the end. */
import { type Call, say } from './command.ts';
import { duration } from './format.ts';

const SECONDS_BETWEEN_LINES = 10;

/** `answered 12 of 65, 0:40 left`, from the time that it is made. */
export function counter(call: Call, done: string, total: number): (count: number) => void {
  const { terminal, quiet } = call;
  const begun = performance.now();
  let told = begun;
  return (count) => {
    if (quiet) return;
    const now = performance.now();
    const left = ((now - begun) / count / 1000) * (total - count);
    const text = `${done} ${count} of ${total}${count < total ? `, ${duration(left)} left` : ''}`;
    if (terminal.isScreen('err')) terminal.setStatus('err', count < total ? text : null);
    else if (count === total || now - told > SECONDS_BETWEEN_LINES * 1000) {
      say(call, text);
      told = now;
    }
  };
}
