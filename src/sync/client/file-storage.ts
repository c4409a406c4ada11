import { randomUUID } from 'node:crypto';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import type { Json } from './merge.ts';
import { applyCommit, type Commit, type SyncStorage } from './storage.ts';

/** The file cannot be used as it is; the message says what to do. */
export class StorageError extends Error {
  override readonly name = 'StorageError';
}

/** So many entries make one line of a new file: a line is held in memory as a whole. */
const entriesPerLine = 1_000;
const newline = 0x0a;

/**
 * A journal: each commit is a line, `<crc32> <JSON>`, appended and flushed to the disk before it counts. A line that a crash
 * cut short is at the end, and is left out by the next start.
 *
 * To open it is to write it anew, with one entry for each key, and to put the new file in the old one's place. Thereby
 * whoever opens it last has it: a commit looks before and after its write whether the file is still the one it has open, so
 * one that has lost it fails instead of writing where nobody will read. Nothing is left to clean up after a crash, as a lock
 * would be.
 */
export function fileStorage(path: string): SyncStorage {
  let journal: FileHandle | null = null;

  async function close(): Promise<void> {
    const closing = journal;
    journal = null;
    await closing?.close();
  }

  return {
    async load() {
      await close();
      const opened = await takeOver(path);
      journal = opened.journal;
      return opened.entries;
    },
    async commit(commit) {
      if (journal === null)
        throw new StorageError(`The file ${path} is not open, or a write to it failed: open it anew.`);
      await requireOurs(path, journal);
      try {
        await append(journal, [commit]);
      } catch (error) {
        // Whether it is on the disk cannot be known any more, and what is written after half a line would be lost.
        await close().catch(() => undefined);
        throw error;
      }
      await requireOurs(path, journal);
    },
    close,
  };
}

async function requireOurs(path: string, journal: FileHandle): Promise<void> {
  const [ours, there] = await Promise.all([journal.stat(), stat(path).catch(() => null)]);
  if (there === null || ours.ino !== there.ino || ours.dev !== there.dev) {
    throw new StorageError(
      `Another client has opened ${path} since, or it was removed: only who opens it last may write.`,
    );
  }
}

async function takeOver(path: string): Promise<{ journal: FileHandle; entries: Map<string, Json> }> {
  const entries = new Map<string, Json>();
  const old = await openIfThere(path);
  const draft = `${path}.${randomUUID()}.new`;
  const journal = await open(draft, 'wx', 0o600);
  try {
    const read = await readCommits(path, old, 0);
    for (const commit of read.commits) applyCommit(entries, commit);
    await append(journal, compacted(entries));
    // Two that open it at once: the slower one has read what is not there any more.
    if (old !== null) await requireOurs(path, old);
    await rename(draft, path);
    // Whoever had it until now may have written meanwhile. Later it knows that it has lost it.
    const late = await readCommits(path, old, read.end);
    for (const commit of late.commits) applyCommit(entries, commit);
    await append(journal, late.commits);
    await syncFolder(dirname(path));
    return { journal, entries };
  } catch (error) {
    await journal.close();
    await rm(draft, { force: true });
    throw error;
  } finally {
    await old?.close();
  }
}

async function openIfThere(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function* compacted(entries: Map<string, Json>): Generator<Commit> {
  const all = [...entries];
  for (let from = 0; from < all.length; from += entriesPerLine) {
    yield { put: all.slice(from, from + entriesPerLine), remove: [] };
  }
}

async function append(journal: FileHandle, commits: Iterable<Commit>): Promise<void> {
  for (const { put, remove } of commits) {
    const json = JSON.stringify([put, remove]);
    // At the end: nothing else moves its position.
    await journal.writeFile(`${checksum(json)} ${json}\n`);
  }
  await journal.datasync();
}

/** Reads what is there from a place on, and where the last whole line ends. */
async function readCommits(
  path: string,
  file: FileHandle | null,
  from: number,
): Promise<{ commits: Commit[]; end: number }> {
  const bytes = file === null ? Buffer.alloc(0) : await readFrom(file, from);
  const commits: Commit[] = [];
  let start = 0;
  for (let end = bytes.indexOf(newline); end !== -1; end = bytes.indexOf(newline, start)) {
    const commit = parseLine(bytes.subarray(start, end));
    if (commit === null && end + 1 < bytes.length) {
      throw new StorageError(
        `The file ${path} is damaged at byte ${from + start}: put a copy in its place, or remove it and begin anew.`,
      );
    }
    if (commit === null) break;
    commits.push(commit);
    start = end + 1;
  }
  return { commits, end: from + start };
}

async function readFrom(file: FileHandle, from: number): Promise<Buffer> {
  const bytes = Buffer.alloc(Math.max(0, (await file.stat()).size - from));
  let length = 0;
  while (length < bytes.length) {
    const { bytesRead } = await file.read(bytes, length, bytes.length - length, from + length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return bytes.subarray(0, length);
}

/** @returns null for a line that was not written as a whole */
function parseLine(line: Buffer): Commit | null {
  const json = line.subarray(9);
  if (line.toString('latin1', 0, 8) !== checksum(json)) return null;
  const [put, remove] = JSON.parse(json.toString()) as [Commit['put'], Commit['remove']];
  return { put, remove };
}

function checksum(json: string | Buffer): string {
  return crc32(json).toString(16).padStart(8, '0');
}

/** Otherwise a crash of the machine could bring the old file back. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
