/**
 * What the rest of the project may ask of its surroundings. `node.ts` and `browser.ts` export the same names with these
 * types; `#platform` picks one of them. No other folder names `process`, `node:*`, `navigator` or `window`.
 */

/** Random access to bytes: a file handle, a Blob, an OPFS file or a URL with HTTP Range. */
export interface ReadableSource {
  /** For messages: a path, a file name or a URL. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Reads exactly `length` bytes from `offset`; throws `IO` when the source is shorter. */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Gives back what it takes to read, such as a file handle. */
  close(): Promise<void>;
}

/** A folder of sources, such as a model folder. Paths use `/` and never leave the folder. */
export interface ReadableFolder {
  readonly name: string;
  /** File paths relative to the folder, sorted, recursive. */
  list(): Promise<readonly string[]>;
  /** Whether there is such a file. Throws `IO` for a path that could lead out of the folder. */
  has(path: string): Promise<boolean>;
  /** Opens a file; the caller closes it. Throws `IO` where there is none. */
  open(path: string): Promise<ReadableSource>;
}

/** A file being written inside a staged folder. */
export interface WritableFile {
  /** Appends bytes to the file. Throws `IO`. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends the file. Each file is closed before `commit`. */
  close(): Promise<void>;
}

/** A folder that becomes visible under its final name only when `commit` succeeds. */
export interface StagedFolder {
  /** Begins a file, and makes the folders on the way to it. Throws `IO`. */
  create(path: string): Promise<WritableFile>;
  /** Writes a whole file, text as UTF-8. Throws `IO`. */
  write(path: string, content: string | Uint8Array): Promise<void>;
  /** Makes everything durable and moves the folder to its final name, replacing a folder of that name. */
  commit(): Promise<void>;
  /** Removes everything that was staged. Safe to call twice. */
  abort(): Promise<void>;
}

/** Where a run writes: an output folder on disk, in OPFS or in memory. Paths are relative to it. */
export interface WritableStore {
  readonly name: string;
  /** Begins a folder (`checkpoint-100`, `final_model`) that will appear whole or not at all. */
  stage(folder: string): Promise<StagedFolder>;
  /**
   * Begins files that are replaced as one. `commit` takes the former files of `paths` away and puts those that were
   * written in their places; other files of the store stay. The first path is the first to go and the last to come: where
   * it is, the others are of the same set, also when the process is killed in between.
   */
  stageFiles(paths: readonly string[]): Promise<StagedFolder>;
  /** Writes one small file whole or not at all (temporary sibling, fsync, rename). */
  write(path: string, content: string | Uint8Array): Promise<void>;
  /** Appends to a log. */
  append(path: string, content: string | Uint8Array): Promise<void>;
  /** Reads a file, or returns null when there is none. */
  read(path: string): Promise<Uint8Array<ArrayBuffer> | null>;
  /** Names of the folders directly inside the store, sorted. */
  folders(): Promise<readonly string[]>;
  /** A folder of the store, to be read. Whether there is one shows only then. */
  folder(path: string): ReadableFolder;
  /** Removes a file, or a folder with everything in it. Nothing happens where there is neither. */
  remove(path: string): Promise<void>;
  /** Refuses (`BUSY`) when another live run holds the store; sweeps stale staging folders. Returns the release. */
  lock(): Promise<() => Promise<void>>;
}

/** One WebGPU adapter that could be used. */
export interface AdapterEntry {
  /** The raw name by which it is chosen. */
  readonly name: string;
  readonly backend: string;
}

/** A WebGPU adapter that is open, with what is known of it. */
export interface OpenAdapter {
  readonly adapter: GPUAdapter;
  readonly name: string;
  readonly driver: string;
  /** True for lavapipe, SwiftShader, WARP: the "GPU" is the CPU. */
  readonly software: boolean;
}

/** Memory that a run may take on an adapter. */
export interface MemoryFinding {
  readonly bytes: number;
  /** How that is known, as in "95 % of what nvidia-smi says is free". */
  readonly source: string;
  /** Set where nothing was found and the number is a careful guess. */
  readonly guess?: boolean;
}
