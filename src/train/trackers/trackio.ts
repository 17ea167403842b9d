/**
 * Trackio: rows go to a server's bulk endpoint over HTTP. `TRACKIO_SERVER_URL` is its address, `TRACKIO_WRITE_TOKEN` what it
 * asks for where it asks. Source: gradio-app/trackio, contrib/trackio-js.
 */
import { environmentVariable } from '#platform';
import { SftError } from '../../platform/errors.ts';
import { curves, type OpenTracker } from './tracker.ts';

const DEFAULT_SERVER = 'http://127.0.0.1:7860';
/** Newer servers have the first, older ones the second. */
const ENDPOINTS = ['/api/bulk_log', '/gradio_api/bulk_log'];
/** Rows are sent together, at most so often. */
const FLUSH_MS = 2000;
const TIMEOUT_MS = 10_000;

interface Entry {
  readonly metrics: Record<string, number>;
  readonly step: number;
  readonly timestamp: string;
}

export const openTrackio: OpenTracker = async ({ config, name }) => {
  const server = (environmentVariable('TRACKIO_SERVER_URL') ?? DEFAULT_SERVER).replace(/\/+$/, '');
  const token = environmentVariable('TRACKIO_WRITE_TOKEN');
  let endpoint: string | null = null;
  let waiting: Entry[] = [];
  let sentAt = 0;
  let sending: Promise<void> = Promise.resolve();
  let failure: unknown = null;

  async function post(path: string, body: string): Promise<Response> {
    const headers = {
      'Content-Type': 'application/json',
      ...(token !== undefined && { 'X-Trackio-Write-Token': token }),
    };
    try {
      return await fetch(server + path, { method: 'POST', headers, body, signal: AbortSignal.timeout(TIMEOUT_MS) });
    } catch (cause) {
      throw new SftError('IO', `${server}: no answer from the Trackio server`, {
        hint: 'start it, or set TRACKIO_SERVER_URL',
        cause,
      });
    }
  }

  async function send(entries: readonly Entry[]): Promise<void> {
    const body = JSON.stringify({
      project: config.logging.project,
      run: name,
      metrics_list: entries.map(({ metrics }) => metrics),
      steps: entries.map(({ step }) => step),
      timestamps: entries.map(({ timestamp }) => timestamp),
      config,
    });
    for (const path of endpoint === null ? ENDPOINTS : [endpoint]) {
      const response = await post(path, body);
      await response.body?.cancel();
      if (response.ok) {
        endpoint = path;
        return;
      }
      if (response.status !== 404 && response.status !== 405) {
        throw new SftError('IO', `${server}${path}: the Trackio server answered ${response.status}`, {
          hint: 'check TRACKIO_WRITE_TOKEN',
        });
      }
    }
    throw new SftError('IO', `${server}: expected a Trackio server, got one without ${ENDPOINTS.join(' and ')}`);
  }

  function flush(): void {
    const entries = waiting;
    waiting = [];
    sentAt = performance.now();
    sending = sending
      .then(() => send(entries))
      .catch((error: unknown) => {
        failure ??= error;
      });
  }

  return {
    name: 'trackio',
    log(row) {
      if (failure !== null) throw failure;
      waiting.push({ metrics: Object.fromEntries(curves(row)), step: row.step, timestamp: new Date().toISOString() });
      if (performance.now() - sentAt >= FLUSH_MS) flush();
    },
    async close() {
      if (waiting.length > 0) flush();
      await sending;
      if (failure !== null) throw failure;
    },
  };
};
