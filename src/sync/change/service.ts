import type { RequestContext } from '../../auth/context.ts';
import { findUnstorable } from '../../db/storable.ts';
import type { Place } from '../../feed/cursor.ts';
import { withTransaction } from '../../feed/snapshot.ts';
import { loadHeavy, tooMuch } from '../../graphql/budget.ts';
import { Refusal, RequestError } from '../../kernel/errors.ts';
import { notOfThisLog, requireSameSight, sightOf } from '../sight.ts';
import {
  type ChangeFilter,
  type ChangePage,
  type ChangeRow,
  mostTables,
  type PlacedReceipt,
  type Push,
  pageBytes,
} from './model.ts';
import { insertChanges, readChanges } from './store.ts';

/** @throws RequestError BAD_USER_INPUT for more tables than can be asked for at once */
export function toFilter(given: {
  appId: string;
  tables?: readonly string[] | null | undefined;
  excludeClientId?: string | null | undefined;
}): ChangeFilter {
  const { appId, tables = null, excludeClientId = null } = given;
  if (tables !== null && tables.length > mostTables) {
    throw new RequestError(
      'BAD_USER_INPUT',
      `Expected at most ${mostTables} tables, got ${tables.length}: leave them out to get all.`,
    );
  }
  return { appId, tables, excludeClientId };
}

/** Some changes after a place, up to a snapshot. */
export interface Span {
  after: Place | null;
  /** Null: up to now. */
  until: string | null;
  limit: number;
  /** With its last change a page may be more. */
  mostBytes: number;
}

/**
 * What the viewer may see and does not have yet, in order. No timestamp decides it, so no page boundary, tie or slow
 * transaction loses a change.
 * @throws RequestError CURSOR_EXPIRED, LIMIT_EXCEEDED
 */
export async function pullChanges(
  context: RequestContext,
  filter: ChangeFilter,
  wanted: Omit<Span, 'until' | 'mostBytes'>,
): Promise<ChangePage> {
  const span = { ...wanted, until: null };
  const page = await pullPage(context, filter, span);
  // A window that began with an earlier page ends here; what came since is in the next one.
  if (page.hasMore || page.changes.length >= span.limit || span.after?.within == null) return page;
  const rest = await pullPage(context, filter, {
    ...span,
    after: page.place,
    limit: span.limit - page.changes.length,
  });
  return { ...rest, changes: [...page.changes, ...rest.changes] };
}

/** Within what one operation may read of large values. */
async function pullPage(
  context: RequestContext,
  filter: ChangeFilter,
  span: Omit<Span, 'mostBytes'>,
): Promise<ChangePage> {
  let page: ChangePage | undefined;
  await loadHeavy<ChangeRow>(context, async (roomBytes) => {
    if (roomBytes === 0) throw tooMuch();
    page = await readPage(context, filter, { ...span, mostBytes: Math.min(pageBytes, roomBytes) });
    return page.changes;
  });
  if (page === undefined) throw new Error('a page was not read');
  return page;
}

/** One page of one window. */
export async function readPage(context: RequestContext, filter: ChangeFilter, span: Span): Promise<ChangePage> {
  const window = await readChanges(context, filter, span);
  requireSameSight(span.after, window.spaces);
  if (window.ahead) throw notOfThisLog();
  const sees = sightOf(window.spaces);
  const ended: Place = { prev: window.next, within: null, sees };
  const { after } = span;
  const placed = window.changes.map((change, index) => ({
    ...change,
    place:
      window.complete && index === window.changes.length - 1
        ? ended
        : // From the beginning: before every transaction.
          { prev: after?.prev ?? '1:1:', within: { next: window.next, position: Number(change.position) }, sees },
  }));
  return {
    changes: placed,
    place: window.complete ? ended : (placed.at(-1)?.place ?? ended),
    hasMore: !window.complete,
  };
}

export interface Accepted {
  accepted: PlacedReceipt[];
  /** From where the changes that are new come first; null when none is. */
  from: Place | null;
}

/**
 * Stores a batch, all of it or none. What is known by its id already counts as accepted and is not stored twice, so the
 * same batch may be sent again however often.
 * @throws Refusal INVALID, PAYLOAD_TOO_LARGE, UNSUPPORTED_VERSION, NOT_FOUND, FORBIDDEN, CONFLICT, naming the change
 */
export async function pushChanges(context: RequestContext, push: Push): Promise<Accepted> {
  const unstorable = unstorableParts(push);
  if (unstorable.length > 0) throw new AggregateError(unstorable);
  const pushed = await insertChanges(context, push);
  const { receipts, stored, xid, snapshot, spaces } = pushed;
  if (stored === 0) context.writtenFrom = null;
  const before: Place = { prev: snapshot, within: null, sees: sightOf(spaces) };
  const next = xid === null ? null : withTransaction(snapshot, BigInt(xid));
  return {
    accepted: receipts.map((receipt) => ({
      ...receipt,
      place: receipt.duplicate || next === null ? before : { ...before, within: { next, position: receipt.position } },
    })),
    from: stored === 0 ? null : before,
  };
}

const parts = ['changeId', 'table', 'recordId', 'data', 'fieldMeta', 'spaceId', 'actor', 'origin'] as const;

function unstorableParts({ appId, clientId, changes }: Push): Refusal[] {
  const ofInput = Object.entries({ appId, clientId }).flatMap(([part, value]) => refusalOf(value, [part], {}));
  const ofChanges = changes.flatMap((change, index) =>
    parts.flatMap((part) => refusalOf(change[part], ['changes', String(index), part], { index })),
  );
  return [...ofInput, ...ofChanges];
}

function refusalOf(value: unknown, path: readonly string[], facts: { index?: number }): Refusal[] {
  const found = findUnstorable(value);
  if (found === null) return [];
  const where = [path.at(-1), ...found.path].join('.');
  const which = facts.index === undefined ? '' : `Change ${facts.index}: `;
  return [
    new Refusal('INVALID', `${which}${where} ${found.problem}. Nothing was stored.`, {
      path: ['input', ...path],
      details: { ...facts, path: found.path },
    }),
  ];
}
