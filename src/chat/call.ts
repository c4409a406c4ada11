import { type RawBuilder, sql } from 'kysely';
import { callAsViewer } from '../auth/call.ts';
import type { RequestContext } from '../auth/context.ts';
import type { ConstraintMeaning } from '../db/refusals.ts';
import { Refusal } from '../kernel/errors.ts';
import { type ProjectReference, toProjectKey } from '../registry/project/model.ts';

/** While it was written to. */
const gone: ConstraintMeaning = {
  code: 'NOT_FOUND',
  field: 'project',
  message: 'You have no chat in such a project: it was deleted.',
};

const meanings: Readonly<Record<string, ConstraintMeaning>> = {
  project_messages_message_id_key: {
    code: 'CONFLICT',
    message:
      'Somebody inserted one of these messages at the same moment, past the function that does so: send them again.',
  },
  project_messages_sequence_num_key: {
    code: 'CONFLICT',
    message: 'Somebody inserted a message at the same moment, past the function that does so: send them again.',
  },
  project_messages_project_id_fkey: gone,
  project_counters_project_id_fkey: gone,
  project_snapshots_project_id_fkey: gone,
  project_snapshots_summary_check: {
    code: 'INVALID',
    field: 'summary',
    message: 'Expected a summary of at most 100,000 bytes.',
  },
};

/** Calls a function of the chat as the viewer, who alone decides what is there for it. One row is answered. */
export async function callChat<Row>(context: RequestContext, call: RawBuilder<unknown>): Promise<Row> {
  const [row] = await callAsViewer<Row>(context, call, meanings).catch((error: unknown) =>
    Promise.reject(placed(error)),
  );
  if (row === undefined) throw new Error('A function of the chat that answers one row answered none.');
  return row;
}

/** The database says which field it means, and of a message which one; users know it by its place in what they gave. */
function placed(error: unknown): unknown {
  if (!(error instanceof Refusal)) return error;
  if (error.path.length > 0) return error;
  if (error.code === 'NOT_FOUND') return error.at(['input', 'project']);
  const { index, field } = (error.details ?? {}) as { index?: number; field?: string | null };
  const item = index === undefined ? [] : ['messages', String(index)];
  return error.at(['input', ...item, ...(field == null ? [] : [field])]);
}

/** Reads rows as the viewer, all of them as one JSON document. */
export async function readChat<Row>(context: RequestContext, query: RawBuilder<unknown>): Promise<Row[]> {
  const { rows } = await callChat<{ rows: Row[] }>(
    context,
    sql`(select coalesce(json_agg(row), '[]') as rows from (${query}) as row) as found`,
  );
  return rows;
}

/** The project that a reference names, as an argument; null when there is none, which the functions tell nobody apart. */
export function projectArgument(reference: ProjectReference): RawBuilder<unknown> {
  return sql`registry.find_project(${JSON.stringify(toProjectKey(reference))}::jsonb)`;
}
