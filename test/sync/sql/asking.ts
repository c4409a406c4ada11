import type pg from 'pg';
import type { TestDatabase } from '../../support/database.ts';
import { rows, value } from '../../support/sql.ts';
import { as } from '../transaction.ts';

/** A change as `sync.push_changes` takes it. */
export interface Sent {
  change_id: string;
  table_name?: string;
  record_id?: string;
  op?: string;
  data?: unknown;
  field_meta?: unknown;
  space_id?: string | null;
  schema_version?: unknown;
  actor?: unknown;
  origin?: unknown;
  created_at?: unknown;
}

export interface Receipt {
  change_id: string;
  position: number;
  duplicate: boolean;
}

/** Where a reader of the log is: see `sync.read_changes`. */
export interface Place {
  prev: string | null;
  next: string | null;
  after: string | null;
}

export const beginning: Place = { prev: null, next: null, after: null };

export interface Told {
  position: string;
  user_id: string;
  space_id: string | null;
  table_name: string;
  record_id: string;
  op: string;
  client_id: string;
  change_id: string;
  schema_version: number;
  data: Record<string, unknown> | null;
  field_meta: Record<string, string>;
}

export interface Row {
  place: string;
  record_id: string;
  schema_version: number;
  data: Record<string, unknown>;
  field_meta: Record<string, string>;
  written_position: string | null;
  deleted_position: string | null;
}

type Client = pg.Pool | pg.Client | pg.PoolClient;

export const appId = 'notes';

/** An insert of a record with one field, unless it says otherwise. */
export function change(changeId: string, more: Partial<Sent> = {}): Sent {
  const record = { table_name: 'note', record_id: `of ${changeId}`, op: 'insert', data: { text: changeId } };
  return { change_id: changeId, ...record, ...more };
}

export const numbered = (prefix: string, count: number, more: Partial<Sent> = {}): Sent[] =>
  Array.from({ length: count }, (_, n) => change(`${prefix}${n}`, more));

/** @returns their ids */
export async function makeUsers({ owner }: Pick<TestDatabase, 'owner'>, count: number): Promise<string[]> {
  const users = await rows<{ id: string }>(
    owner,
    `insert into auth.principals (kind, handle, scopes)
     select 'user', gen_random_uuid()::text, '{sync}' from generate_series(1, $1) returning id`,
    [count],
  );
  return users.map(({ id }) => id);
}

export async function makeSpace(
  { owner }: Pick<TestDatabase, 'owner'>,
  id: string,
  members: readonly (readonly [user: string, role: 'owner' | 'editor' | 'viewer'])[],
): Promise<void> {
  await owner.query('insert into auth.spaces (id, name) values ($1, $1)', [id]);
  await owner.query(
    'insert into auth.space_members (space_id, principal_id, role) select $1, * from unnest($2::uuid[], $3::text[])',
    [id, members.map(([user]) => user), members.map(([, role]) => role)],
  );
}

export interface PushOptions {
  app?: string;
  clientId?: string;
  schemaVersion?: number | null;
}

/** In a transaction that has begun. */
export async function push(
  client: Client,
  changes: unknown,
  { app = appId, clientId = 'phone', schemaVersion = null }: PushOptions = {},
): Promise<Receipt[]> {
  return value<Receipt[]>(client, 'select receipts from sync.push_changes($1, $2, $3, $4)', [
    app,
    clientId,
    schemaVersion,
    JSON.stringify(changes),
  ]);
}

export const pushAs = (pool: pg.Pool, user: string, changes: unknown, options?: PushOptions): Promise<Receipt[]> =>
  as(pool, user, (client) => push(client, changes, options));

export interface ReadOptions {
  app?: string;
  tables?: string[] | null;
  excludeClientId?: string | null;
  limit?: number;
}

export interface Page {
  changes: Told[];
  complete: boolean;
  /** Where to go on. */
  place: Place;
}

export async function readPage(client: Client, place: Place, options: ReadOptions = {}): Promise<Page> {
  const { app = appId, tables = null, excludeClientId = null, limit = 500 } = options;
  const [page] = await rows<{ next: string; changes: Told[]; complete: boolean }>(
    client,
    'select next::text, changes, complete from sync.read_changes($1, $2, $3, $4, $5, $6, $7)',
    [app, tables, excludeClientId, place.prev, place.next, place.after, limit],
  );
  if (page === undefined) throw new Error('expected a page');
  const { next, changes, complete } = page;
  const after = changes.at(-1)?.position ?? place.after;
  return {
    changes,
    complete,
    place: complete ? { prev: next, next: null, after: null } : { prev: place.prev, next, after },
  };
}

/** To the end of a window. */
export async function readAll(client: Client, from: Place = beginning, options: ReadOptions = {}): Promise<Page> {
  const changes: Told[] = [];
  for (let place = from; ; ) {
    const page = await readPage(client, place, options);
    changes.push(...page.changes);
    if (page.complete) return { ...page, changes };
    place = page.place;
  }
}

export async function listRecords(client: Client, table = 'note', limit = 500, app = appId): Promise<Row[]> {
  const records: Row[] = [];
  for (let after: Row | undefined; ; ) {
    const [page] = await rows<{ records: Row[]; complete: boolean }>(
      client,
      'select records, complete from sync.list_records($1, $2, $3, $4, $5)',
      [app, table, after?.place ?? null, after?.record_id ?? null, limit],
    );
    records.push(...(page?.records ?? []));
    if (page === undefined || page.complete) return records;
    after = page.records.at(-1);
  }
}

export const idsOf = (changes: readonly { change_id: string }[]): string[] => changes.map((one) => one.change_id);

/** Until a connection waits for another's lock: the server tells nobody, so it is asked again and again. */
export async function untilBlocked({ owner }: Pick<TestDatabase, 'owner'>, pid: number): Promise<void> {
  while (!(await value<boolean>(owner, 'select cardinality(pg_blocking_pids($1)) > 0', [pid])));
}
