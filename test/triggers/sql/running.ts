import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { rows, value } from '../../support/sql.ts';
import { untilBlocked } from '../../sync/sql/asking.ts';
import { connect, database, owner, type Person } from './setting.ts';

type Client = pg.Pool | pg.Client | pg.PoolClient;

/** A row that a worker got: see `triggers.claim`. */
export interface Claimed {
  id: string;
  execution_id: string;
  message_id: string;
  source_kind: string;
  payload: Record<string, unknown>;
  depth: number;
  attempt: number;
  late_ms: number;
  script_id: string;
  kind: string | null;
  document: string | null;
  url: string | null;
  secret: string | null;
  headers: Record<string, string> | null;
  timeout_ms: number | null;
  script_deleted: boolean;
  principal_id: string;
  handle: string;
  scopes: string[];
  space_ids: string[];
  disabled: boolean;
}

export interface ClaimOptions {
  worker?: string;
  leaseMs?: number;
  operations?: number;
  webhooks?: number;
  /** Of people and of scripts that wait. */
  replies?: number;
  /** How many more of a registrant, by its id. */
  lefts?: Readonly<Record<string, number>>;
}

export function claim(client: Client = owner, options: ClaimOptions = {}): Promise<Claimed[]> {
  const { worker = 'worker', leaseMs = 60_000, operations = 100, webhooks = 100, replies = 100, lefts = {} } = options;
  return rows<Claimed>(
    client,
    `select * from triggers.claim($1, $2, array[
      row('operation', $3, $3, $6::jsonb)::triggers.room, row('webhook', $4, $4, $6::jsonb)::triggers.room,
      row('reply', $5, $5, $6::jsonb)::triggers.room, row('nested', $5, $5, $6::jsonb)::triggers.room
    ], 16000000)`,
    [worker, leaseMs, operations, webhooks, replies, lefts],
  );
}

/** The only row that is due. */
export async function claimOne(options: ClaimOptions = {}): Promise<Claimed> {
  const [row, ...more] = await claim(owner, options);
  if (row === undefined || more.length > 0) throw new Error(`expected one row, got ${more.length + (row ? 1 : 0)}`);
  return row;
}

/** How an attempt ended; a success unless it says otherwise. */
export interface Ending {
  status?: 'succeeded' | 'failed' | 'timed_out';
  result?: unknown;
  error?: string | null;
  permanent?: boolean;
  retry_after_ms?: number | null;
}

export interface Finished {
  finished: number;
  put_off: number;
  buried: number;
}

export const failed: Ending = { status: 'failed', error: 'It broke.' };

export async function finish(
  claimed: readonly Pick<Claimed, 'id' | 'execution_id'>[],
  ending: Ending = {},
  { client = owner, worker = 'worker' }: { client?: Client; worker?: string } = {},
): Promise<Finished> {
  const results = claimed.map(({ id, execution_id }) => ({
    id,
    execution_id,
    status: 'succeeded',
    result: null,
    error: null,
    permanent: false,
    retry_after_ms: null,
    ...ending,
  }));
  const [counts] = await rows<Finished>(client, 'select * from triggers.finish($1, $2)', [
    worker,
    JSON.stringify(results),
  ]);
  if (counts === undefined) throw new Error('expected counts');
  return counts;
}

/** Columns of a row of the outbox; of what is left out, the least that it needs. */
export interface OutboxColumns {
  project_id?: string | null;
  source_kind?: string;
  trigger_id?: string;
  lane?: 'operation' | 'webhook' | 'reply';
  reply_to?: string;
  dead_letter_id?: string;
  payload?: unknown;
  depth?: number;
  /** Before now. */
  overdue_ms?: number;
  retry_max_attempts?: number;
  retry_backoff?: string;
  retry_base_ms?: number;
}

