import type { Pool } from 'pg';
import type { Viewer } from '../../auth/context.ts';
import type { Outcome } from '../execution/model.ts';

/**
 * What dispatchers ask of the database, as the role that owns the schema: nothing of it is open to requests. Each statement
 * is prepared once for each connection.
 */

/** A connection that hangs is given up, and another one taken: what it was asked is asked again. */
const patienceMs = 30_000;

/** Asks what dispatchers ask again and again. */
async function ask<Row extends object>(
  pool: Pool,
  query: { name: string; text: string; values?: unknown[] },
): Promise<Row[]> {
  const config = { ...query, query_timeout: patienceMs };
  return (await pool.query<Row>(config)).rows;
}

/** A row of the outbox that a worker claimed, with the script to run and as whom. */
export interface ClaimedRow {
  id: string;
  execution_id: string;
  message_id: string;
  source_kind: string;
  lane: Lane;
  payload: Readonly<Record<string, unknown>>;
  payload_bytes: number;
  depth: number;
  attempt: number;
  /** How long it was due before it was claimed, in milliseconds. */
  late_ms: number;
  script_id: string;
  kind: 'operation' | 'webhook' | null;
  document: string | null;
  variables: unknown;
  url: string | null;
  secret: string | null;
  headers: Readonly<Record<string, string>>;
  timeout_ms: number;
  script_deleted: boolean;
  principal_id: string;
  principal_kind: Viewer['kind'];
  handle: string;
  scopes: string[];
  space_ids: string[];
  disabled: boolean;
}

export type Lane = 'operation' | 'webhook' | 'reply' | 'nested';

/** How much a worker can take of a lane. */
export interface Room {
  lane: Lane;
  most: number;
  /** Of one registrant. */
  mostEach: number;
  /** Of registrants of whom it has some already, by their ids: how many more. */
  lefts: Readonly<Record<string, number>>;
}

export async function claimRows(
  pool: Pool,
  claim: { worker: string; leaseMs: number; rooms: readonly Room[]; mostBytes: number },
): Promise<ClaimedRow[]> {
  return ask<ClaimedRow>(pool, {
    name: 'triggers.claim',
    text: `select id, execution_id, message_id, source_kind, lane, payload, payload_bytes, depth, attempt, late_ms, script_id, kind, document,
      variables, url, secret, headers, timeout_ms, script_deleted, principal_id, principal_kind, handle, scopes, space_ids, disabled
      from triggers.claim($1, $2, ${roomsFrom('$3')}, $4)`,
    values: [claim.worker, claim.leaseMs, asJson(claim.rooms), claim.mostBytes],
  });
}

const asJson = (rooms: readonly Room[]) =>
  JSON.stringify(rooms.map(({ lane, most, mostEach, lefts }) => ({ lane, most, most_each: mostEach, lefts })));
const roomsFrom = (parameter: string) => `array(
  select row(r.lane, r.most, r.most_each, r.lefts)::triggers.room
  from jsonb_to_recordset(${parameter}::jsonb) as r (lane text, most int, most_each int, lefts jsonb)
)`;

/** How an attempt of a claimed row ended. */
export interface Ending {
  id: string;
  executionId: string;
  outcome: Outcome;
}

export interface FinishCounts {
  finished: number;
  put_off: number;
  buried: number;
}

export async function finishRows(pool: Pool, worker: string, endings: readonly Ending[]): Promise<FinishCounts> {
  const results = endings.map(({ id, executionId, outcome }) => ({
    id,
    execution_id: executionId,
    status: outcome.status,
    result: outcome.status === 'timed_out' ? null : (outcome.result ?? null),
    error: outcome.status === 'succeeded' ? null : outcome.error,
    permanent: outcome.status === 'failed' && outcome.permanent,
    retry_after_ms: outcome.status === 'failed' ? outcome.retryAfterMs : null,
  }));
  const rows = await ask<FinishCounts>(pool, {
    name: 'triggers.finish',
    text: 'select finished, put_off, buried from triggers.finish($1, $2::jsonb)',
    values: [worker, JSON.stringify(results)],
  });
  return rows[0] ?? { finished: 0, put_off: 0, buried: 0 };
}

export async function giveBackRows(pool: Pool, worker: string, ids: readonly string[]): Promise<void> {
  await pool.query('select triggers.give_back($1, $2::uuid[])', [worker, ids]);
}

/** What a worker could not end before it goes away is lost now, and not when its lease would end. */
export async function letGo(pool: Pool, worker: string, executionIds: readonly string[]): Promise<void> {
  await pool.query('select triggers.let_go($1, $2::uuid[])', [worker, executionIds]);
  await reclaimRows(pool);
}

export async function renewClaims(
  pool: Pool,
  { worker, executionIds, leaseMs }: { worker: string; executionIds: readonly string[]; leaseMs: number },
): Promise<void> {
  await ask(pool, {
    name: 'triggers.renew_claims',
    text: 'select triggers.renew_claims($1, $2::uuid[], $3)',
    values: [worker, executionIds, leaseMs],
  });
}

const mostReclaimed = 1_000;

/** @returns how many rows were taken back from workers that stopped answering */
export async function reclaimRows(pool: Pool): Promise<number> {
  const rows = await ask<{ reclaimed: number }>(pool, {
    name: 'triggers.reclaim',
    text: 'select reclaimed from triggers.reclaim($1)',
    values: [mostReclaimed],
  });
  return rows[0]?.reclaimed ?? 0;
}

