import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { DB } from '../../db/database.generated.ts';
import { columns, jsonRows } from '../../db/json-rows.ts';
import { type Order, type Page, pageCondition, pageTail } from '../../db/keyset.ts';
import { toProjectKey } from '../project/model.ts';
import {
  toWorktreeKey,
  type WorktreeFilter,
  type WorktreeOrderName,
  type WorktreeReference,
  type WorktreeRow,
  worktreeColumns,
} from './model.ts';

const byId = { column: 'id', type: 'uuid' };

/** Each order has an index, so that a page costs the same at any size of the registry. */
export const worktreeOrders: Readonly<Record<WorktreeOrderName, Order>> = {
  updatedDesc: {
    tag: 'worktree.updated',
    descending: true,
    keys: [{ column: 'updated_at', type: 'timestamptz' }, byId],
  },
  createdDesc: {
    tag: 'worktree.created',
    descending: true,
    keys: [{ column: 'created_at', type: 'timestamptz' }, byId],
  },
  nameAsc: { tag: 'worktree.name', descending: false, keys: [{ column: 'name', type: 'text' }, byId] },
  behindDesc: { tag: 'worktree.behind', descending: true, keys: [{ column: 'behind_trunk', type: 'int4' }, byId] },
};

/** What to fetch of each worktree `w`: its columns, and relations as further ones; see `brought.ts`. */
export interface WorktreeSelection {
  columns: readonly string[];
  brought: readonly RawBuilder<unknown>[];
}

const everything: WorktreeSelection = { columns: worktreeColumns, brought: [] };

function selectList(selection: WorktreeSelection): RawBuilder<unknown> {
  return sql.join([columns('w', selection.columns), ...selection.brought]);
}

/** A worktree's key in a query: null when there is none. */
export function worktreeKey(reference: WorktreeReference): RawBuilder<string | null> {
  return sql`registry.find_worktree(${JSON.stringify(toWorktreeKey(reference))}::jsonb)`;
}

export async function findWorktree(
  db: Kysely<DB>,
  reference: WorktreeReference,
  selection: WorktreeSelection = everything,
): Promise<WorktreeRow | null> {
  const [worktree] = await jsonRows<WorktreeRow>(
    db,
    sql`select ${selectList(selection)} from registry.worktrees w where w.id = ${worktreeKey(reference)}`,
  );
  return worktree ?? null;
}

export function listWorktreesById(db: Kysely<DB>, ids: readonly string[]): Promise<WorktreeRow[]> {
  return jsonRows(db, sql`select ${selectList(everything)} from registry.worktrees w where w.id = any(${ids}::uuid[])`);
}

export interface WorktreeListing {
  filter: WorktreeFilter;
  order: Order;
  page: Page;
  selection: WorktreeSelection;
}

export function listWorktrees(
  db: Kysely<DB>,
  { filter, order, page, selection }: WorktreeListing,
): Promise<WorktreeRow[]> {
  return jsonRows(
    db,
    sql`select ${selectList(selection)} from registry.worktrees w
      where ${worktreeConditions(filter)} and ${pageCondition('w', order, page)}
      ${pageTail('w', order, page)}`,
  );
}

/** One page for each of several parents, in one statement whose work is bounded by the pages. */
export function listWorktreesOf(
  db: Kysely<DB>,
  parent: { column: 'project_id' | 'host_id'; ids: readonly string[] },
  { filter, order, page, selection }: WorktreeListing,
): Promise<WorktreeRow[]> {
  return jsonRows(
    db,
    sql`select child.* from unnest(${parent.ids}::uuid[]) as parent (id)
      cross join lateral (
        select ${selectList(selection)} from registry.worktrees w
        where ${sql.ref(`w.${parent.column}`)} = parent.id and ${worktreeConditions(filter)}
          and ${pageCondition('w', order, page)}
        ${pageTail('w', order, page)}
      ) as child`,
  );
}

export interface MatchedWorktreeRow extends WorktreeRow {
  matches: boolean;
  /** `updated_at` in microseconds, as the worktree's events give it. */
  version: number;
}

/** Which of these worktrees there are, each with whether it fits a filter. */
export function listMatching(
  db: Kysely<DB>,
  ids: readonly string[],
  filter: WorktreeFilter,
): Promise<MatchedWorktreeRow[]> {
  return jsonRows(
    db,
    sql`select ${selectList(everything)}, coalesce(${worktreeConditions(filter)}, false) as matches,
        (extract(epoch from w.updated_at) * 1000000)::bigint as version
      from registry.worktrees w where w.id = any(${ids}::uuid[])`,
  );
}

