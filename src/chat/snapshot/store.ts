import { sql } from 'kysely';
import { callAsViewer } from '../../auth/call.ts';
import type { RequestContext } from '../../auth/context.ts';
import { readChat } from '../call.ts';
import { mostInlineReadBytes, type SnapshotRow } from './model.ts';

/** @param roomBytes so many bytes of files may come along, and those that fit do; null: none are wanted */
export function listSnapshots(
  context: RequestContext,
  projectIds: readonly string[],
  roomBytes: number | null,
): Promise<SnapshotRow[]> {
  const files = roomBytes !== null ? sql`, s.fits, case when s.fits then s.files end as files` : sql``;
  return readChat(
    context,
    sql`select s.project_id, s.summary, s.bytes, s.created_at, s.updated_at ${files}
      from (
        select s.project_id, s.summary, s.bytes, s.created_at, s.updated_at, s.files,
          sum(s.bytes) over (order by s.bytes, s.project_id) <= ${Math.min(roomBytes ?? 0, mostInlineReadBytes)}::bigint as fits
        from chat.project_snapshots s where s.project_id = any(${projectIds}::uuid[])
      ) as s`,
  );
}

/** The snapshot as a JSON document, in pieces; none: there is no snapshot. */
export async function readDocument(context: RequestContext, projectId: string): Promise<string[]> {
  const rows = await callAsViewer<{ piece: string }>(
    context,
    sql`chat.read_snapshot_document(${projectId}::uuid) as piece`,
    {},
  );
  return rows.map(({ piece }) => piece);
}
