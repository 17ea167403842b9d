/** What help names and a command uses where nothing is typed. */

/** Port of the live page, beside TensorBoard's. */
export const DEFAULT_PORT = 6007;
/** Where `doctor --report` writes. */
export const REPORT_FILE = 'webgpu-sft-report.yaml';
/** Folder of the rows that `style` writes. */
export const STYLED_FOLDER = 'data/processed_with_style';