/** The keys of all worktrees that fit a filter. */
export async function listMatchingIds(db: Kysely<DB>, filter: WorktreeFilter): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    select w.id from registry.worktrees w where ${worktreeConditions(filter)}`.execute(db);
  return rows.map((row) => row.id);
}

/** Work in flight on a host, or of a type: what another name of it moves in and out of sets that name it. */
export async function listInFlightIdsOf(
  db: Kysely<DB>,
  parent: { column: 'host_id' | 'type_id'; key: string },
): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    select w.id from registry.worktrees w where w.in_flight and ${sql.ref(`w.${parent.column}`)}::text = ${parent.key}`.execute(
    db,
  );
  return rows.map((row) => row.id);
}

/**
 * In how many milliseconds the next worktree that fits a filter but for its staleness grows stale.
 * @returns null when none will
 */
export async function nextStaleInMs(db: Kysely<DB>, filter: WorktreeFilter): Promise<number | null> {
  const window = sql`make_interval(mins => ${filter.staleForMinutes}::int)`;
  const { rows } = await sql<{ ms: number | null }>`
    select (extract(epoch from min(w.last_sync_at) + ${window} - now()) * 1000)::float8 as ms
    from registry.worktrees w
    where ${worktreeConditions({ ...filter, staleForMinutes: null })} and w.last_sync_at >= now() - ${window}`.execute(
    db,
  );
  return rows[0]?.ms ?? null;
}

function worktreeConditions(filter: WorktreeFilter): RawBuilder<unknown> {
  const conditions: RawBuilder<unknown>[] = [sql`true`];
  const add = (value: unknown, condition: () => RawBuilder<unknown>) => {
    if (value !== null && value !== undefined) conditions.push(condition());
  };
  add(filter.active, () => (filter.active ? sql`w.active` : sql`not w.active`));
  add(filter.inFlight, () => (filter.inFlight ? sql`w.in_flight` : sql`not w.in_flight`));
  add(filter.status, () => sql`w.status = any(${filter.status}::text[])`);
  add(filter.agentId, () => sql`w.agent_id = ${filter.agentId}`);
  add(filter.agentState, () => sql`w.agent_state = any(${filter.agentState}::text[])`);
  add(filter.host, () => sql`w.host_id = (select h.id from registry.hosts h where h.name = ${filter.host})`);
  add(filter.type, () => sql`w.type_id = (select t.id from registry.worktree_types t where t.name = ${filter.type})`);
  add(filter.project, () => {
    const key = JSON.stringify(toProjectKey(filter.project ?? {}));
    return sql`w.project_id = (select registry.find_project(${key}::jsonb))`;
  });
  add(filter.claimed, () => {
    const held = sql`exists (select from registry.worktree_claims c
      where c.worktree_id = w.id and c.agent_id is not null and c.expires_at > now())`;
    return filter.claimed ? held : sql`not ${held}`;
  });
  add(
    filter.staleForMinutes,
    () =>
      sql`(w.last_sync_at is null or w.last_sync_at < now() - make_interval(mins => ${filter.staleForMinutes}::int))`,
  );
  add(filter.metadata, () => sql`w.metadata @> ${JSON.stringify(filter.metadata)}::jsonb`);
  return sql.join(conditions, sql` and `);
}

export interface ChangedFileRow {
  worktree_id: string;
  path: string;
  previous_path: string | null;
  change: string;
  additions: number | null;
  deletions: number | null;
}

export const changedFileOrder: Order = {
  tag: 'changedFile.path',
  descending: false,
  keys: [{ column: 'path', type: 'text' }],
};

export function listChangedFiles(
  db: Kysely<DB>,
  worktreeIds: readonly string[],
  page: Page,
): Promise<ChangedFileRow[]> {
  return jsonRows(
    db,
    sql`select file.* from unnest(${worktreeIds}::uuid[]) as worktree (id)
      cross join lateral (
        select f.worktree_id, f.path, f.previous_path, f.change, f.additions, f.deletions
        from registry.worktree_files f
        where f.worktree_id = worktree.id and ${pageCondition('f', changedFileOrder, page)}
        ${pageTail('f', changedFileOrder, page)}
      ) as file`,
  );
}

export interface ProjectStatsRow {
  project_id: string;
  active_worktrees: number;
  in_flight_worktrees: number;
  uncommitted_worktrees: number;
  unmerged_worktrees: number;
  last_worktree_activity_at: string | null;
}

export function listProjectStats(db: Kysely<DB>, projectIds: readonly string[]): Promise<ProjectStatsRow[]> {
  return jsonRows(
    db,
    sql`select s.id as project_id, s.active_worktrees, s.in_flight_worktrees, s.uncommitted_worktrees, s.unmerged_worktrees,
        s.last_worktree_activity_at
      from registry.v_projects_summary s where s.id = any(${projectIds}::uuid[])`,
  );
}
