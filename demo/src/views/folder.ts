/** A folder of this computer: through the File System Access API where there is one. */

interface Picked {
  readonly name: string;
  readonly files: readonly File[];
}

type Picker = (options: { id: string; mode: 'read' }) => Promise<FileSystemDirectoryHandle>;

/** The files of a folder that the person picks; null when they pick none. */
export async function filesOfFolder(): Promise<Picked | 'unsupported' | null> {
  const { showDirectoryPicker } = window as { showDirectoryPicker?: Picker };
  if (!showDirectoryPicker) return 'unsupported';
  try {
    const folder = await showDirectoryPicker({ id: 'model', mode: 'read' });
    const files: File[] = [];
    for await (const entry of folder.values()) {
      if (entry.kind === 'file') files.push(await (entry as FileSystemFileHandle).getFile());
    }
    return { name: folder.name, files };
  } catch (error) {
    if ((error as Error).name === 'AbortError') return null;
    // Some folders may not be opened this way, and some settings forbid it.
    return 'unsupported';
  }
}
