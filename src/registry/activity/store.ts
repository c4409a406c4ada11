import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { DB } from '../../db/database.generated.ts';
import { columns, jsonArray, jsonRows } from '../../db/json-rows.ts';
import { type Order, type Page, pageCondition, pageTail } from '../../db/keyset.ts';
import { toProjectKey } from '../project/model.ts';
import { toWorktreeKey } from '../worktree/model.ts';
import { type ActivityFilter, type ActivityRow, activityColumns } from './model.ts';

export const activityOrder: Order = {
  tag: 'activity.created',
  descending: true,
  keys: [
    { column: 'created_at', type: 'timestamptz' },
    { column: 'id', type: 'uuid' },
  ],
};

/** The newest activities of worktree `w`, as a column of a query over worktrees. */
export function newestActivitiesColumn(names: readonly string[], count: number): RawBuilder<unknown> {
  return jsonArray(sql`select ${columns('a', names)} from registry.agent_activities a
    where a.worktree_id = w.id order by a.created_at desc, a.id desc limit ${sql.lit(count)}`);
}

export function listActivities(db: Kysely<DB>, filter: ActivityFilter, page: Page): Promise<ActivityRow[]> {
  if (filter.project != null && filter.worktree == null) {
    const project = JSON.stringify(toProjectKey(filter.project));
    return jsonRows(
      db,
      sql`select a.* from (${ofProjects(sql`(select registry.find_project(${project}::jsonb) as id)`, filter, page)}) as a
        ${pageTail('a', activityOrder, page)}`,
    );
  }
  return jsonRows(
    db,
    sql`select ${columns('a', activityColumns)} from registry.agent_activities a
      where ${activityConditions(filter)} and ${pageCondition('a', activityOrder, page)}
      ${pageTail('a', activityOrder, page)}`,
  );
}

/** One page for each of several worktrees, in one statement. */
export function listActivitiesOfWorktrees(
  db: Kysely<DB>,
  worktreeIds: readonly string[],
  filter: ActivityFilter,
  page: Page,
): Promise<ActivityRow[]> {
  return jsonRows(
    db,
    sql`select a.* from unnest(${worktreeIds}::uuid[]) as w (id) cross join lateral (${ofWorktree(filter, page)}) as a`,
  );
}

/** One page for each of several projects, in one statement. */
export function listActivitiesOfProjects(
  db: Kysely<DB>,
  projectIds: readonly string[],
  filter: ActivityFilter,
  page: Page,
): Promise<(ActivityRow & { project_id: string })[]> {
  return jsonRows(
    db,
    sql`select a.* from unnest(${projectIds}::uuid[]) as wanted (id)
      cross join lateral (
        select wanted.id as project_id, a.* from (${ofProjects(sql`(select wanted.id)`, filter, page)}) as a
        ${pageTail('a', activityOrder, page)}
      ) as a`,
  );
}

/**
 * Activities know their worktree, not their project. A page from each of the project's worktrees holds the project's
 * page for sure, and each of them is read off an index.
 */
function ofProjects(project: RawBuilder<unknown>, filter: ActivityFilter, page: Page): RawBuilder<unknown> {
  return sql`select a.* from ${project} as project
    join registry.worktrees w on w.project_id = project.id
    cross join lateral (${ofWorktree(filter, page)}) as a`;
}

function ofWorktree(filter: ActivityFilter, page: Page): RawBuilder<unknown> {
  return sql`select ${columns('a', activityColumns)} from registry.agent_activities a
    where a.worktree_id = w.id and ${activityConditions({ ...filter, project: null })}
      and ${pageCondition('a', activityOrder, page)}
    ${pageTail('a', activityOrder, page)}`;
}

function activityConditions(filter: ActivityFilter): RawBuilder<unknown> {
  const conditions: RawBuilder<unknown>[] = [sql`true`];
  if (filter.agentId != null) conditions.push(sql`a.agent_id = ${filter.agentId}`);
  if (filter.type != null) conditions.push(sql`a.activity_type = any(${filter.type}::text[])`);
  if (filter.worktree != null) {
    const worktree = JSON.stringify(toWorktreeKey(filter.worktree));
    conditions.push(sql`a.worktree_id = (select registry.find_worktree(${worktree}::jsonb))`);
  }
  if (filter.project != null) {
    const project = JSON.stringify(toProjectKey(filter.project));
    conditions.push(sql`exists (select from registry.worktrees o
      where o.id = a.worktree_id and o.project_id = registry.find_project(${project}::jsonb))`);
  }
  if (filter.since != null) conditions.push(sql`a.created_at >= ${filter.since}::timestamptz`);
  if (filter.until != null) conditions.push(sql`a.created_at < ${filter.until}::timestamptz`);
  if (filter.metadata != null) conditions.push(sql`a.metadata @> ${JSON.stringify(filter.metadata)}::jsonb`);
  return sql.join(conditions, sql` and `);
}

export function listActivitiesById(
  db: Kysely<DB>,
  ids: readonly string[],
  filter: ActivityFilter = {},
): Promise<ActivityRow[]> {
  return jsonRows(
    db,
    sql`select ${columns('a', activityColumns)} from registry.agent_activities a
      where a.id = any(${ids}::uuid[]) and ${activityConditions(filter)}`,
  );
}

export function listLastActivityTimes(
  db: Kysely<DB>,
  worktreeIds: readonly string[],
): Promise<{ worktree_id: string; at: string }[]> {
  return jsonRows(
    db,
    sql`select w.id as worktree_id, last.created_at as at from unnest(${worktreeIds}::uuid[]) as w (id)
      cross join lateral (
        select a.created_at from registry.agent_activities a where a.worktree_id = w.id
        order by a.created_at desc, a.id desc limit 1
      ) as last`,
  );
}
