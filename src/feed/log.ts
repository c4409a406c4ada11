import type { Place } from './cursor.ts';
import type { FeedEvent } from './event.ts';

/** Anything of node-postgres that runs a statement, in a session whose time zone is UTC. */
export interface Executor {
  query<Row extends object>(text: string, values: readonly unknown[]): Promise<{ rows: Row[] }>;
}

export interface Page {
  events: FeedEvent[];
  /** How far whoever has this page has read. */
  place: Place;
  /** There is nothing more between the two snapshots. */
  complete: boolean;
}

interface RawEvent extends Omit<FeedEvent, 'place' | 'page'> {
  position: number;
}

/**
 * One page of the log after a place.
 * @param next a snapshot up to which to read; null: up to now. A place within a window is read to the window's end first.
 * @param topics null: all
 */
export async function readPage(
  db: Executor,
  {
    after,
    next,
    topics,
    limit,
  }: { after: Place; next: string | null; topics: readonly string[] | null; limit: number },
): Promise<Page> {
  const until = after.within?.next ?? next;
  const { rows } = await db.query<{ next: string; events: RawEvent[]; complete: boolean }>(
    'select next::text as next, events, complete from feed.read($1, $2, $3, $4, $5)',
    [after.prev, until, after.within?.position ?? null, topics, limit],
  );
  const [row] = rows;
  if (row === undefined) throw new Error('feed.read answers one row');
  const last = row.events.length - 1;
  const events = row.events.map(({ position, ...event }, index): FeedEvent => {
    const atEnd = row.complete && index === last;
    return {
      ...event,
      at: event.at.replace('+00:00', 'Z'),
      page: 0,
      place: atEnd ? { prev: row.next, within: null } : { prev: after.prev, within: { next: row.next, position } },
    };
  });
  const place = row.complete ? { prev: row.next, within: null } : (events[last]?.place ?? after);
  return { events, place, complete: row.complete };
}

/** Whether the log still holds everything after a snapshot. Asked after reading: what is dropped meanwhile counts. */
export async function isRetained(db: Executor, prev: string): Promise<boolean> {
  const { rows } = await db.query<{ retained: boolean }>('select feed.is_retained($1) as retained', [prev]);
  return rows[0]?.retained === true;
}

export async function currentPlace(db: Executor): Promise<Place> {
  const { rows } = await db.query<{ now: string }>('select pg_current_snapshot()::text as now', []);
  return { prev: rows[0]?.now ?? '', within: null };
}

export interface FeedHealth {
  last_event_at: string | null;
  /** For how long the oldest open writing transaction has been at it; 0 when there is none. */
  oldest_writer_seconds: number;
}

export async function feedHealth(db: Executor): Promise<FeedHealth> {
  const { rows } = await db.query<FeedHealth>('select last_event_at, oldest_writer_seconds from feed.health()', []);
  const [row] = rows;
  if (row === undefined) throw new Error('feed.health answers one row');
  return row;
}
