import type { Json } from './merge.ts';

/**
 * Where a client keeps what must survive a restart: entries of JSON under keys. One client at a time uses it, for one user
 * on one device. What a commit resolves for is kept whatever happens afterwards, and of a commit that did not resolve all
 * is there or nothing.
 */
export interface SyncStorage {
  /** All entries. Called once, before anything is committed. */
  load(): Promise<Map<string, Json>>;
  /** One after the other: the next is not called before the last has ended. */
  commit(commit: Commit): Promise<void>;
  close?(): Promise<void>;
}

export interface Commit {
  put: readonly (readonly [key: string, value: Json])[];
  remove: readonly string[];
}

/** Survives the client, not the process. */
export function memoryStorage(): SyncStorage {
  const entries = new Map<string, Json>();
  return {
    load: async () => new Map(entries),
    commit: async (commit) => applyCommit(entries, commit),
  };
}

/** What is both removed and put is put. */
export function applyCommit(entries: Map<string, Json>, { put, remove }: Commit): void {
  for (const key of remove) entries.delete(key);
  for (const [key, value] of put) entries.set(key, value);
}
