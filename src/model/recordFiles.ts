/** Files that say what a folder was made from. */

/** Of a merge; a folder that has it may be replaced by another merge. */
export const MERGE_FILE = 'merge.json';
/** Of an export; a folder that has it may be replaced by another export. */
export const EXPORT_FILE = 'export.json';
