import type { RequestContext } from '../../auth/context.ts';
import type { FeedEvent } from '../../feed/event.ts';
import type { Follower, LiveUpdate, WithCursor } from '../../graphql/live.ts';
import type { WorktreeFilter, WorktreeRow } from './model.ts';
import { listMatching, listMatchingIds, listWorktreesById, nextStaleInMs } from './store.ts';

/**
 * Membership of a filtered set of work in flight. What belongs is decided by the query's own conditions, so that a
 * subscription and the query beside it can never disagree; what those who watch were told is remembered, so that each
 * worktree enters once and leaves once, whatever made it: its own change, a claim, a lapse or the clock.
 */
export interface InFlightShape extends WithCursor {
  presence: 'entered' | 'updated' | 'left';
  id: string;
  worktree: WorktreeRow | null;
}

type Updates = LiveUpdate<InFlightShape>[];

/** The clock's due time is the database's, and rounded: a little later is sure to be past it. */
const dueMarginMs = 20;
/** A set in which something grows stale all the time is looked at this often. */
const leastWaitMs = 500;

/** @param filter with `inFlight: true` */
export async function followInFlight(
  filter: WorktreeFilter,
  projectId: string | null,
  opening: RequestContext,
): Promise<Follower<InFlightShape>> {
  const members = new Set(await listMatchingIds(opening.db, filter));
  const byClock = filter.staleForMinutes != null;
  let dueAtMs = byClock ? await nextDue(opening) : null;

  async function nextDue(context: RequestContext): Promise<number | null> {
    const inMs = await nextStaleInMs(context.db, filter);
    return inMs === null ? null : Date.now() + Math.max(inMs + dueMarginMs, leastWaitMs);
  }

  /** Whether the event can have changed membership or a member, as far as its own facts tell. */
  function concerns(event: FeedEvent, replayed: boolean): boolean {
    if (!replayed && members.has(event.entity_id)) return true;
    if (projectId !== null && event.project_id !== projectId) return false;
    if (event.topic !== 'worktrees' || event.op === 'delete') return replayed || event.topic !== 'worktrees';
    const facts = event.data as { before?: { in_flight?: boolean }; after?: { in_flight?: boolean } };
    // Without facts (its files changed) it is looked at.
    if (facts.after === undefined) return true;
    return facts.after.in_flight === true || (replayed && facts.before?.in_flight === true);
  }

  function live(event: FeedEvent, row: (WorktreeRow & { matches: boolean }) | undefined): Updates {
    const id = event.entity_id;
    const belonged = members.has(id);
    if (row?.matches === true) {
      members.add(id);
      return [{ event, key: id, shape: { presence: belonged ? 'updated' : 'entered', id, worktree: row } }];
    }
    if (!belonged) return [];
    members.delete(id);
    return [{ event, key: id, shape: { presence: 'left', id, worktree: row ?? null } }];
  }

  function replay(event: FeedEvent, row: (WorktreeRow & { matches: boolean }) | undefined): Updates {
    const id = event.entity_id;
    const presence = row?.matches === true ? 'entered' : 'left';
    return [{ event, key: id, shape: { presence, id, worktree: row ?? null } }];
  }

  return {
    async follow(events, context, replayed) {
      const relevant = lastOfEach(events.filter((event) => concerns(event, replayed)));
      if (relevant.length === 0) return [];
      const ids = relevant.map((event) => event.entity_id);
      const rows = new Map((await listMatching(context.db, ids, filter)).map((row) => [row.id, row]));
      if (byClock && !replayed) dueAtMs = await nextDue(context);
      return relevant.flatMap((event) => (replayed ? replay : live)(event, rows.get(event.entity_id)));
    },
    ...(byClock
      ? {
          clock: {
            get dueAtMs() {
              return dueAtMs;
            },
            async follow(context: RequestContext) {
              const grown = (await listMatchingIds(context.db, filter)).filter((id) => !members.has(id));
              dueAtMs = await nextDue(context);
              for (const id of grown) members.add(id);
              return entered(await listWorktreesById(context.db, grown));
            },
            onResume: async (context: RequestContext) =>
              entered(await listWorktreesById(context.db, await listMatchingIds(context.db, filter))),
          },
        }
      : {}),
  };
}

function entered(rows: readonly WorktreeRow[]): Updates {
  return rows.map((row) => ({ event: null, key: row.id, shape: { presence: 'entered', id: row.id, worktree: row } }));
}

/** Rows are read as they stand now, so of several events of one worktree the last one tells it all. */
function lastOfEach(events: readonly FeedEvent[]): FeedEvent[] {
  const last = new Map<string, FeedEvent>();
  for (const event of events) {
    last.delete(event.entity_id);
    last.set(event.entity_id, event);
  }
  return [...last.values()];
}
