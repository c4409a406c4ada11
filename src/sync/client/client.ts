import pLimit from 'p-limit';
import { keyNamed, nameOf, type PendingChange, type RecordKey, type Write } from './change.ts';
import { type FollowOptions, followChanges } from './live.ts';
import { type ChangeListener, openLocalState, viewOf } from './local-state.ts';
import { type Data, dataOf } from './merge.ts';
import { pullAll } from './pull.ts';
import { type PushOutcome, pushOutbox } from './push.ts';
import { createRemote, type RetryOptions, usualRetry } from './remote.ts';
import { settleRefused, writeChange } from './replica.ts';
import type { SyncStorage } from './storage.ts';

/**
 * A client of the gateway's change log that works offline: writes are kept here and shown at once, pushed when there is a
 * connection, and merged by field with what others wrote. For one user on one device.
 *
 * `Tables` names the fields of each table: `createSyncClient<{ note: { text: string } }>(…)`.
 */
export interface SyncClient<Tables extends object = Record<string, Data>> {
  /** The device's name in the log. */
  readonly clientId: string;
  /**
   * Puts a change into the outbox, and shows it from then on.
   * @returns the change's id, once the change survives a restart
   */
  write<Table extends keyof Tables & string>(write: Write & TypedWrite<Tables, Table>): Promise<string>;
  /** A record as it is seen here, or null where it is not there. By field, so that any may be missing. */
  get<Table extends keyof Tables & string>(
    table: Table,
    recordId: string,
    spaceId?: string | null,
  ): Partial<Tables[Table]> | null;
  /** All records of a table, the user's own and those of its spaces, in no order. */
  list<Table extends keyof Tables & string>(table: Table): ListedRecord<Tables[Table]>[];
  /** What the gateway has not stored yet, in its order; with a `refusal` what it does not take. */
  pending(): PendingChange[];
  /** Takes a refused change away. What it hid is shown again after the next pull at the latest. */
  drop(changeId: string): Promise<void>;
  /**
   * Puts another change in a refused one's place, written now: with other data, or with the same once the reason is gone.
   * @returns its id
   */
  revise(changeId: string, revision?: Partial<Pick<Write, 'op' | 'data' | 'spaceId'>>): Promise<string>;
  /**
   * Sends what waits. What is refused does not hold up the rest, and stays.
   * @throws GatewayError when the gateway cannot be reached or is not for this user; all that waits still does
   */
  push(): Promise<PushOutcome>;
  /**
   * Gets what others wrote, to the end. The first time it gets the records, and again when it cannot go on from where it was.
   * @throws GatewayError as push; what came until then is kept
   */
  pull(): Promise<void>;
  /**
   * Pulls, then takes what others write as it comes, until its signal is aborted. What breaks off is gone on with.
   * @throws GatewayError for what trying again does not mend
   */
  follow(options: FollowOptions): Promise<void>;
  /**
   * Is told which records look different, whoever wrote them.
   * @returns what ends it
   */
  onChange(listener: ChangeListener): () => void;
  /** Ends what is under way, and closes the storage. */
  close(): Promise<void>;
}

export interface TypedWrite<Tables extends object, Table extends keyof Tables & string> {
  table: Table;
  data?: (Partial<Tables[Table]> & Data) | null;
}

export interface ListedRecord<Fields> extends RecordKey {
  data: Partial<Fields>;
}

export interface SyncClientOptions {
  /** Of the gateway, e.g. `http://localhost:4000`. */
  url: string;
  /** Of a user, with the scope `sync`. */
  token: string | null;
  appId: string;
  tables: readonly string[];
  /** One for each user and device. */
  storage: SyncStorage;
  /** For a storage that has none yet: 1 to 200 bytes, another one for each device and installation; random when left out. */
  clientId?: string;
  /** Of what is written here; 1 when left out. */
  schemaVersion?: number;
  /** Milliseconds since 1970; `Date.now` when left out. */
  now?: () => number;
  /** How many changes or records are asked for at once: 1 to 1,000, 500 when left out. */
  pageSize?: number;
  retry?: Partial<RetryOptions>;
}

/**
 * Opens the storage and shows what is in it; nothing is asked of the gateway yet.
 *
 *     const notes = await createSyncClient<{ note: { text: string } }>({
 *       url, token, appId: 'notes', tables: ['note'], storage: fileStorage('notes.journal'),
 *     });
 *     await notes.write({ op: 'insert', table: 'note', recordId: randomUUID(), data: { text: 'milk' } });
 *     await notes.push();
 *     await notes.follow({ signal });
 */
export async function createSyncClient<Tables extends object = Record<string, Data>>(
  options: SyncClientOptions,
): Promise<SyncClient<Tables>> {
  const { url, token, appId, storage, pageSize = 500 } = options;
  const local = await openLocalState({
    appId,
    tables: options.tables,
    storage,
    clientId: options.clientId,
    schemaVersion: options.schemaVersion ?? 1,
    now: options.now ?? Date.now,
  });
  const closing = new AbortController();
  const remote = createRemote({ url, token }, { ...usualRetry, ...options.retry }, closing.signal);
  const source = { remote, appId, pageSize };
  // A base that is read anew must not miss what a push moves into it meanwhile.
  const inTurn = pLimit(1);
  const pull = () => inTurn(() => pullAll(local, source));

  return {
    clientId: local.clientId,
    write: (write) => writeChange(local, write),
    get: (table, recordId, spaceId = null) => dataOf(viewOf(local, nameOf({ table, recordId, spaceId }))) as never,
    list(table) {
      const names = new Set([...local.base.keys(), ...local.outbox.recordNames()]);
      return [...names].flatMap((name) => {
        const key = keyNamed(name);
        const data = key.table === table ? dataOf(viewOf(local, name)) : null;
        return data === null ? [] : [{ ...key, data: data as never }];
      });
    },
    pending: () => local.outbox.all().map(([, change]) => change),
    drop: (changeId) => inTurn(async () => void (await settleRefused(local, changeId, null))),
    revise: (changeId, revision = {}) =>
      inTurn(() =>
        settleRefused(local, changeId, (refused) => ({ ...asWrite(refused), ...revision })),
      ) as Promise<string>,
    push: () => inTurn(() => pushOutbox(local, remote, appId)),
    pull,
    follow: (following) =>
      followChanges(
        { ...source, local, pull, inTurn },
        { ...following, signal: AbortSignal.any([following.signal, closing.signal]) },
      ),
    onChange: (listener) => local.onChange(listener),
    async close() {
      closing.abort(new Error('The client was closed.'));
      // What has just begun to be kept is kept.
      await inTurn(async () => undefined);
      await local.settled();
      await storage.close?.();
    },
  };
}

function asWrite({ table, recordId, spaceId, op, data, actor, origin }: PendingChange): Write {
  return { table, recordId, spaceId, op, data, actor, ...(origin === null ? {} : { origin }) };
}
