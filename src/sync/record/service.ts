import type { RequestContext } from '../../auth/context.ts';
import type { Page } from '../../db/keyset.ts';
import { loadHeavy, tooMuch } from '../../graphql/budget.ts';
import { requireSameSight, sightOf } from '../sight.ts';
import { type ListedRecord, pageBytes, type RecordRow } from './model.ts';
import { listRecords, type RecordPage } from './store.ts';

export interface RecordList {
  records: ListedRecord[];
  complete: boolean;
}

/**
 * One page of a table's records. Each carries a cursor from before the first page: from it the log has all that the pages
 * do not show yet.
 * @throws RequestError CURSOR_EXPIRED when the viewer came into a space or left one since the first page
 */
export async function listTable(
  context: RequestContext,
  table: { appId: string; table: string },
  { after, limit }: Page,
): Promise<RecordList> {
  const [since = null, place = '', recordId = ''] = after ?? [];
  const begun = since === null ? null : context.feed.placeOf(since, 'sync');
  const page = await readPage(context, table, { after: since === null ? null : { place, recordId }, limit });
  requireSameSight(begun, page.spaces);
  const cursor = since ?? context.feed.cursorOf({ prev: page.snapshot, within: null, sees: sightOf(page.spaces) });
  return { records: page.records.map((record) => ({ ...record, since: cursor })), complete: page.complete };
}

/** Within what one operation may read of large values. */
async function readPage(
  context: RequestContext,
  table: { appId: string; table: string },
  wanted: { after: { place: string; recordId: string } | null; limit: number },
): Promise<RecordPage> {
  let page: RecordPage | undefined;
  await loadHeavy<RecordRow>(context, async (roomBytes) => {
    if (roomBytes === 0) throw tooMuch();
    page = await listRecords(context, table, { ...wanted, mostBytes: Math.min(pageBytes, roomBytes) });
    return page.records;
  });
  if (page === undefined) throw new Error('a page was not read');
  return page;
}
