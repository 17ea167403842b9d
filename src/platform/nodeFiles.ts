/** Files on Node: paths are those of the disk. The same names as in `browserFiles.ts`. */
export { openFile, openFolder } from './nodeFolder.ts';
export { openStore } from './nodeStore.ts';
