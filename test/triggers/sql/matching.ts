import type pg from 'pg';
import { rows } from '../../support/sql.ts';
import { owner } from './setting.ts';

/** A row of the log; of what is left out, the least that it needs. */
export interface LogEntry {
  topic?: string;
  op?: string;
  entity_id?: string;
  project_id?: string | null;
  user_id?: string;
  space_id?: string;
  data?: unknown;
  depth?: number;
}

/** Writes to the log as the watched tables do, in one transaction; @returns the positions */
export async function log(...entries: readonly LogEntry[]): Promise<string[]> {
  const written = await rows<{ position: string }>(
    owner,
    `insert into feed.events (topic, op, entity_id, project_id, user_id, space_id, data, depth)
     select coalesce(e.topic, 'worktrees'), coalesce(e.op, 'update'), coalesce(e.entity_id, 'entity'), e.project_id, e.user_id, e.space_id,
       coalesce(e.data, '{}'), coalesce(e.depth, 0)
     from jsonb_to_recordset($1) as e (topic text, op text, entity_id text, project_id uuid, user_id uuid, space_id text, data jsonb, depth int)
     returning position::text`,
    [JSON.stringify(entries)],
  );
  return written.map(({ position }) => position);
}

/** What `triggers.match_page` answers. */
export interface MatchedPage {
  outcome: 'busy' | 'idle' | 'gap' | 'more' | 'done';
  event_count: number;
  matched_count: number;
  has_buried: boolean;
}

export interface MatchOptions {
  limit?: number;
  maxDepth?: number;
}

export async function matchPage(
  client: pg.Pool | pg.Client | pg.PoolClient,
  { limit = 100, maxDepth = 8 }: MatchOptions = {},
): Promise<MatchedPage> {
  const [page] = await rows<MatchedPage>(client, 'select * from triggers.match_page($1, $2)', [limit, maxDepth]);
  if (page === undefined) throw new Error('expected a page');
  return page;
}

/** Matches, one transaction for each page, until a page is empty: what it buries is in the log, too. @returns the others */
export async function match(options: MatchOptions = {}): Promise<MatchedPage[]> {
  const pages: MatchedPage[] = [];
  for (;;) {
    const page = await matchPage(owner, options);
    if (page.event_count === 0 && page.outcome !== 'more') return pages;
    pages.push(page);
  }
}

/** The positions of the events that a trigger's rows in the outbox are about, in the order of the rows. */
export async function matched(triggerId: string): Promise<string[]> {
  const found = await rows<{ position: string }>(
    owner,
    `select payload ->> 'position' as position from triggers.outbox where trigger_id = $1 order by created_at, (payload ->> 'position')::bigint`,
    [triggerId],
  );
  return found.map(({ position }) => position);
}

/** All that waits of a trigger's, with the payload. */
export function waiting(triggerId: string) {
  return rows<Record<string, unknown> & { id: string; payload: Record<string, unknown> }>(
    owner,
    `select id, project_id, source_kind, script_id, principal_id, scopes, payload, dead_letter_id, lane, attempt, depth,
       retry_max_attempts, retry_backoff, retry_base_ms
     from triggers.outbox where trigger_id = $1 order by created_at, (payload ->> 'position')::bigint`,
    [triggerId],
  );
}

export interface Letter {
  id: string;
  source_kind: string;
  trigger_id: string | null;
  attempts: number;
  first_error: string;
  last_error: string;
  depth: number;
  resolution: string | null;
  resolved: boolean;
}

/** The dead letters of a trigger, the oldest first. */
export function lettersOf(triggerId: string): Promise<Letter[]> {
  return rows<Letter>(
    owner,
    `select id, source_kind, trigger_id, attempts, first_error, last_error, depth, resolution, resolved_at is not null as resolved
     from triggers.dead_letters where trigger_id = $1 order by created_at, id`,
    [triggerId],
  );
}
