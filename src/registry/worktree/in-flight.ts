import type { RequestContext } from '../../auth/context.ts';
import { belongsTo, type FeedEvent } from '../../feed/event.ts';
import type { Follower, LiveUpdate, WithCursor } from '../../graphql/live.ts';
import { factsOf, factsSuffice, firstPageOf, fits, isRenaming, statesBetween } from './facts.ts';
import type { WorktreeFilter, WorktreeRow } from './model.ts';
import {
  listInFlightIdsOf,
  listMatching,
  listMatchingIds,
  listWorktreesById,
  type MatchedWorktreeRow,
  nextStaleInMs,
} from './store.ts';

/**
 * Membership of a filtered set of work in flight. What belongs is decided by the query's own conditions, so that a
 * subscription and the query beside it can never disagree; what those who watch were told is remembered, so that each
 * worktree enters once and leaves once, whatever made it: its own change, a claim, a lapse or the clock.
 *
 * A row is read after its event, and may have moved on since. Those who watch are many and joined at different times: one
 * may have seen, in its own query, a state between the two. So an event is told as of its own time as far as its facts say
 * what that was; and where they do not, the worktree is remembered as one that somebody may think is there.
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
  /** Not members, but somebody who began to watch after that page may think so: what becomes of them is told. */
  const doubtful = new Map<string, number>();
  const isToldByFacts = factsSuffice(filter);
  /** What was committed until here may be in `members` already, or gone from there. */
  const loadedUntil = (await opening.feed.fresh()).page;
  const byClock = filter.staleForMinutes != null;
  let dueAtMs = byClock ? await nextDue(opening) : null;

  async function nextDue(context: RequestContext): Promise<number | null> {
    const inMs = await nextStaleInMs(context.db, filter);
    return inMs === null ? null : Date.now() + Math.max(inMs + dueMarginMs, leastWaitMs);
  }

  /** Whether the event can have changed membership or a member, as far as its own facts tell. */
  function concerns(event: FeedEvent, replayed: boolean): boolean {
    if (isRenaming(event)) return event.changed.includes('name');
    if (!replayed && (members.has(event.entity_id) || doubtful.has(event.entity_id))) return true;
    if (projectId !== null && !belongsTo(event, projectId)) return false;
    if (event.topic === 'claims') return true;
    const { before, after } = factsOf(event);
    // Without facts (its files changed) it is looked at.
    if (event.op === 'update' && after === undefined) return true;
    // Of what was before, only one that comes back, or began just then, may still think that it is.
    const mayBeBelieved = replayed || firstPageOf(event) <= loadedUntil;
    const states = [mayBeBelieved ? before : undefined, ...statesBetween(event), after];
    return states.some((state) => state?.in_flight === true);
  }

  /** Whether it belonged at the time of the event; null: nobody knows any more. */
  function belongsAt(event: FeedEvent, row: MatchedWorktreeRow | undefined): boolean | null {
    if (event.topic === 'worktrees' && event.op === 'delete') return false;
    if (row === undefined) return null;
    if (isRenaming(event)) return row.matches;
    const { after, version } = factsOf(event);
    if (event.topic === 'claims') return belongsByClaim(row, after?.agent_id != null);
    if (after === undefined || version === undefined || row.version <= version) return row.matches;
    if (!fits(after, filter)) return false;
    return isToldByFacts ? true : null;
  }

  /** Claims have no version: a row that does not fit although the claim would let it has moved on. */
  function belongsByClaim(row: MatchedWorktreeRow, isClaimed: boolean): boolean | null {
    if (row.matches || !row.in_flight || isClaimed !== filter.claimed) return row.matches;
    return null;
  }

  function live({ event, id }: Concerned, row: MatchedWorktreeRow | undefined): Updates {
    const belonged = members.has(id);
    const belongs = belongsAt(event, row);
    const told = (presence: InFlightShape['presence']): Updates => [
      { event, key: id, shape: { presence, id, worktree: row ?? null } },
    ];
    if (belongs === null) {
      // The event that says what became of it is on its way.
      if (belonged) return row === undefined ? [] : told('updated');
      if (!doubtful.has(id)) doubtful.set(id, firstPageOf(event));
      return [];
    }
    const since = doubtful.get(id) ?? passedThrough(event);
    doubtful.delete(id);
    if (belongs) members.add(id);
    else members.delete(id);
    if (belongs || belonged) return told(presenceOf(belonged, belongs));
    return since === null ? [] : told('left').map((update) => ({ ...update, doubtfulSince: since }));
  }

  /** From which page on somebody may have seen it in the set although it never was a member here; null: never. */
  function passedThrough(event: FeedEvent): number | null {
    const firstPage = firstPageOf(event);
    const { before } = factsOf(event);
    const early = firstPage <= loadedUntil && before !== undefined ? [before] : [];
    return [...early, ...statesBetween(event)].some((state) => fits(state, filter)) ? firstPage : null;
  }

  function replay({ event, id }: Concerned, row: MatchedWorktreeRow | undefined): Updates {
    const presence = row?.matches === true ? 'entered' : 'left';
    return [{ event, key: id, shape: { presence, id, worktree: row ?? null } }];
  }

  return {
    async follow(events, context, replayed) {
      const relevant = await Promise.all(
        events.filter((event) => concerns(event, replayed)).map((event) => concerned(context, event)),
      );
      const pairs = relevant.flat();
      if (pairs.length === 0) return [];
      const ids = [...new Set(pairs.map((pair) => pair.id))];
      const rows = new Map((await listMatching(context.db, ids, filter)).map((row) => [row.id, row]));
      // An event only brings the time nearer: what is due by now is for the clock to tell.
      if (byClock && !replayed) dueAtMs = earlier(dueAtMs, await nextDue(context));
      return pairs.flatMap((pair) => (replayed ? replay : live)(pair, rows.get(pair.id)));
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
              for (const id of grown) {
                members.add(id);
                doubtful.delete(id);
              }
              return entered(await listWorktreesById(context.db, grown));
            },
            async onResume(context: RequestContext) {
              const ids = await listMatchingIds(context.db, filter);
              // Told to one before the others: its leaving must reach that one.
              const { page } = context.feed.mark();
              for (const id of ids) if (!members.has(id) && !doubtful.has(id)) doubtful.set(id, page);
              return entered(await listWorktreesById(context.db, ids));
            },
          },
        }
      : {}),
  };
}

function presenceOf(belonged: boolean, belongs: boolean): InFlightShape['presence'] {
  if (!belongs) return 'left';
  return belonged ? 'updated' : 'entered';
}

/** An event, and a worktree that it may move. */
interface Concerned {
  event: FeedEvent;
  id: string;
}

/** A host or a type that has another name moves all of its worktrees. */
async function concerned({ db }: RequestContext, event: FeedEvent): Promise<Concerned[]> {
  if (!isRenaming(event)) return [{ event, id: event.entity_id }];
  const column = event.topic === 'hosts' ? 'host_id' : 'type_id';
  const ids = await listInFlightIdsOf(db, { column, key: event.entity_id });
  return ids.map((id) => ({ event, id }));
}

function earlier(one: number | null, other: number | null): number | null {
  if (one === null || other === null) return one ?? other;
  return Math.min(one, other);
}

function entered(rows: readonly WorktreeRow[]): Updates {
  return rows.map((row) => ({ event: null, key: row.id, shape: { presence: 'entered', id: row.id, worktree: row } }));
}
