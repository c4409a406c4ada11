import { sql } from 'kysely';
import type { Pool } from 'pg';
import { callAsViewer } from '../auth/call.ts';
import type { RequestContext } from '../auth/context.ts';
import type { Batch, Direction, DriftRow, MirrorProblem, MirrorStatusRow } from './model.ts';

/** Makes what is missing of the mirror as far as the owner of the schema may, and answers what else is needed. */
export async function attach(ownerPool: Pool): Promise<MirrorProblem[]> {
  const { rows } = await ownerPool.query<MirrorProblem>('select problem, statement from mirror.attach()');
  return rows;
}

/** What an operator has to do before the mirror works; changes nothing. */
export async function listProblems(ownerPool: Pool): Promise<MirrorProblem[]> {
  const { rows } = await ownerPool.query<MirrorProblem>(
    `select problem, statement from mirror.problems()
     union all
     select 'The triggers of the mirror are missing or disabled.', 'select * from mirror.attach();' where not mirror.is_attached()`,
  );
  return rows;
}

export function getStatus(context: RequestContext): Promise<MirrorStatusRow> {
  return callOnce(
    context,
    sql`(select attached, project_count, row_count, unclassified_count, problems from mirror.status()) as status`,
  );
}

/** @param projectIds null: of all */
export function listDrift(
  context: RequestContext,
  projectIds: readonly string[] | null,
  limit: number,
): Promise<DriftRow[]> {
  return callAsViewer(
    context,
    sql`(select project_id, mai_id, field, ours, theirs from mirror.drift(${projectIds}::uuid[], ${limit}::int)) as drift`,
    {},
  );
}

/** Heals one batch, in one transaction. */
export function reconcileBatch(
  context: RequestContext,
  direction: Direction,
  span: { after: string | null; limit: number; projectIds: readonly string[] | null },
): Promise<Batch> {
  return callOnce(
    context,
    sql`(select examined_count, changed_count, last_key, has_more, refused
      from mirror.reconcile(${direction}, ${span.after}, ${span.limit}::int, ${span.projectIds}::uuid[])) as batch`,
  );
}

async function callOnce<Row>(context: RequestContext, call: ReturnType<typeof sql>): Promise<Row> {
  const [row] = await callAsViewer<Row>(context, call, {});
  if (row === undefined) throw new Error('A function of mirror that answers one row answered none.');
  return row;
}
