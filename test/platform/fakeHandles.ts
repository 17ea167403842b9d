/** File system handles in memory, as far as `opfs.ts` uses them; Node has none. */

class FakeFile {
  readonly kind = 'file';
  content = new Blob([]);
  async getFile() {
    return this.content;
  }
  async createWritable({ keepExistingData = false } = {}) {
    let parts: BlobPart[] = keepExistingData ? [this.content] : [];
    return {
      seek: async (offset: number) => {
        if (offset !== new Blob(parts).size) throw new Error('the fake can only append');
      },
      write: async (bytes: Uint8Array<ArrayBuffer>) => {
        if (bytes.length > FakeFolder.quota) throw new DOMException('full', 'QuotaExceededError');
        parts = [...parts, bytes.slice()];
      },
      abort: async () => {},
      close: async () => {
        this.content = new Blob(parts);
      },
    };
  }
}

export class FakeFolder {
  /** Bytes that one write may have. */
  static quota = Number.POSITIVE_INFINITY;
  readonly kind = 'directory';
  readonly children = new Map<string, FakeFile | FakeFolder>();

  async *entries() {
    yield* [...this.children];
  }
  async getDirectoryHandle(name: string, options?: { create?: boolean }) {
    return this.child(name, FakeFolder, options);
  }
  async getFileHandle(name: string, options?: { create?: boolean }) {
    return this.child(name, FakeFile, options);
  }
  async removeEntry(name: string, { recursive = false } = {}) {
    const child = this.children.get(name);
    if (!child) throw new DOMException('there is none', 'NotFoundError');
    if (child instanceof FakeFolder && child.children.size > 0 && !recursive) {
      throw new DOMException('not empty', 'InvalidModificationError');
    }
    this.children.delete(name);
  }
  child<T extends FakeFile | FakeFolder>(name: string, Kind: new () => T, { create = false } = {}): T {
    const found = this.children.get(name);
    if (found instanceof Kind) return found;
    if (found) throw new DOMException('another kind', 'TypeMismatchError');
    if (!create) throw new DOMException('there is none', 'NotFoundError');
    const made = new Kind();
    this.children.set(name, made);
    return made;
  }
  /** The type that the code under test knows. */
  get handle(): FileSystemDirectoryHandle {
    return this as unknown as FileSystemDirectoryHandle;
  }
}

/** Locks that are held until their callback ends. */
export function fakeLocks(): LockManager {
  const held = new Set<string>();
  return {
    async request(name: string, _options: LockOptions, callback: (lock: Lock | null) => Promise<unknown>) {
      if (held.has(name)) return callback(null);
      held.add(name);
      try {
        return await callback({ name, mode: 'exclusive' });
      } finally {
        held.delete(name);
      }
    },
  } as unknown as LockManager;
}
