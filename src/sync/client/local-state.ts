import { randomUUID } from 'node:crypto';
import pLimit from 'p-limit';
import { effectOf, keyNamed, nameOf, type PendingChange, type RecordKey } from './change.ts';
import { type Clock, createClock } from './clock.ts';
import { type Json, merge, type RecordState, stateOf, unwritten } from './merge.ts';
import { createOutbox, type Outbox } from './outbox.ts';
import type { Commit, SyncStorage } from './storage.ts';

/**
 * What a client has: the base, which is what the gateway has told, and on top of it the outbox. All of it is in memory;
 * whatever changes is in the storage before it is seen here, and what belongs together is one commit.
 */
export interface LocalState {
  readonly clientId: string;
  /** The schema version of what is written here. */
  readonly schemaVersion: number;
  readonly tables: readonly string[];
  readonly base: ReadonlyMap<string, RecordState>;
  readonly outbox: Omit<Outbox, 'put' | 'remove'>;
  readonly clock: Clock;
  /** How far the gateway was read; null: the base is to be read anew. */
  readonly progress: Progress | null;
  /** Another number once the base is replaced or to be: what was told before that is not applied any more. */
  readonly generation: number;
  /** One after the other, in the order in which they are asked for. */
  commit(edit: Edit): Promise<void>;
  /** Resolves once what was to be committed until now is, or has failed. */
  settled(): Promise<void>;
  /** @returns what ends it */
  onChange(listener: ChangeListener): () => void;
}

export interface Progress {
  /** Null: from the beginning. */
  cursor: string | null;
  /** Of which schema version of the app the base is; null while nothing has told it. */
  schemaVersion: number | null;
}

/** What changes at once. Null: it goes. */
export interface Edit {
  records?: ReadonlyMap<string, RecordState | null>;
  changes?: ReadonlyMap<number, PendingChange | null>;
  progress?: Progress | null;
}

export type ChangeListener = (changed: readonly RecordKey[]) => void;

export interface LocalOptions {
  appId: string;
  tables: readonly string[];
  schemaVersion: number;
  storage: SyncStorage;
  clientId: string | undefined;
  now: () => number;
}

interface Identity {
  appId: string;
  clientId: string;
  lastTime: string | null;
}

type StoredProgress = Progress & { tables: string[] };

const keys = { identity: 'client', progress: 'progress', record: 'record ', change: 'change ' } as const;
/** After all positions of the gateway: what waits is newer than what is there. */
const firstPendingPosition = 2n ** 63n;

/** @throws Error for a storage of another app, or of another client than is asked for */
export async function openLocalState(options: LocalOptions): Promise<LocalState> {
  const { storage, schemaVersion } = options;
  const tables = [...new Set(options.tables)].sort();
  const entries = await storage.load();
  const { clientId, lastTime } = identityIn(entries, options);
  const clock = createClock(options.now, lastTime);
  const base = new Map(entriesUnder<RecordState>(entries, keys.record));
  const outbox = createOutbox(
    entriesUnder<PendingChange>(entries, keys.change).map(([number, change]) => [Number(number), change]),
  );
  const listeners = new Set<ChangeListener>();
  const inTurn = pLimit(1);
  let progress = progressIn(entries, tables, schemaVersion);
  let generation = 0;

  function toCommit({ records, changes, progress: next }: Edit): Commit {
    const entries: [string, unknown][] = [
      [keys.identity, { appId: options.appId, clientId, lastTime: clock.last } satisfies Identity],
      ...[...(records ?? [])].map(([name, state]): [string, unknown] => [keys.record + name, state]),
      ...[...(changes ?? [])].map(([number, change]): [string, unknown] => [keys.change + number, change]),
    ];
    if (next !== undefined) entries.push([keys.progress, next && ({ ...next, tables } satisfies StoredProgress)]);
    return {
      put: entries.filter((entry): entry is [string, Json] => entry[1] !== null),
      remove: entries.filter(([, value]) => value === null).map(([key]) => key),
    };
  }

  function settle({ records = new Map(), changes = new Map(), progress: next }: Edit): void {
    const touched = new Set<string>(records.keys());
    for (const [name, state] of records) {
      if (state === null) base.delete(name);
      else base.set(name, state);
    }
    for (const [number, change] of changes) {
      touched.add(nameOf(change ?? outbox.get(number)));
      if (change === null) outbox.remove(number);
      else outbox.put(number, change);
    }
    if (next !== undefined) progress = next;
    if (next === null) generation += 1;
    const changed = [...touched].map(keyNamed);
    if (changed.length > 0) for (const listener of listeners) listener(changed);
  }

  return {
    clientId,
    schemaVersion,
    tables,
    base,
    outbox,
    clock,
    get progress() {
      return progress;
    },
    get generation() {
      return generation;
    },
    commit: (edit) =>
      inTurn(async () => {
        await storage.commit(toCommit(edit));
        settle(edit);
      }),
    settled: () => inTurn(async () => undefined),
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/** A record with the outbox on top, as it is seen here. */
export function viewOf({ base, outbox }: Pick<LocalState, 'base' | 'outbox'>, name: string): RecordState {
  return outbox
    .of(name)
    .map(([number, change]) => stateOf(effectOf(change, String(firstPendingPosition + BigInt(number)))))
    .reduce(merge, base.get(name) ?? unwritten);
}

function identityIn(entries: ReadonlyMap<string, Json>, { appId, clientId }: LocalOptions): Identity {
  const stored = entries.get(keys.identity) as Identity | undefined;
  if (stored === undefined) return { appId, clientId: clientId ?? randomUUID(), lastTime: null };
  if (stored.appId !== appId || (clientId !== undefined && stored.clientId !== clientId)) {
    throw new Error(
      `The storage is of the client ${stored.clientId} of the app ${stored.appId}: give each client a storage of its own.`,
    );
  }
  return stored;
}

function progressIn(
  entries: ReadonlyMap<string, Json>,
  tables: readonly string[],
  schemaVersion: number,
): Progress | null {
  const stored = (entries.get(keys.progress) as StoredProgress | undefined) ?? null;
  // Of other tables, or of rows of an older version of the app, it says nothing.
  if (stored === null || JSON.stringify(stored.tables) !== JSON.stringify(tables)) return null;
  if (stored.schemaVersion !== null && stored.schemaVersion < schemaVersion) return null;
  return { cursor: stored.cursor, schemaVersion: stored.schemaVersion };
}

function entriesUnder<Value>(entries: ReadonlyMap<string, Json>, prefix: string): [string, Value][] {
  return [...entries]
    .filter(([key]) => key.startsWith(prefix))
    .map(([key, value]) => [key.slice(prefix.length), value as Value]);
}
