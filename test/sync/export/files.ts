import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import type pg from 'pg';
import { expect } from 'vitest';
import type { TestDatabase } from '../../support/database.ts';
import type { TestGateway } from '../../support/gateway.ts';
import { makePerson, type Person } from '../../support/people.ts';
import { rows, value } from '../../support/sql.ts';
import { as } from '../transaction.ts';

type Reached = Pick<TestGateway, 'url'>;

/** Somebody whose changes these are. */
export function makeAuthor(gateway: Pick<TestGateway, 'ask'>, handle: string): Promise<Person> {
  return makePerson(gateway, handle, ['REGISTRY_READ', 'SYNC']);
}

const mostAtOnce = 50_000;

/**
 * Changes of two apps, four to a record; put in through the table, as the triggers let them.
 * @param hashes how many random texts of 32 bytes each carries, which do not compress well
 */
export async function fill(
  { owner }: TestDatabase,
  author: Pick<Person, 'uuid'>,
  count: number,
  hashes = 3,
): Promise<void> {
  for (let from = 1; from <= count; from += mostAtOnce) {
    const client = await owner.connect();
    try {
      await client.query('begin');
      await client.query(`select set_config('app.current_user_id', $1, true)`, [author.uuid]);
      await client.query(
        `insert into sync.sync_changes (app_id, table_name, record_id, op, data, field_meta, client_id, change_id, origin, created_at)
         select 'app-' || n % 2, 'notes', 'record-' || n / 8, 'update',
           jsonb_build_object('title', 'Größe ' || n, 'text', hash.text, 'n', n),
           jsonb_build_object('title', t.at, 'text', t.at, 'n', t.at), 'client', 'change-' || n, 'user', '2026-01-01'
         from generate_series($1::int, $2::int) n
         cross join lateral (select to_char(timestamp '2026-01-01' + n * interval '1 second', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at) t
         cross join lateral (select string_agg(md5(n || ' ' || k), '') as text from generate_series(1, $3::int) k) hash`,
        [from, Math.min(count, from + mostAtOnce - 1), hashes],
      );
      await client.query('commit');
    } finally {
      client.release();
    }
  }
}

export interface Answered {
  status: number;
  headers: IncomingMessage['headers'];
  body: Buffer;
}

/** A request that the test sends and reads piece by piece. */
export function open(
  { url }: Reached,
  { token }: Pick<Person, 'token'>,
  { method = 'GET', path = '/export/sync', headers = {} }: { method?: string; path?: string; headers?: object } = {},
): { request: ClientRequest; response: Promise<IncomingMessage> } {
  const { hostname, port } = new URL(url);
  const request = httpRequest({
    hostname,
    port,
    method,
    path,
    agent: false,
    headers: { authorization: `Bearer ${token}`, ...headers },
  });
  const response = new Promise<IncomingMessage>((resolve, reject) => {
    request.on('response', resolve);
    request.on('error', reject);
  });
  response.catch(() => {});
  if (method === 'GET') request.end();
  return { request, response };
}

export async function readWhole(response: IncomingMessage): Promise<Answered> {
  return { status: response.statusCode ?? 0, headers: response.headers, body: await buffer(response) };
}

/** The whole export, as a file. */
export async function exportOf(gateway: Reached, author: Pick<Person, 'token'>, query = ''): Promise<Buffer> {
  const { status, body } = await readWhole(await open(gateway, author, { path: `/export/sync${query}` }).response);
  expect(status, body.subarray(0, 500).toString()).toBe(200);
  return body;
}

export interface ImportAnswer {
  status: number;
  headers: IncomingMessage['headers'];
  body: {
    changes?: number;
    stored?: number;
    known?: number;
    apps?: { appId: string; changes: number; schemaVersions: number[] }[];
    errors?: { message: string; extensions: { code: string; line?: number; field?: string; limit?: number } }[];
  };
}

export async function importFile(
  gateway: Reached,
  author: Pick<Person, 'token'>,
  file: Buffer | string,
  headers: object = {},
): Promise<ImportAnswer> {
  const { request, response } = openImport(gateway, author, headers);
  request.end(file);
  return readAnswer(await response);
}

export function openImport(gateway: Reached, author: Pick<Person, 'token'>, headers: object = {}) {
  return open(gateway, author, {
    method: 'POST',
    path: '/import/sync',
    headers: { 'content-type': 'application/x-ndjson', ...headers },
  });
}

export async function readAnswer(response: IncomingMessage): Promise<ImportAnswer> {
  const { status, headers, body } = await readWhole(response);
  return { status, headers, body: body.length === 0 ? {} : (JSON.parse(body.toString()) as ImportAnswer['body']) };
}

/** The lines of a file, the manifest parsed. */
export function read(file: Buffer) {
  const lines = file.toString().trimEnd().split('\n');
  const manifest = JSON.parse(lines.pop() ?? '') as {
    changes: number;
    apps: { app_id: string; changes: number; schema_versions: number[] }[];
    sha256: string;
  };
  return { changes: lines.map((line) => JSON.parse(line) as Record<string, unknown>), lines, manifest };
}

/** What is in a file that came packed; null: it is no whole gzip. */
export function unpack(file: Buffer): Buffer | null {
  try {
    return gunzipSync(file);
  } catch {
    return null;
  }
}

export interface RecordRow {
  app_id: string;
  record_id: string;
  data: unknown;
}

/** The records as somebody may see them, but for the positions: those are of the log that they are in. */
export function recordsOf(database: TestDatabase, author: Pick<Person, 'uuid'>): Promise<RecordRow[]> {
  return asAuthor(database, author, (client) =>
    rows<RecordRow>(
      client,
      `select r.space_id, r.app_id, r.table_name, r.record_id, r.schema_version, r.data, r.field_meta, r.written_at::text,
         r.deleted_at::text
       from sync.enter() cross join sync.records r order by r.space_id, r.app_id, r.table_name, r.record_id`,
    ),
  );
}

/** How many changes of somebody's own are stored. */
export async function countOf(database: TestDatabase, author: Pick<Person, 'uuid'>): Promise<number> {
  return asAuthor(database, author, (client) =>
    value<number>(client, 'select count(*)::int from sync.sync_changes where user_id = $1', [author.uuid]),
  );
}

export interface NewChange {
  change_id: string;
  record_id: string;
  op?: string;
  table_name?: string;
  data?: object | null;
  field_meta?: object;
  space_id?: string;
  actor?: unknown;
  origin?: string;
  schema_version?: number;
}

/** As a client does. */
export async function push(
  database: TestDatabase,
  author: Pick<Person, 'uuid'>,
  app: string,
  changes: readonly NewChange[],
): Promise<void> {
  await asAuthor(database, author, (client) => pushOn(client, app, changes));
}

/** In a transaction that is open already. */
export async function pushOn(client: pg.ClientBase, app: string, changes: readonly NewChange[]): Promise<void> {
  const all = changes.map((change) => ({ op: 'update', table_name: 'notes', ...change }));
  await client.query(`select from sync.push_changes($1, 'client', null, $2)`, [app, JSON.stringify(all)]);
}

/** In a transaction of its own, as somebody, with the rights of request work and the scopes of an administrator. */
export function asAuthor<Result>(
  { runtime }: TestDatabase,
  { uuid }: Pick<Person, 'uuid'>,
  act: (client: pg.PoolClient) => Promise<Result>,
): Promise<Result> {
  return as(runtime, uuid, act, 'admin');
}
