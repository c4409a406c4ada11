import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { type Contender, startGateway } from './contender.ts';
import { asLocal, type Databases, quickSize } from './databases.ts';
import { bareTables, fillBareTables, pushChanges } from './peers/sync-statements.ts';
import { openRuntimePool } from './sql-load.ts';

/** A change as sync.push_changes takes it. */
export interface Change {
  change_id: string;
  table_name: string;
  record_id: string;
  op: 'insert' | 'update';
  data: Record<string, unknown>;
  field_meta: Record<string, string>;
}

/** Changes that are pushed together. */
export interface Batch {
  clientId: string;
  changes: Change[];
}

export const appId = 'notes';
/** The most that a push takes, and what clients pull. */
export const mostAtOnce = 500;
const clients = 4;
const words =
  'the paint for fence two tins of green one and ask whether brushes last year can still be used before rain comes or wait until may'.split(
    ' ',
  );

/** What the gateway's principal has in the log. */
interface LogSize {
  records: number;
  /** Those beyond the records are updates of them, each in its turn. */
  changes: number;
  /** Between its batches lie as many of other users', by turns. */
  others: number;
}

/** Who asks, and whom. */
export interface SyncBench {
  gateway: Contender;
  pool: pg.Pool;
  /** The principal of the gateway. */
  principalId: string;
}

/** The plain tables hold the same. */
export async function openSync(
  databases: Databases,
  name: string,
  { size, opened }: { size: LogSize; opened: AsyncDisposableStack },
): Promise<SyncBench> {
  const urls = await databases.open(name, quickSize);
  const gateway = await startGateway(urls);
  opened.defer(() => gateway.stop());
  const startedAt = performance.now();
  const principalId = await asLocal(urls, async (client, id) => {
    await client.query(bareTables);
    await fillLog(client, { principalId: id, otherIds: await makePrincipals(client, size.others) }, size);
    await client.query(fillBareTables);
    await client.query('vacuum (analyze) sync.sync_changes, sync.records, bench.changes, bench.records');
    return id;
  });
  const seconds = Math.round((performance.now() - startedAt) / 1_000);
  console.log(
    `Log: ${size.changes} changes of ${size.records} records${size.others > 0 ? ', and as many of others' : ''}, made in ${seconds} s`,
  );
  return { gateway, pool: openRuntimePool(urls, opened), principalId };
}

async function makePrincipals(client: pg.Client, count: number): Promise<string[]> {
  const { rows } = await client.query<{ id: string }>(
    `insert into auth.principals (kind, handle, scopes)
     select 'user', 'user-' || n, '{sync}' from generate_series(1, $1::int) n returning id`,
    [count],
  );
  return rows.map(({ id }) => id);
}

interface Users {
  principalId: string;
  otherIds: readonly string[];
}

async function fillLog(
  client: pg.Client,
  { principalId, otherIds }: Users,
  { records, changes }: LogSize,
): Promise<void> {
  const news = endless(mostAtOnce, (number) => makeChange(recordId(number), 'insert'));
  const updates = endlessUpdates(mostAtOnce, records);
  for (let filled = 0; filled < changes; filled += mostAtOnce) {
    const batch = filled < records ? news() : updates();
    await pushBatch(client, principalId, batch);
    const otherId = otherIds[(filled / mostAtOnce) % otherIds.length];
    if (otherId !== undefined) await pushBatch(client, otherId, batch);
  }
}

export async function pushBatch(
  client: pg.Client | pg.Pool,
  principalId: string,
  { clientId, changes }: Batch,
): Promise<void> {
  await client.query({ ...pushChanges, values: [principalId, appId, clientId, JSON.stringify(changes)] });
}

/** A new record of five fields is about 600 bytes of JSON, an update of two of them 330. */
function makeChange(record: string, op: Change['op']): Change {
  const data = {
    text: someText(),
    done: op === 'update',
    ...(op === 'insert' ? { title: someText(), list: 'garden', weight: 1_000 } : {}),
  };
  const at = new Date().toISOString();
  return {
    change_id: randomUUID(),
    table_name: 'note',
    record_id: record,
    op,
    data,
    field_meta: Object.fromEntries(Object.keys(data).map((field) => [field, at])),
  };
}

/** Of words by chance: what is the same in every change would be packed into nothing. */
function someText(): string {
  return Array.from({ length: 20 }, () => words[Math.floor(Math.random() * words.length)]).join(' ');
}

/** Batches of several clients by turns, none of them ever the same, of records that nobody has. */
export function endlessNew(perBatch: number): () => Batch {
  return endless(perBatch, () => makeChange(randomUUID(), 'insert'));
}

/** Updates of that many records, each in its turn: batches on the way at once have none in common. */
export function endlessUpdates(perBatch: number, records: number): () => Batch {
  return endless(perBatch, (number) => makeChange(recordId(number % records), 'update'));
}

const recordId = (number: number) => `record-${number}`;

function endless(perBatch: number, make: (number: number) => Change): () => Batch {
  let batches = 0;
  return () => {
    const start = batches * perBatch;
    batches += 1;
    const changes = Array.from({ length: perBatch }, (_, index) => make(start + index));
    return { clientId: `client-${batches % clients}`, changes };
  };
}
