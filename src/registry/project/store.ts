import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { DB } from '../../db/database.generated.ts';
import { columns, jsonObject, jsonRows } from '../../db/json-rows.ts';
import { type Order, type Page, pageCondition, pageTail } from '../../db/keyset.ts';
import { type ProjectFilter, type ProjectReference, type ProjectRow, projectColumns, toProjectKey } from './model.ts';

export const projectOrder: Order = {
  tag: 'project.name',
  descending: false,
  keys: [
    { column: 'name', type: 'text' },
    { column: 'id', type: 'uuid' },
  ],
};

/** A project's key in a query: `registry.find_project(…)`, which is null when there is none. */
export function projectKey(reference: ProjectReference): RawBuilder<string | null> {
  return sql`registry.find_project(${JSON.stringify(toProjectKey(reference))}::jsonb)`;
}

export async function findProject(db: Kysely<DB>, reference: ProjectReference): Promise<ProjectRow | null> {
  const [project] = await jsonRows<ProjectRow>(
    db,
    sql`select ${columns('p', projectColumns)} from registry.projects p where p.id = ${projectKey(reference)}`,
  );
  return project ?? null;
}

export function listProjectsById(db: Kysely<DB>, ids: readonly string[]): Promise<ProjectRow[]> {
  return jsonRows(
    db,
    sql`select ${columns('p', projectColumns)} from registry.projects p where p.id = any(${ids}::uuid[])`,
  );
}

export function listProjects(db: Kysely<DB>, filter: ProjectFilter, page: Page): Promise<ProjectRow[]> {
  return jsonRows(
    db,
    sql`select ${columns('p', projectColumns)} from registry.projects p
      where ${projectConditions(filter)} and ${pageCondition('p', projectOrder, page)}
      ${pageTail('p', projectOrder, page)}`,
  );
}

export function listUnclassified(db: Kysely<DB>, page: Page): Promise<ProjectRow[]> {
  return jsonRows(
    db,
    sql`select ${columns('p', projectColumns)} from registry.projects p
      where p.unclassified and p.active and ${pageCondition('p', projectOrder, page)}
      ${pageTail('p', projectOrder, page)}`,
  );
}

function projectConditions(filter: ProjectFilter): RawBuilder<unknown> {
  const conditions: RawBuilder<unknown>[] = [sql`true`];
  if (filter.active === true) conditions.push(sql`p.active`);
  if (filter.active === false) conditions.push(sql`not p.active`);
  if (filter.status != null) conditions.push(sql`p.status = any(${filter.status}::text[])`);
  if (filter.managedBy != null) conditions.push(sql`p.managed_by @> array[${filter.managedBy}::text]`);
  if (filter.kind != null) conditions.push(sql`p.kinds @> array[${filter.kind}::text]`);
  if (filter.metadata != null) conditions.push(sql`p.metadata @> ${JSON.stringify(filter.metadata)}::jsonb`);
  return sql.join(conditions, sql` and `);
}

export interface ProjectMatchRow {
  project: ProjectRow;
  relevance: number;
}

export function searchProjects(db: Kysely<DB>, query: string, limit: number): Promise<ProjectMatchRow[]> {
  return jsonRows(
    db,
    sql`select ${jsonObject(sql`select ${columns('p', projectColumns)}`)} as project, m.relevance
      from registry.search_projects(${query}, ${limit}) with ordinality as m (id, slug, name, relevance, place)
      join registry.projects p on p.id = m.id order by m.place`,
  );
}

export function listParents(db: Kysely<DB>, ids: readonly string[]): Promise<(ProjectRow & { child_id: string })[]> {
  return jsonRows(
    db,
    sql`select e.project_id as child_id, ${columns('p', projectColumns)}
      from registry.project_parents e join registry.projects p on p.id = e.parent_id
      where e.project_id = any(${ids}::uuid[]) order by p.name, p.id`,
  );
}

/** One page of children for each of several parents, in one statement whose work is bounded by the pages. */
export function listChildren(
  db: Kysely<DB>,
  parentIds: readonly string[],
  page: Page,
): Promise<(ProjectRow & { parent_id: string })[]> {
  return jsonRows(
    db,
    sql`select parent.id as parent_id, child.*
      from unnest(${parentIds}::uuid[]) as parent (id)
      cross join lateral (
        select ${columns('p', projectColumns)}
        from registry.project_parents e join registry.projects p on p.id = e.project_id
        where e.parent_id = parent.id and ${pageCondition('p', projectOrder, page)}
        ${pageTail('p', projectOrder, page)}
      ) as child`,
  );
}

export interface LinkRow {
  project_id: string;
  ref_type: string;
  ref_id: string;
  rel: string;
  created_at: string;
}

export function listLinks(db: Kysely<DB>, projectIds: readonly string[]): Promise<LinkRow[]> {
  return jsonRows(
    db,
    sql`select project_id, ref_type, ref_id, rel, created_at from registry.project_links
      where project_id = any(${projectIds}::uuid[]) order by project_id, ref_type, ref_id, rel`,
  );
}

export interface MemberRow {
  project_id: string;
  principal_id: string;
  role: 'owner' | 'editor' | 'viewer';
}

/** A FROM item: membership is protected by row-level security, so it is read as the viewer. */
export function membersOf(projectIds: readonly string[]): RawBuilder<unknown> {
  return sql`(select project_id, principal_id, role from auth.project_members
    where project_id = any(${projectIds}::uuid[]) order by project_id, created_at, principal_id) as member`;
}

export async function listWorkingPaths(
  db: Kysely<DB>,
  projectIds: readonly string[],
  worktree: string | null,
  host: string,
): Promise<Map<string, string | null>> {
  const { rows } = await sql<{ id: string; path: string | null }>`
    select id, registry.get_project_working_path(id, ${worktree}, ${host}) as path
    from unnest(${projectIds}::uuid[]) as project (id)`.execute(db);
  return new Map(rows.map((row) => [row.id, row.path]));
}