/** In how many milliseconds something will be due for which there is room, negative where something is; null: nothing is waiting. */
export async function nextDue(pool: Pool, rooms: readonly Room[]): Promise<number | null> {
  const rows = await ask<{ due_in_ms: number | null }>(pool, {
    name: 'triggers.next_due',
    text: `select triggers.next_due(${roomsFrom('$1')})::float8 as due_in_ms`,
    values: [asJson(rooms)],
  });
  return rows[0]?.due_in_ms ?? null;
}

/** In how many milliseconds the first lease ends; null: nothing is claimed. */
export async function nextExpiry(pool: Pool): Promise<number | null> {
  const rows = await ask<{ expires_in_ms: number | null }>(pool, {
    name: 'triggers.next_expiry',
    text: 'select triggers.next_expiry()::float8 as expires_in_ms',
  });
  return rows[0]?.expires_in_ms ?? null;
}

export async function sweepReplies(pool: Pool): Promise<void> {
  await pool.query('select triggers.sweep_replies()');
}

// ---- matching ------------------------------------------------------------------------------------------------------

export interface MatchedPage {
  outcome: 'busy' | 'idle' | 'gap' | 'more' | 'done';
  event_count: number;
  /** Rows of the outbox that were written; not what is to be tested first. */
  matched_count: number;
  /** Whether something became a dead letter at once. */
  has_buried: boolean;
}

/** @param how.skip passes over the events of the page, because they cannot be matched */
export async function matchPage(
  pool: Pool,
  how: { pageSize: number; maxDepth: number; skip: boolean },
): Promise<MatchedPage> {
  const rows = await ask<MatchedPage>(pool, {
    name: 'triggers.match_page',
    text: 'select outcome, event_count, matched_count, has_buried from triggers.match_page($1, $2, $3)',
    values: [how.pageSize, how.maxDepth, how.skip],
  });
  const [row] = rows;
  if (row === undefined) throw new Error('triggers.match_page answers one row');
  return row;
}

/** Something that goes into the outbox if its trigger's condition is true of it. */
export interface Candidate {
  id: string;
  trigger_id: string;
  condition: string;
  payload: unknown;
}

/**
 * @param from.quick triggers whose candidates are taken in numbers
 * @param from.slow triggers of which at most one candidate is taken, not one each: the first trigger in this order
 * that has one waiting gives it
 */
export async function takeCandidates(
  pool: Pool,
  from: { most: number; quick: readonly string[]; slow: readonly string[]; leaseMs: number },
): Promise<Candidate[]> {
  return ask<Candidate>(pool, {
    name: 'triggers.take_candidates',
    text: 'select id, trigger_id, condition, payload from triggers.take_candidates($1, $2::uuid[], $3::uuid[], $4)',
    values: [from.most, from.quick, from.slow, from.leaseMs],
  });
}

/** What was taken and not tested. */
export async function letGoCandidates(pool: Pool, ids: readonly string[]): Promise<void> {
  await pool.query('select triggers.let_go_candidates($1::bigint[])', [ids]);
}

/** What became of a candidate; with an error it becomes a dead letter. */
export interface Verdict {
  id: string;
  passed: boolean;
  error: string | null;
}

/** @returns how many rows of the outbox were written */
export async function settleCandidates(pool: Pool, verdicts: readonly Verdict[], maxDepth: number): Promise<number> {
  const { rows } = await pool.query<{ written: number }>(
    'select triggers.settle_candidates($1::jsonb, $2) as written',
    [JSON.stringify(verdicts), maxDepth],
  );
  return rows[0]?.written ?? 0;
}

// ---- the clock -----------------------------------------------------------------------------------------------------

export interface DueCron {
  trigger_id: string;
  expression: string;
  timezone: string;
  catch_up: 'skip' | 'once' | 'all';
  /** Null: nobody worked it out yet. With microseconds, and compared as it is. */
  next_due_at: string | null;
  /** By the database's clock. */
  now: string;
}

const mostDueCrons = 200;

/** @returns what is due, and in how many milliseconds the next one is; null: none */
export async function listDueCrons(pool: Pool): Promise<{ due: DueCron[]; nextInMs: number | null }> {
  const { rows } = await pool.query<Partial<DueCron> & { next_in_ms: number | null }>(
    `select trigger_id, expression, timezone, catch_up, next_due_at, now, next_in_ms from triggers.due_crons($1)`,
    [mostDueCrons],
  );
  const due = rows.filter((row): row is DueCron & { next_in_ms: number } => row.trigger_id !== null);
  return { due, nextInMs: rows.find((row) => row.trigger_id === null)?.next_in_ms ?? null };
}

/**
 * Moves it on to its next time and enqueues what was due.
 * @param cron as it was found due
 * @returns false when another dispatcher was first, or somebody changed it meanwhile
 */
export async function fireCron(
  pool: Pool,
  { trigger_id, expression, timezone, next_due_at }: DueCron,
  plan: { nextDueAt: string; events: readonly object[] },
): Promise<boolean> {
  const { rows } = await pool.query<{ fired: boolean }>(
    'select triggers.fire_cron($1, $2, $3, $4::timestamptz, $5::timestamptz, $6::jsonb) as fired',
    [trigger_id, expression, timezone, next_due_at, plan.nextDueAt, JSON.stringify(plan.events)],
  );
  return rows[0]?.fired === true;
}
