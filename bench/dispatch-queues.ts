import type pg from 'pg';
import PgBoss from 'pg-boss';
import { asLocal, type Databases, type DatabaseUrls } from './databases.ts';
import { type JobWorker, startJobWorker } from './processes/job-worker.ts';

/** A queue of jobs that do nothing, in a database of its own, with its worker running. */
export interface JobQueue {
  name: string;
  ownerUrl: string;
  worker: JobWorker;
  /** Within a transaction of the caller's. */
  enqueue(client: pg.Client, payloads: readonly object[]): Promise<void>;
  /** SQL: whether any job is left. */
  anyLeft: string;
  /** SQL: how many were done well so far; null where that is not kept, and what failed is left. */
  doneWell: string | null;
  /** What is vacuumed between rounds. */
  tables: string;
}

/** Nobody's fleet: what each database is made with costs nothing. */
const size = { projects: 1, worktrees: 1, activities: 1 };

export async function openTreeline(databases: Databases, opened: AsyncDisposableStack): Promise<JobQueue> {
  const urls = await databases.open('dispatch', size);
  const worker = await startJobWorker('dispatcher-program.ts', urls);
  opened.defer(() => worker.stop());
  const triggerId = await registerTrigger(urls, { document: '{ __typename }', collection: 'claims' });
  return {
    name: 'Treeline',
    ownerUrl: urls.ownerUrl,
    worker,
    // As if so many events had just been matched.
    enqueue: async (client, payloads) => {
      await client.query(
        `insert into triggers.outbox (source_kind, trigger_id, script_id, principal_id, scopes, payload, lane,
           retry_max_attempts, retry_backoff, retry_base_ms)
         select t.kind, t.id, t.script_id, t.registered_by_principal, t.scopes, payload, 'operation',
           t.retry_max_attempts, t.retry_backoff, t.retry_base_ms
         from triggers.triggers t, jsonb_array_elements($2::jsonb) payload where t.id = $1`,
        [triggerId, JSON.stringify(payloads)],
      );
      await client.query(`select pg_notify('treeline_outbox', '')`);
    },
    anyLeft: 'exists (select from triggers.outbox)',
    doneWell: `(select count(*) from triggers.executions where status = 'succeeded')`,
    tables: 'triggers.outbox, triggers.executions, feed.events',
  };
}

/** @returns the id of a trigger that runs the document when something of the collection changes */
export function registerTrigger(
  urls: DatabaseUrls,
  { document, variables = null, collection }: { document: string; variables?: object | null; collection: string },
): Promise<string> {
  return asLocal(urls, async (client) => {
    const script = { name: 'measured', kind: 'operation', document, variables, timeout_ms: 10_000 };
    const saved = await client.query<{ id: string }>('select triggers.save_script(null, $1) as id', [script]);
    const { rows } = await client.query<{ id: string }>('select triggers.create_trigger($1, $2) as id', [
      { script_id: saved.rows[0]?.id },
      { kind: 'kv', collection_glob: collection, ops: [] },
    ]);
    return rows[0]?.id ?? '';
  });
}

export interface GraphileWorkerOptions {
  name: string;
  database: string;
  settings: object;
}

export async function openGraphileWorker(
  databases: Databases,
  { name, database, settings }: GraphileWorkerOptions,
  opened: AsyncDisposableStack,
): Promise<JobQueue> {
  const urls = await databases.open(database, size);
  const worker = await startJobWorker('../peers/graphile-worker.ts', urls, settings);
  opened.defer(() => worker.stop());
  return {
    name,
    ownerUrl: urls.ownerUrl,
    worker,
    enqueue: async (client, payloads) => {
      await client.query(
        `select count(*) from graphile_worker.add_jobs(array(
           select json_populate_record(null::graphile_worker.job_spec, json_build_object('identifier', 'nothing', 'payload', payload))
           from json_array_elements($1::json) payload))`,
        [JSON.stringify(payloads)],
      );
    },
    anyLeft: 'exists (select from graphile_worker._private_jobs)',
    doneWell: null,
    tables: 'graphile_worker._private_jobs',
  };
}

export async function openPgBoss(databases: Databases, opened: AsyncDisposableStack): Promise<JobQueue> {
  const urls = await databases.open('dispatch_pg_boss', size);
  const queue = 'nothing';
  const worker = await startJobWorker('../peers/pg-boss.ts', urls, { queue, workers: 2, batchSize: 500 });
  opened.defer(() => worker.stop());
  return {
    name: 'pg-boss, batches of 500',
    ownerUrl: urls.ownerUrl,
    worker,
    enqueue: async (client, payloads) => {
      const db = { executeSql: (text: string, values: unknown[]) => client.query(text, values) };
      const boss = new PgBoss({ db, migrate: false, supervise: false, schedule: false });
      await boss.start();
      await boss.insert(
        queue,
        payloads.map((data) => ({ name: queue, data })),
      );
      await boss.stop({ graceful: false });
    },
    // The first has an index, and the second is asked for at the end only: jobs that are done stay in the same table.
    anyLeft: `(exists (select from pgboss.job where name = '${queue}' and state < 'active')
      or exists (select from pgboss.job where state = 'active'))`,
    doneWell: `(select count(*) from pgboss.job where state = 'completed')`,
    tables: 'pgboss.job_common',
  };
}
