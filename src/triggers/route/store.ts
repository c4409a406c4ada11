import { sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import { columns } from '../../db/json-rows.ts';
import { type Order, type Page, pageCondition, pageTail } from '../../db/keyset.ts';
import type { ProjectReference } from '../../registry/project/model.ts';
import { callTriggersOnce, columnsArgument, ofProject, readTriggers } from '../call.ts';
import { type RouteRow, routeColumns } from './model.ts';

/** The newest first. */
export const routeOrder: Order = {
  tag: 'route.created',
  descending: true,
  keys: [
    { column: 'created_at', type: 'timestamptz' },
    { column: 'id', type: 'uuid' },
  ],
};

export function listRoutesById(context: RequestContext, ids: readonly string[]): Promise<RouteRow[]> {
  return readTriggers(
    context,
    sql`select ${columns('r', routeColumns)} from triggers.routes r where r.id = any(${ids}::uuid[])`,
  );
}

/** @param filter.scriptId of the script that they run */
export function listRoutes(
  context: RequestContext,
  filter: { project: ProjectReference | null | undefined; scriptId: string | null },
  page: Page,
): Promise<RouteRow[]> {
  const { project, scriptId } = filter;
  return readTriggers(
    context,
    sql`select ${columns('r', routeColumns)} from triggers.routes r
      where ${ofProject(sql`r.project_id`, project)} and ${scriptId === null ? sql`true` : sql`r.script_id = ${scriptId}::uuid`}
        and ${pageCondition('r', routeOrder, page)}
      ${pageTail('r', routeOrder, page)}`,
  );
}

/**
 * @param id null: a new one
 * @returns its id
 */
export async function saveRoute(
  context: RequestContext,
  id: string | null,
  route: { columns: Readonly<Record<string, unknown>>; project: ProjectReference | null | undefined },
): Promise<string> {
  const argument = columnsArgument(route.columns, route.project);
  const saved = await callTriggersOnce<{ id: string }>(
    context,
    sql`triggers.save_route(${id}::uuid, ${argument}) as id`,
  );
  return saved.id;
}

export async function deleteRoute(context: RequestContext, id: string): Promise<void> {
  await callTriggersOnce(context, sql`triggers.delete_route(${id}::uuid) as id`);
}
