/** The format that pasted rows look like. */
export function formatOf(pasted: string): 'json' | 'jsonl' | 'tsv' | 'csv' | 'txt' {
  const start = pasted.trimStart();
  if (start.startsWith('[')) return 'json';
  if (start.startsWith('{')) return isJson(start) && start.includes('\n') ? 'json' : 'jsonl';
  const [header = ''] = start.split('\n');
  const columns = (mark: string) => header.split(mark).length > 1 && /^["\w]/.test(header);
  if (columns('\t')) return 'tsv';
  // A sentence has commas too: a header has several short names and no full stop.
  if (columns(',') && header.split(',').every((cell) => /^\s*"?[\w ]{1,40}"?\s*$/.test(cell))) return 'csv';
  return 'txt';
}

function isJson(written: string): boolean {
  try {
    JSON.parse(written);
    return true;
  } catch {
    return false;
  }
}
