import { RequestError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { expired, type Place } from './cursor.ts';
import type { FeedEvent } from './event.ts';
import { currentPlace, type Executor, isRetained, readPage } from './log.ts';

/**
 * The one reader of a gateway: turns hints into pages of the log, each event once, whatever order the writers commit in.
 *
 * Hints are many and a read is dear next to one event, so reads rest between each other: shortly while somebody watches,
 * longer while nobody does. A read without any hint once a second is the backstop for hints that were lost, and notices
 * a connection that hangs.
 */
export interface Reader {
  /** There may be something to read. */
  hint(): void;
  /** How far it has published. */
  mark(): Mark;
  /** As `mark`, after a read that began after the call: what was committed before it has been published. */
  fresh(): Promise<Mark>;
  /** A connection that listens already: reads on from where the last one ended. */
  connect(db: Executor): Promise<void>;
  disconnect(): void;
  /** The next connection leads to another history: it is followed from its present on. */
  forget(): void;
  close(): void;
  /** Pages published since the start. */
  readonly events: number;
  /** When the newest event that was published had been written, in milliseconds since the epoch; null: none yet. */
  readonly lastEventAtMs: number | null;
}

export interface Mark {
  place: Place;
  /** Number of the last page published. */
  page: number;
}

export interface ReaderOptions {
  log: Logger;
  publish: (events: readonly FeedEvent[]) => void;
  /** Lets those who follow keep up while there is much to read. */
  settled: () => Promise<void>;
  isWatched: () => boolean;
  /** The log cannot be followed from where it was. */
  interrupt: (error: RequestError) => void;
  /** The connection failed. */
  onFailure: () => void;
}

const restMs = 10;
/** Under load nobody notices a little more, and each read costs the writers as much however little there is. */
const busyRestMs = 25;
const busyEvents = 20;
const unwatchedRestMs = 1_000;
const backstopMs = 1_000;
const pageSize = 500;
const freshPatienceMs = 10_000;

interface Waiting {
  resolve: (mark: Mark) => void;
  reject: (error: unknown) => void;
}

const goingAway = () => new RequestError('RESYNC_REQUIRED', 'The gateway is going away: subscribe again.');

export function createReader(options: ReaderOptions): Reader {
  let db: Executor | null = null;
  let place: Place | null = null;
  let page = 0;
  let events = 0;
  let lastEventAtMs: number | null = null;
  let wanted = false;
  let timer: NodeJS.Timeout | null = null;
  let timerDueAt = 0;
  let round: Promise<void> | null = null;
  let lastRoundAt = 0;
  let lastRoundEvents = 0;
  let closed = false;
  let waiting: Waiting[] = [];
  const backstop = setInterval(() => hint(), backstopMs);
  backstop.unref();

  function mark(): Mark {
    if (place === null)
      throw new RequestError('RESYNC_REQUIRED', 'The gateway does not hear its database yet: try again.');
    return { place, page };
  }

  function hint(): void {
    wanted = true;
    schedule();
  }

  function schedule(): void {
    if (!wanted || round !== null || db === null) return;
    const rest = restNow();
    const now = performance.now();
    const dueAt = lastRoundAt + rest;
    // One that is set for then already stays; somebody may have begun to watch since it was set.
    if (timer !== null && timerDueAt <= dueAt && dueAt > now) return;
    if (timer !== null) clearTimeout(timer);
    timer = null;
    if (dueAt <= now) {
      begin(db);
      return;
    }
    timerDueAt = dueAt;
    timer = setTimeout(() => {
      timer = null;
      schedule();
    }, dueAt - now);
  }

  function restNow(): number {
    if (waiting.length > 0) return restMs;
    if (!options.isWatched()) return unwatchedRestMs;
    return lastRoundEvents >= busyEvents ? busyRestMs : restMs;
  }

  function begin(connection: Executor): void {
    run(connection).catch((error: unknown) => {
      if (db !== connection) return;
      options.log.warn({ err: error }, 'the log could not be read; reconnecting');
      db = null;
      options.onFailure();
    });
  }

  /** One round at a time: two that read from the same place would tell everything twice. */
  function run(connection: Executor): Promise<void> {
    const reading = readAll(connection);
    round = reading
      .catch(() => undefined)
      .finally(() => {
        round = null;
        schedule();
      });
    return reading;
  }

  async function readAll(connection: Executor): Promise<void> {
    lastRoundAt = performance.now();
    wanted = false;
    const before = events;
    const served = waiting;
    waiting = [];
    try {
      // One window that began in this round: what comes meanwhile waits for the next, or those who wait would wait for ever.
      for (let complete = false, began = false; !(complete && began); ) {
        if (place === null) throw new Error('a read before the first session');
        began ||= place.within === null;
        const read = await readPage(connection, { after: place, next: null, topics: null, limit: pageSize });
        if (db !== connection) throw new Error('the session ended');
        complete = read.complete;
        place = read.place;
        publish(read.events);
        if (!complete) await options.settled();
      }
    } catch (error) {
      waiting.unshift(...served);
      throw error;
    }
    lastRoundEvents = events - before;
    for (const { resolve } of served) resolve(mark());
  }

  function publish(read: FeedEvent[]): void {
    const last = read.at(-1);
    if (last === undefined) return;
    page += 1;
    events += read.length;
    lastEventAtMs = Date.parse(last.at);
    for (const event of read) event.page = page;
    options.publish(read);
  }

  return {
    hint,
    mark,
    fresh: () => {
      if (closed) return Promise.reject(goingAway());
      const { promise, resolve, reject } = Promise.withResolvers<Mark>();
      const entry = { resolve, reject };
      waiting.push(entry);
      hint();
      // While it hears, it gets there; however much there is to read before.
      const impatient = setInterval(() => {
        if (db !== null) return;
        waiting = waiting.filter((other) => other !== entry);
        reject(new RequestError('RESYNC_REQUIRED', 'The gateway does not hear its database at the moment: try again.'));
      }, freshPatienceMs);
      impatient.unref();
      return promise.finally(() => clearInterval(impatient));
    },
    connect: async (connection) => {
      // A read of the session before, which fails by itself.
      await round;
      if (place !== null && !(await isRetained(connection, place.prev))) {
        options.interrupt(expired());
        place = null;
      }
      place ??= await currentPlace(connection);
      db = connection;
      await run(connection);
      hint();
    },
    disconnect: () => {
      db = null;
    },
    forget: () => {
      place = null;
    },
    close: () => {
      closed = true;
      db = null;
      clearInterval(backstop);
      if (timer !== null) clearTimeout(timer);
      for (const { reject } of waiting) reject(goingAway());
    },
    get events() {
      return events;
    },
    get lastEventAtMs() {
      return lastEventAtMs;
    },
  };
}
