/** How files that come from a hub, or go there, are shown. */
import type { HubProgress } from '../platform/hub.ts';
import type { RunStage } from '../train/openRows.ts';
import { type Call, say, warn } from './command.ts';
import { bytes } from './format.ts';

/** Milliseconds between two lines where no status line can be shown. */
const LINE_EVERY = 10_000;
/** Bytes below which a download is over before a line about it is read. */
const WORTH_A_LINE = 65_536;

/** Shows bytes that come or go, on stderr: a status line at a terminal, elsewhere a line now and then. `doing`: a word for it. */
export function showTransfer(call: Call, doing: string): (progress: HubProgress) => void {
  const { terminal, quiet } = call;
  let shown: { what: string; at: number } | null = null;
  return ({ name, loaded, total }) => {
    if (quiet || total < WORTH_A_LINE) return;
    const what = `${doing} ${name}, ${bytes(total)}`;
    const percent = `${Math.floor((100 * loaded) / Math.max(1, total))} %`;
    if (terminal.isScreen('err')) {
      terminal.setStatus('err', loaded < total ? `${what}: ${percent}` : null);
      return;
    }
    const now = performance.now();
    if (shown?.what === what && now - shown.at < LINE_EVERY) return;
    say(call, shown?.what === what ? `${what}: ${percent}` : what);
    shown = { what, at: now };
  };
}

/** Shows what comes from a hub. */
export function showSources(call: Call): {
  onDownload: (progress: HubProgress) => void;
  onWarning: (message: string) => void;
} {
  return { onWarning: (message) => warn(call, message), onDownload: showTransfer(call, 'downloading') };
}

/** The same where downloads are stages among others. */
export function showDownloadStage(call: Call): (stage: RunStage) => void {
  const { onDownload } = showSources(call);
  return (stage) => {
    if (stage.stage === 'download') onDownload(stage);
  };
}
