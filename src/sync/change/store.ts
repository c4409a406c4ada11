import { sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import type { Place } from '../../feed/cursor.ts';
import { callSync } from '../call.ts';
import type { ChangeFilter, ChangeRow, NewChange, Push, Receipt } from './model.ts';

/** One page of the log, between two snapshots. */
export interface Window {
  /** The snapshot up to which it reads. */
  next: string;
  changes: ChangeRow[];
  /** There is nothing more up to there. */
  complete: boolean;
  /** What it was to begin with is none of this log's past. */
  ahead: boolean;
  /** The spaces whose rows the viewer may see. */
  spaces: string[];
}

/**
 * @param after null: from the beginning
 * @param until a snapshot; null: up to now. A place within a window is read to the window's end first.
 */
export function readChanges(
  context: RequestContext,
  { appId, tables, excludeClientId }: ChangeFilter,
  span: { after: Place | null; until: string | null; limit: number; mostBytes: number },
): Promise<Window> {
  const { after } = span;
  return callSync(
    context,
    sql`(select page.next::text as next, page.changes, page.complete, page.ahead, page.spaces
      from sync.read_changes(${appId}, ${tables}::text[], ${excludeClientId}, ${after?.prev ?? null}::pg_snapshot,
        ${after?.within?.next ?? span.until}::pg_snapshot, ${after?.within?.position ?? null}::bigint,
        ${span.limit}::int, ${span.mostBytes}::bigint) as page) as page`,
  );
}

export interface Pushed {
  receipts: Receipt[];
  /** How many are new. */
  stored: number;
  /** The transaction that stored them; null: nothing was. */
  xid: string | null;
  /** What was visible before it. */
  snapshot: string;
  spaces: string[];
}

export function insertChanges(context: RequestContext, push: Push): Promise<Pushed> {
  const changes = JSON.stringify(push.changes.map(toStored));
  return callSync(
    context,
    sql`(select pushed.receipts, pushed.stored, pushed.xid, pushed.spaces, pg_current_snapshot()::text as snapshot
      from sync.push_changes(${push.appId}, ${push.clientId}, ${push.schemaVersion ?? null}::int, ${changes}::jsonb) as pushed
    ) as pushed`,
  );
}

function toStored(change: NewChange) {
  return {
    change_id: change.changeId,
    table_name: change.table,
    record_id: change.recordId,
    op: change.op,
    data: change.data,
    field_meta: change.fieldMeta,
    space_id: change.spaceId,
    actor: change.actor,
    origin: change.origin,
    schema_version: change.schemaVersion,
  };
}

/** The spaces whose rows the viewer may see, now. */
export async function listVisibleSpaces(context: RequestContext): Promise<string[]> {
  const { spaces } = await callSync<{ spaces: string[] }>(context, sql`sync.enter() as entered (spaces)`);
  return spaces;
}
