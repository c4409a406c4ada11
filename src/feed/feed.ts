import pLimit from 'p-limit';
import type pg from 'pg';
import { RequestError, StartupError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { type CursorKind, type CursorSeal, decodeCursor, encodeCursor, expired, type Place } from './cursor.ts';
import { createDoorbell } from './doorbell.ts';
import type { FeedEvent, Topic } from './event.ts';
import { createHub, type Following, type FollowOptions } from './hub.ts';
import { type Listener, listen } from './listener.ts';
import { currentPlace, isRetained, readPage } from './log.ts';
import { createReader, type Mark } from './reader.ts';

/**
 * The log of changes as a gateway uses it: followed live, replayed from a cursor, rung for after a commit. What it
 * promises is numbered in SPEC.md.
 */
export interface Feed {
  follow(options: FollowOptions): Following;
  tap(topics: readonly Topic[], listener: (events: readonly FeedEvent[]) => void): () => void;
  /** How far has been published, to those who follow. */
  mark(): Mark;
  /** As `mark`, but everything that was committed before the call has been published. */
  fresh(): Promise<Mark>;
  /**
   * What lies between two places, page by page, oldest first.
   * @throws RequestError CURSOR_EXPIRED when the log no longer holds all of it
   */
  replay(span: ReplaySpan): AsyncGenerator<FeedEvent[]>;
  /** Reads for somebody who comes back, in turn: those who do so by the hundred leave connections for everybody else. */
  inTurn<Result>(read: () => Promise<Result>): Promise<Result>;
  /** Where the log stands now, as a cursor: whatever is read after the call is at least as new. */
  now(): Promise<string>;
  cursorOf(place: Place): string;
  /** @throws RequestError BAD_CURSOR, CURSOR_EXPIRED */
  placeOf(cursor: string, kind?: CursorKind): Place;
  /**
   * After a commit of this gateway: there is something to read, here and elsewhere.
   * @param quietly what was written is nothing to those who read the log by themselves
   */
  ring(quietly?: boolean): void;
  /** Called when there may be something to read, before it is read: for who reads the log by itself. */
  onHint(listener: () => void): () => void;
  /**
   * Called when somebody signals on a channel; with an empty text also after a time in which signals may have been missed.
   * @param channel one of those that the feed was opened with
   */
  onSignal(channel: string, listener: (payload: string) => void): () => void;
  /** Whether changes are being heard right now. */
  readonly listening: boolean;
  readonly figures: FeedFigures;
  close(): Promise<void>;
}

export interface ReplaySpan {
  after: Place;
  until: Place;
  topics: readonly Topic[];
  /** Asked before each page: whether anybody still wants it. */
  isWanted: () => boolean;
}

export interface FeedFigures {
  followers: number;
  queued: number;
  overflows: number;
  events: number;
  reconnects: number;
  lastEventAtMs: number | null;
}

const replayPageSize = 500;
const settleMs = 1_000;
const startPatienceMs = 20_000;

export async function openFeed(options: {
  /** A direct connection, as the role that owns the schema. */
  url: string;
  /** For replays and cursors: request work's own. */
  pool: pg.Pool;
  ownerPool: pg.Pool;
  /** Further channels to hear, for `onSignal`. */
  signals?: readonly string[];
  log: Logger;
}): Promise<Feed> {
  const { log, pool, ownerPool, signals = [] } = options;
  const hub = createHub();
  const hints = new Set<() => void>();
  const heard = new Map(signals.map((channel) => [channel, new Set<(payload: string) => void>()]));
  const replayTurn = pLimit(Math.max(1, Math.floor((pool.options.max ?? 10) / 2)));
  // Not within the time that listening may take: in a database that was restored it counts all changes anew.
  let seal: CursorSeal | null = await openEpoch(ownerPool);
  const doorbell = createDoorbell(options);

  const reader = createReader({
    log,
    publish: (events) => hub.publish(events),
    settled: () => hub.settled(settleMs),
    isWatched: () => hub.followers > 0,
    interrupt: (error) => hub.interrupt(error),
    onFailure: () => listener.drop(),
  });
  const listener = listen({
    ...options,
    // Our own ring has been heard here already, without the way through the database.
    signals,
    onHint: (processId) => {
      if (processId !== doorbell.processId) hint();
    },
    onSignal: (channel, payload) => {
      for (const tell of heard.get(channel) ?? []) tell(payload);
    },
    onSession: async (connection) => {
      const found = await openEpoch(ownerPool);
      if (seal !== null && seal.epoch !== found.epoch) {
        // Another database, or the same one with another history: nothing connects the two.
        hub.interrupt(expired());
        reader.forget();
      }
      seal = found;
      await reader.connect(connection);
      for (const tell of hints) tell();
      for (const listeners of heard.values()) for (const tell of listeners) tell('');
    },
    onSessionEnd: () => reader.disconnect(),
  });
  await startedWithin(listener, startPatienceMs).catch(async (error: unknown) => {
    reader.close();
    await listener.close();
    await doorbell.close();
    throw error;
  });

  function hint(): void {
    reader.hint();
    for (const tell of hints) tell();
  }

  function currentSeal(): CursorSeal {
    if (seal === null)
      throw new RequestError('RESYNC_REQUIRED', 'The gateway does not hear its database yet: try again.');
    return seal;
  }

  return {
    follow: (following) => {
      const followed = hub.follow(following);
      reader.hint();
      return followed;
    },
    tap: hub.tap,
    mark: reader.mark,
    fresh: reader.fresh,
    async *replay({ after, until, topics, isWanted }) {
      let place = after;
      while (isWanted() && (place.within !== null || place.prev !== until.prev)) {
        const from = place;
        const page = await replayTurn(() =>
          readPage(pool, { after: from, next: until.prev, topics, limit: replayPageSize }),
        );
        // After the page was read: had it been cut short by retention, this would say so.
        if (!(await isRetained(pool, place.prev))) throw expired();
        place = page.place;
        if (page.events.length > 0) yield page.events;
      }
    },
    inTurn: (read) => replayTurn(read),
    now: async () => encodeCursor(await currentPlace(pool), currentSeal()),
    cursorOf: (place) => encodeCursor(place, currentSeal()),
    placeOf: (cursor, kind = 'feed') => decodeCursor(cursor, currentSeal(), kind),
    ring(quietly = false) {
      if (quietly) reader.hint();
      else hint();
      doorbell.ring();
    },
    onHint: (listener) => {
      hints.add(listener);
      return () => void hints.delete(listener);
    },
    onSignal: (channel, listener) => {
      const listeners = heard.get(channel);
      if (listeners === undefined) throw new Error(`the feed was not opened to hear ${channel}`);
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    get listening() {
      return listener.listening;
    },
    get figures() {
      return {
        followers: hub.followers,
        queued: hub.depth,
        overflows: hub.overflows,
        events: reader.events,
        reconnects: listener.reconnects,
        lastEventAtMs: reader.lastEventAtMs,
      };
    },
    close: async () => {
      hub.close();
      reader.close();
      await listener.close();
      await doorbell.close();
    },
  };
}

async function startedWithin(listener: Listener, patienceMs: number): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const { lastError } = listener;
    const reason = lastError instanceof Error ? lastError.message || String(lastError) : 'no answer';
    reject(new StartupError(`Cannot listen to the database with DATABASE_LISTEN_URL (or DATABASE_URL): ${reason}.`));
  }, patienceMs);
  try {
    await Promise.race([listener.started, promise]);
  } finally {
    clearTimeout(timer);
  }
}

async function openEpoch(ownerPool: pg.Pool): Promise<CursorSeal> {
  const { rows } = await ownerPool.query<{ epoch: string; cursor_key: Buffer }>(
    'select epoch, cursor_key from feed.open()',
  );
  const [row] = rows;
  if (row === undefined) throw new Error('feed.state has no row');
  return { epoch: BigInt(row.epoch), key: row.cursor_key };
}
