import pLimit from 'p-limit';
import type { RequestContext } from '../auth/context.ts';
import { makeCursor, type PageSizes, readPage } from '../graphql/connection.ts';
import { toUserError, type UserErrorShape } from '../graphql/payload.ts';
import { Refusal } from '../kernel/errors.ts';
import { requireKey } from '../registry/project/model.ts';
import { type Batch, batchSize, type Direction, type DriftRow, mostRefusals, placeOrders } from './model.ts';
import { listDrift, reconcileBatch } from './store.ts';

export function toProjectIds(ids: readonly string[] | null | undefined): string[] | null {
  return ids?.map((id) => requireKey('Project', 'project', id)) ?? null;
}

/** All is compared, which takes a second for a hundred thousand: not by more than one at a time, whoever asks how often. */
const comparing = pLimit(1);

/** Where the two sides do not say the same now. */
export function findDrift(
  context: RequestContext,
  ids: readonly string[] | null | undefined,
  limit: number,
): Promise<DriftRow[]> {
  const projectIds = toProjectIds(ids);
  return projectIds === null
    ? comparing(async () => (context.caller.gone ? [] : listDrift(context, null, limit)))
    : listDrift(context, projectIds, limit);
}

export interface Reconciliation {
  direction: Direction;
  projectIds?: readonly string[] | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
}

export interface Reconciled {
  examinedCount: number;
  changedCount: number;
  /** Where it ended; null when there was nothing to look at. */
  endCursor: string | null;
  hasMore: boolean;
  userErrors: UserErrorShape[];
}

export const reconcileSizes: PageSizes = { usual: Number.MAX_SAFE_INTEGER, most: 100_000 };

/**
 * Makes one side what the other says, batch by batch, each of which is committed: whoever is interrupted goes on from a
 * cursor, or begins again, which costs no more than looking; when nobody waits for the answer, it stops. What cannot be healed is told and keeps no other from it.
 */
export async function reconcile(
  context: RequestContext,
  { direction, projectIds, first, after }: Reconciliation,
): Promise<Reconciled> {
  const order = placeOrders[direction];
  const page = readPage({ first, after }, order, reconcileSizes);
  const ids = toProjectIds(projectIds);
  const refused: Batch['refused'] = [];
  let refusedCount = 0;
  let examinedCount = 0;
  let changedCount = 0;
  let batch: Batch | null = null;
  let key = page.after?.[0] ?? null;
  do {
    const limit = Math.min(batchSize, page.limit - examinedCount);
    batch = await reconcileBatch(context, direction, { after: key, limit, projectIds: ids });
    // Whoever watches sees how it goes on.
    context.feed.ring();
    key = batch.last_key ?? key;
    examinedCount += batch.examined_count;
    changedCount += batch.changed_count;
    refusedCount += batch.refused.length;
    refused.push(...batch.refused.slice(0, mostRefusals - refused.length));
  } while (batch.has_more && examinedCount < page.limit && !context.caller.gone);
  if (changedCount === 0) context.writtenFrom = null;
  return {
    examinedCount,
    changedCount,
    endCursor: key === null ? null : makeCursor({ last_key: key }, order),
    hasMore: batch.has_more,
    userErrors: told(refused, refusedCount),
  };
}

function told(refused: Batch['refused'], count: number): UserErrorShape[] {
  const errors = refused.map(({ name, message, code }) =>
    toUserError(new Refusal(code ?? 'CONFLICT', `${name} was not healed. ${message}`, { details: { name } })),
  );
  if (count <= refused.length) return errors;
  const more = `${count - refused.length} more were not healed: mirrorDrift lists them.`;
  return [...errors, toUserError(new Refusal('CONFLICT', more))];
}
