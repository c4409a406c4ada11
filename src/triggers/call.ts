import { type RawBuilder, sql } from 'kysely';
import { callAsViewer } from '../auth/call.ts';
import type { RequestContext } from '../auth/context.ts';
import { answerHeavy, type Heavy, loadHeavy } from '../graphql/budget.ts';
import { byKey, loader } from '../graphql/loaders.ts';
import { Refusal } from '../kernel/errors.ts';
import { keyOf } from '../kernel/ids.ts';
import { type ProjectReference, toProjectKey } from '../registry/project/model.ts';
import { triggersConstraints } from './constraints.ts';

/** Reads, or calls a function of, the schema `triggers` as the viewer, who alone decides what is there for it. */
export function callTriggers<Row>(context: RequestContext, call: RawBuilder<unknown>): Promise<Row[]> {
  return callAsViewer<Row>(context, call, triggersConstraints).catch((error: unknown) => Promise.reject(placed(error)));
}

/** As `callTriggers`, for what answers exactly one row. */
export async function callTriggersOnce<Row>(context: RequestContext, call: RawBuilder<unknown>): Promise<Row> {
  const [row] = await callTriggers<Row>(context, call);
  if (row === undefined) throw new Error('A function of triggers that answers one row answered none.');
  return row;
}

/**
 * The database says which field of the input it means; within a field, after a full stop. Who finds no project for a
 * reference says nothing.
 */
function placed(error: unknown): unknown {
  if (!(error instanceof Refusal)) return error;
  if (error.path.length > 0) return error.at(error.path.flatMap((step) => step.split('.')));
  const { field = error.code === 'NOT_FOUND' ? 'project' : null } = (error.details ?? {}) as { field?: string | null };
  return field === null ? error : error.at(['input', field]);
}

/** Reads rows as the viewer, all of them as one JSON document. */
export async function readTriggers<Row>(context: RequestContext, query: RawBuilder<unknown>): Promise<Row[]> {
  const { rows } = await callTriggersOnce<{ rows: Row[] }>(
    context,
    sql`(select coalesce(json_agg(row), '[]') as rows from (${query}) as row) as found`,
  );
  return rows;
}

interface HeavyValue extends Heavy {
  id: string;
  value: unknown;
}

/**
 * A column that can be large, of one of many rows, within what one operation may read and answer.
 * @param column `table.column` of the schema `triggers`, whose table has a key `id`
 * @returns null also where there is no such row for the viewer
 * @throws RequestError LIMIT_EXCEEDED
 */
export async function loadHeavyColumn(context: RequestContext, column: HeavyColumn, id: string): Promise<unknown> {
  const found = await loader<HeavyValue | null>(
    context,
    `triggers.${column}`,
    async (ids) =>
      byKey(await loadHeavy(context, (roomBytes) => readColumn(context, { column, ids, roomBytes })), (row) => row.id),
    null,
  ).load(id);
  if (found === null) return null;
  answerHeavy(context, found);
  return found.value;
}

export type HeavyColumn =
  | 'scripts.document'
  | 'scripts.variables'
  | 'executions.result'
  | 'dead_letters.payload'
  | 'abandoned_executions.result';

function readColumn(
  context: RequestContext,
  { column, ids, roomBytes }: { column: HeavyColumn; ids: readonly string[]; roomBytes: number },
): Promise<HeavyValue[]> {
  const [table = '', name = ''] = column.split('.');
  return readTriggers(
    context,
    sql`select v.id, v.bytes, v.fits, case when v.fits then v.value end as value from (
      select v.id, v.value, v.bytes, ${fits('v', roomBytes)} as fits from (
        select t.id, t.${sql.ref(name)} as value, coalesce(octet_length(t.${sql.ref(name)}::text), 0) as bytes
        from ${sql.ref(`triggers.${table}`)} t where t.id = any(${ids}::uuid[])
      ) as v
    ) as v`,
  );
}

/** Whether a row of a sub-select is among those, the smallest first, whose `bytes` there is room for; with the last it may be more. */
export function fits(alias: string, roomBytes: number): RawBuilder<unknown> {
  const [bytes, id] = [sql.ref(`${alias}.bytes`), sql.ref(`${alias}.id`)];
  const before = sql`sum(${bytes}) over (order by ${bytes}, ${id} rows between unbounded preceding and 1 preceding)`;
  return sql`coalesce(${before}, 0) < ${roomBytes}::bigint`;
}

/**
 * The key that an id of an input names.
 * @param path where the id stands; empty for an argument of a query
 * @throws Refusal NOT_FOUND naming the id as it came
 */
export function requireKeyAt(path: readonly string[], type: 'Script' | 'Trigger' | 'Route', id: string): string {
  const key = keyOf(type, id);
  if (key === null) throw unknownId(path, type, id);
  return key;
}

/** As `requireKeyAt`, of what sets scripts off: a trigger or a route. */
export function requireSourceKeyAt(path: readonly string[], id: string): string {
  const key = keyOf('Trigger', id) ?? keyOf('Route', id);
  if (key === null) throw unknownId(path, 'trigger or route', id);
  return key;
}

function unknownId(path: readonly string[], noun: string, id: string): Refusal {
  return new Refusal('NOT_FOUND', `You have no ${noun.toLowerCase()} with the id ${JSON.stringify(id)}.`, { path });
}

/** Columns as the functions of `triggers` take them, with the project that a reference names; null: without one. */
export function columnsArgument(
  columns: Readonly<Record<string, unknown>>,
  project: ProjectReference | null | undefined,
): RawBuilder<unknown> {
  const given = sql`${JSON.stringify(columns)}::jsonb`;
  if (project == null) return given;
  const key = JSON.stringify(requireProjectKey(project));
  return sql`${given} || jsonb_build_object('project_id', registry.resolve_project(${key}::jsonb))`;
}

function requireProjectKey(reference: ProjectReference): object {
  try {
    return toProjectKey(reference);
  } catch (error) {
    throw error instanceof Refusal ? error.at(['input', 'project']) : error;
  }
}

/** A condition for what belongs to a project; none without a reference. An unknown project has nothing. */
export function ofProject(
  column: RawBuilder<unknown>,
  reference: ProjectReference | null | undefined,
): RawBuilder<unknown> {
  return reference == null
    ? sql`true`
    : sql`${column} = (select registry.find_project(${JSON.stringify(toProjectKey(reference))}::jsonb))`;
}
