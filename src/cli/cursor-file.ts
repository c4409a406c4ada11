import { open, readFile, rename } from 'node:fs/promises';
import { StartupError } from '../kernel/errors.ts';

/**
 * The last cursor in a file, for the next start. A busy feed would write it for every event, so it is written a second
 * after the first that is not in it yet, and at the end. It is replaced as a whole: whoever reads it finds the old one or
 * the new one.
 */
export interface CursorFile {
  /** Returns at once. */
  save(cursor: string): void;
  /**
   * Resolves once the last one that was saved is in the file.
   * @throws Error of the file system, also for what could not be written since `save`
   */
  flush(): Promise<void>;
}

const latestMs = 1_000;

/** @returns null where there is no such file, or an empty one */
export async function readCursor(path: string): Promise<string | null> {
  try {
    return (await readFile(path, 'utf8')).trim() || null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new StartupError(`The file ${path} cannot be read: ${(error as Error).message}`);
  }
}

/** @param onFailure called once when a write in the background fails: it will fail again */
export function keepCursor(path: string, onFailure: (error: Error) => void): CursorFile {
  let wanted: string | null = null;
  let timer: NodeJS.Timeout | null = null;
  let writing: Promise<void> = Promise.resolve();

  function write(): Promise<void> {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    const cursor = wanted;
    wanted = null;
    if (cursor !== null) writing = writing.then(() => replace(path, cursor));
    return writing;
  }

  return {
    save(cursor) {
      wanted = cursor;
      timer ??= setTimeout(() => write().catch(onFailure), latestMs);
    },
    flush: write,
  };
}

async function replace(path: string, cursor: string): Promise<void> {
  // One of this process's own: another that keeps the same file is a mistake, but not one to fall over.
  const draft = `${path}.${process.pid}.new`;
  try {
    const file = await open(draft, 'w', 0o600);
    try {
      await file.writeFile(`${cursor}\n`);
      // Otherwise a crash of the machine could leave the new name with nothing behind it.
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (error) {
    throw new StartupError(`The cursor cannot be kept in ${path}: ${(error as Error).message}`, { cause: error });
  }
}
