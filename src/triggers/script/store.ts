import { sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import { columns } from '../../db/json-rows.ts';
import { type Order, type Page, pageCondition, pageTail } from '../../db/keyset.ts';
import type { ProjectReference } from '../../registry/project/model.ts';
import { callTriggersOnce, columnsArgument, ofProject, readTriggers } from '../call.ts';
import { type ScriptRow, scriptColumns } from './model.ts';

/** The newest first. */
export const scriptOrder: Order = {
  tag: 'script.created',
  descending: true,
  keys: [
    { column: 'created_at', type: 'timestamptz' },
    { column: 'id', type: 'uuid' },
  ],
};

/** Deleted ones too, while something tells of them. */
export function listScriptsById(context: RequestContext, ids: readonly string[]): Promise<ScriptRow[]> {
  return readTriggers(
    context,
    sql`select ${columns('s', scriptColumns)} from triggers.scripts s where s.id = any(${ids}::uuid[])`,
  );
}

/** Without those that were deleted. */
export function listScripts(
  context: RequestContext,
  project: ProjectReference | null | undefined,
  page: Page,
): Promise<ScriptRow[]> {
  return readTriggers(
    context,
    sql`select ${columns('s', scriptColumns)} from triggers.scripts s
      where s.deleted_at is null and ${ofProject(sql`s.project_id`, project)} and ${pageCondition('s', scriptOrder, page)}
      ${pageTail('s', scriptOrder, page)}`,
  );
}

/**
 * @param id null: a new one
 * @returns its id
 */
export async function saveScript(
  context: RequestContext,
  id: string | null,
  script: { columns: Readonly<Record<string, unknown>>; project: ProjectReference | null | undefined },
): Promise<string> {
  const argument = columnsArgument(script.columns, script.project);
  const saved = await callTriggersOnce<{ id: string }>(
    context,
    sql`triggers.save_script(${id}::uuid, ${argument}) as id`,
  );
  return saved.id;
}

export async function deleteScript(context: RequestContext, id: string): Promise<void> {
  await callTriggersOnce(context, sql`triggers.delete_script(${id}::uuid) as id`);
}