/** Puts a row into the outbox as what is set off by itself does; @returns its id */
export function enqueue(who: Person, scriptId: string, columns: OutboxColumns = {}): Promise<string> {
  return value<string>(
    owner,
    `insert into triggers.outbox (project_id, source_kind, trigger_id, script_id, principal_id, scopes, payload, dead_letter_id,
       reply_to, lane, retry_max_attempts, retry_backoff, retry_base_ms, due_at, depth)
     select c.project_id, coalesce(c.source_kind, 'kv'), coalesce(c.trigger_id, gen_random_uuid()), $1, $2, $3, coalesce(c.payload, '{}'),
       c.dead_letter_id, c.reply_to, coalesce(c.lane, 'operation'), coalesce(c.retry_max_attempts, 3),
       coalesce(c.retry_backoff, 'constant'), coalesce(c.retry_base_ms, 1000),
       clock_timestamp() - make_interval(secs => coalesce(c.overdue_ms, 0) / 1000.0), coalesce(c.depth, 0)
     from jsonb_to_record($4) as c (project_id uuid, source_kind text, trigger_id uuid, payload jsonb, dead_letter_id uuid, reply_to uuid,
       lane text, retry_max_attempts int, retry_backoff text, retry_base_ms int, overdue_ms double precision, depth int)
     returning id`,
    [scriptId, who.id, who.scopes, columns],
  );
}

export type LetterColumns = Pick<OutboxColumns, 'project_id' | 'source_kind' | 'trigger_id' | 'payload' | 'depth'>;

/** Leaves a dead letter, as what fails for good does; @returns its id */
export async function bury(who: Person, scriptId: string, columns: LetterColumns = {}): Promise<string> {
  const messageId = randomUUID();
  await owner.query(
    `select triggers.bury(array[row($1, c.project_id, coalesce(c.source_kind, 'kv'), coalesce(c.trigger_id, gen_random_uuid()), $2, $3, $4,
       coalesce(c.payload, '{}'), 1, null, 'It broke.', 3, 'constant', 1000, coalesce(c.depth, 0))::triggers.burial])
     from jsonb_to_record($5) as c (project_id uuid, source_kind text, trigger_id uuid, payload jsonb, depth int)`,
    [messageId, scriptId, who.id, who.scopes, columns],
  );
  return value<string>(owner, 'select id from triggers.dead_letters where message_id = $1', [messageId]);
}

/** Begins something on each connection while a dead letter is locked, and lets it go once all of them wait: for it, or for another. */
export async function meetAt<T>(
  letterId: string,
  clients: readonly pg.Client[],
  begin: (client: pg.Client, n: number) => Promise<T>,
): Promise<T[]> {
  const holder = await connect();
  const pids = await Promise.all(clients.map((client) => value<number>(client, 'select pg_backend_pid()')));
  await holder.query('begin');
  await holder.query('select from triggers.dead_letters where id = $1 for update', [letterId]);
  const ended = Promise.all(clients.map(begin));
  await Promise.race([ended, Promise.all(pids.map((pid) => untilBlocked(database, pid)))]);
  await holder.query('commit');
  return ended;
}

/** What waits is due now. */
export const makeDue = () =>
  owner.query('update triggers.outbox set due_at = clock_timestamp() where claimed_by is null');

/** The leases of all that is claimed are over. */
export const endLeases = () =>
  owner.query(`update triggers.outbox set claim_expires_at = clock_timestamp() where claimed_by is not null`);

export interface ExecutionRow {
  status: string;
  worker: string;
  attempt: number;
  result: unknown;
  error: string | null;
  finished: boolean;
}

/** The attempts at a row of the outbox, the first one first. */
export function executionsOf(outboxId: string): Promise<ExecutionRow[]> {
  return rows<ExecutionRow>(
    owner,
    `select status, worker, attempt, result, error, finished_at is not null as finished
     from triggers.executions where outbox_id = $1 order by started_at`,
    [outboxId],
  );
}

export interface OutboxRow {
  claimed_by: string | null;
  attempt: number;
  failures: number;
  first_error: string | null;
  due_in_ms: number;
  expires_in_ms: number | null;
}

/** A row of the outbox as it is now; undefined: it left. */
export async function outboxRow(id: string): Promise<OutboxRow | undefined> {
  const [row] = await rows<OutboxRow>(
    owner,
    `select claimed_by, attempt, failures, first_error, (extract(epoch from due_at - clock_timestamp()) * 1000)::float8 as due_in_ms,
       (extract(epoch from claim_expires_at - clock_timestamp()) * 1000)::float8 as expires_in_ms
     from triggers.outbox where id = $1`,
    [id],
  );
  return row;
}
