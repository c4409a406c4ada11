import { sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import type { Order } from '../../db/keyset.ts';
import { callSync } from '../call.ts';
import type { RecordRow } from './model.ts';

/** One's own first, then by space. A page's cursors carry the first page's place in the log, which every page answers. */
export const recordOrder: Order = {
  tag: 'sync.record',
  descending: false,
  keys: [
    { column: 'since', type: 'text' },
    { column: 'place', type: 'text' },
    { column: 'record_id', type: 'text' },
  ],
};

export interface RecordPage {
  /** What was visible. */
  snapshot: string;
  records: RecordRow[];
  complete: boolean;
  /** The spaces whose rows the viewer may see. */
  spaces: string[];
}

/** @param page.after the place and the key of the record that the page follows; null: from the beginning */
export function listRecords(
  context: RequestContext,
  { appId, table }: { appId: string; table: string },
  page: { after: { place: string; recordId: string } | null; limit: number; mostBytes: number },
): Promise<RecordPage> {
  return callSync(
    context,
    sql`(select page.snapshot::text as snapshot, page.records, page.complete, page.spaces
      from sync.list_records(${appId}, ${table}, ${page.after?.place ?? null}, ${page.after?.recordId ?? null},
        ${page.limit}::int, ${page.mostBytes}::bigint) as page) as page`,
  );
}
