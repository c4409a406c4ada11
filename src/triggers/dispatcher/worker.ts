import { setMaxListeners } from 'node:events';
import pRetry from 'p-retry';
import pg, { type Pool } from 'pg';
import type { Feed } from '../../feed/feed.ts';
import type { Logger } from '../../kernel/logger.ts';
import type { Outcome } from '../execution/model.ts';
import { createHeld, createRate, createShares } from './load.ts';
import { startLoop } from './loop.ts';
import {
  type ClaimedRow,
  claimRows,
  type Ending,
  type FinishCounts,
  finishRows,
  giveBackRows,
  type Lane,
  letGo,
  nextDue,
  type Room,
  renewClaims,
} from './store.ts';

/**
 * Claims what is due, runs it, and says how it ended, each for many rows at once. What it has claimed at a time is bounded:
 * what hangs holds its own lane only, and what others could do meanwhile is left to them.
 */
export interface Worker {
  readonly inFlight: number;
  /** Claims nothing more, gives back what it has not begun, and waits for the rest, for so long; what runs still is ended. */
  stop(patienceMs: number): Promise<void>;
}

export interface WorkerOptions {
  /** As executions tell of it. */
  name: string;
  pool: Pool;
  feed: Feed;
  log: Logger;
  leaseMs: number;
  /** Operations that run at the same time: they share the connections of requests. */
  concurrency: number;
  attempt: (row: ClaimedRow, stop: AbortSignal) => Promise<Outcome>;
  onBegun: (row: ClaimedRow, waitedMs: number) => void;
  onEnded: (row: ClaimedRow, outcome: Outcome) => void;
  onFinished: (counts: FinishCounts) => void;
}

/**
 * Webhooks wait for others, not for us: many may be open. Whoever waits for a reply is one request of many; what a script waits
 * for must find a place whoever waits, and there is no more of it than of those.
 */
const places = { webhook: 64, reply: 32, nested: 512 } as const satisfies Partial<Record<Lane, number>>;
const lanes: readonly Lane[] = ['reply', 'nested', 'operation', 'webhook'];
/** Of payloads, as text: parsed they take several times as much. */
const mostHeldBytes = 16_000_000;
const mostStoringMs = 5_000;
/** Operations claimed ahead, so that the next ones are there when these are done: what is done in so long. */
const aheadMs = 100;
const mostAhead = 400;
const mostFinishedAtOnce = 500;
/** Whoever writes into the outbox says so, and what is put off is waited for: this only mends what was lost. */
const backstopMs = 5_000;
const againMs = 50;
const leastAtOnce = 32;
const outboxChannel = 'treeline_outbox';

interface Job {
  row: ClaimedRow;
  lane: Lane;
  claimedAt: number;
}

export function startWorker(options: WorkerOptions): Worker {
  const { name, pool, feed, log, leaseMs, concurrency } = options;
  const stop = new AbortController();
  // One listener for each attempt under way.
  setMaxListeners(0, stop.signal);
  const giveUpStoring = new AbortController();
  /** Claimed, and how they ended is not stored yet. */
  const jobs = new Set<Job>();
  /** Operations that were claimed and wait for their turn. */
  const ready: Job[] = [];
  /** Operations that run. */
  const running = createShares();
  const held = createHeld();
  let heldBytes = 0;
  /** In which there may be something. */
  const hopeful = new Set<Lane>(lanes);
  let lookedAt = performance.now();
  let timer: NodeJS.Timeout | null = null;
  let stopping = false;
  /** Executions that the stop ended. */
  const interrupted: string[] = [];
  let endings: { job: Job; outcome: Outcome }[] = [];
  let finishing: Promise<void> | null = null;
  let idle = Promise.withResolvers<void>();
  const rate = createRate();

  const claiming = startLoop({
    name: 'claiming from the outbox',
    log,
    restMs: 0,
    backstopMs: () => backstopMs,
    round: async () => {
      // By the backstop, whatever is hoped of any lane.
      if (performance.now() - lookedAt >= backstopMs) hopeAll();
      const rooms = roomsNow().filter(({ lane }) => hopeful.has(lane));
      if (rooms.length === 0) return;
      const mostBytes = mostHeldBytes - heldBytes;
      if (mostBytes <= 0) return;
      // Of lanes that have nothing nothing is asked again before there is word of it, which may come while this is asked, or one of
      // theirs ends.
      for (const { lane } of rooms) hopeful.delete(lane);
      const rows = await claimRows(pool, { worker: name, leaseMs, rooms, mostBytes }).catch((error: unknown) => {
        hopeAll();
        throw error;
      });
      for (const row of rows) {
        hopeful.add(row.lane);
        begin(row);
      }
      if (rows.length > 0) return claiming.wake();
      // Of what there is room for: what waits for room is looked at when one of its own ends.
      const dueInMs = await nextDue(pool, roomsNow());
      // What is due by now has become so since, or is being claimed by somebody else.
      if (dueInMs !== null) lookIn(dueInMs > 0 ? Math.ceil(dueInMs) : againMs);
    },
  });
  const unhear = feed.onSignal(outboxChannel, look);
  const renewing = startLoop({
    name: 'renewing leases',
    log,
    restMs: 0,
    backstopMs: () => leaseMs / 4,
    round: async () => {
      const executionIds = [...jobs].map(({ row }) => row.execution_id);
      if (executionIds.length > 0) await renewClaims(pool, { worker: name, executionIds, leaseMs });
    },
  });

  function hopeAll(): void {
    lookedAt = performance.now();
    for (const lane of lanes) hopeful.add(lane);
  }

  function look(): void {
    hopeAll();
    claiming.wake();
  }

  function lookIn(delayMs: number): void {
    if (timer !== null) clearTimeout(timer);
    timer = setTimeout(look, Math.min(delayMs, backstopMs));
    timer.unref();
  }

  function roomsNow(): Room[] {
    if (stopping) return [];
    const ahead = Math.min(Math.max(concurrency * 4, Math.ceil((rate.perSecond() * aheadMs) / 1_000)), mostAhead);
    // A statement for each of many little rows would cost more than they do.
    const least = { operation: Math.min(ahead / 2, leastAtOnce), webhook: 1, reply: 1, nested: 1 };
    return lanes.flatMap((lane) => {
      const most = lane === 'operation' ? ahead : places[lane];
      const room = most - held.of(lane);
      if (room < Math.max(least[lane], 1)) return [];
      // Half of it, of one registrant, and never more: there is room for others, whatever becomes of those.
      const mostEach = Math.ceil(most / 2);
      return [{ lane, most: room, mostEach, lefts: held.lefts(lane, mostEach, Math.min(least[lane], mostEach / 2)) }];
    });
  }

  function begin(row: ClaimedRow): void {
    const { lane } = row;
    const job = { row, lane, claimedAt: performance.now() };
    if (jobs.size === 0) idle = Promise.withResolvers<void>();
    jobs.add(job);
    heldBytes += row.payload_bytes;
    held.take(lane, row.principal_id);
    if (lane === 'operation') {
      ready.push(job);
      runReady();
    } else {
      void run(job);
    }
  }

  function release(job: Job): void {
    jobs.delete(job);
    heldBytes -= job.row.payload_bytes;
    held.free(job.lane, job.row.principal_id);
  }

  function runReady(): void {
    while (running.total < concurrency) {
      // Nobody has all places: what hangs is somebody's.
      const next = ready.findIndex(({ row }) => running.of(row.principal_id) < Math.ceil(concurrency / 2));
      if (next === -1) return;
      const [job] = ready.splice(next, 1) as [Job];
      running.take(job.row.principal_id);
      void run(job).finally(() => {
        running.free(job.row.principal_id);
        runReady();
      });
    }
  }

  async function run(job: Job): Promise<void> {
    const { row } = job;
    options.onBegun(row, row.late_ms + performance.now() - job.claimedAt);
    const outcome = await options.attempt(row, stop.signal).catch((error: unknown): Outcome => {
      log.error({ err: error, executionId: row.execution_id }, 'an attempt failed in a way that nobody foresaw');
      return {
        status: 'failed',
        error: 'Something went wrong here. It was logged.',
        permanent: false,
        retryAfterMs: null,
      };
    });
    if (stop.signal.aborted && outcome.status === 'failed' && !outcome.permanent) {
      // Not its own failure: it is begun again elsewhere, and whoever waits is told that it is lost.
      interrupted.push(row.execution_id);
      release(job);
      if (jobs.size === 0) idle.resolve();
      return;
    }
    options.onEnded(row, outcome);
    endings.push({ job, outcome });
    finishing ??= finishAll();
  }

  /** One statement at a time: what ends meanwhile goes with the next. */
  async function finishAll(): Promise<void> {
    // Whatever ends in the same turn of the loop goes along.
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (endings.length > 0) {
      const batch = endings.slice(0, mostFinishedAtOnce);
      endings = endings.slice(batch.length);
      const buried = await store(
        batch.map(({ job: { row }, outcome }) => ({ id: row.id, executionId: row.execution_id, outcome })),
      );
      for (const { job } of batch) {
        release(job);
        hopeful.add(job.lane);
        if (job.lane === 'operation') rate.count();
      }
      // Executions set off nothing, dead letters may.
      feed.ring(buried === 0);
      claiming.wake();
      if (jobs.size === 0) idle.resolve();
    }
    finishing = null;
  }

  /**
   * Until it is stored, or the leases have ended and others are at it.
   * @returns how many became dead letters
   */
  async function store(batch: readonly Ending[]): Promise<number> {
    try {
      const counts = await pRetry(() => finishRows(pool, name, batch), {
        retries: Number.POSITIVE_INFINITY,
        minTimeout: 50,
        maxTimeout: 2_000,
        maxRetryTime: leaseMs,
        signal: giveUpStoring.signal,
        shouldRetry: ({ error }) => !isUnstorable(error),
        onFailedAttempt: ({ error }) => log.warn({ err: error }, 'how attempts ended could not be stored'),
      });
      options.onFinished(counts);
      return counts.buried;
    } catch (error) {
      if (isUnstorable(error)) return storeApart(batch);
      log.error({ err: error, count: batch.length }, 'how attempts ended could not be stored: they are made again');
      return 0;
    }
  }

  /** What one of them holds must not keep the others from being stored, nor itself from having ended. */
  async function storeApart(batch: readonly Ending[]): Promise<number> {
    const [first, ...others] = batch;
    if (first !== undefined && others.length === 0) {
      log.error({ executionId: first.executionId }, 'how an attempt ended holds something that cannot be stored');
      return store([{ ...first, outcome: unstorable }]);
    }
    let buried = 0;
    for (const ending of batch) buried += await store([ending]);
    return buried;
  }

  return {
    get inFlight() {
      return jobs.size;
    },
    async stop(patienceMs) {
      stopping = true;
      unhear();
      if (timer !== null) clearTimeout(timer);
      await claiming.stop();
      const unbegun = ready.splice(0);
      for (const job of unbegun) release(job);
      if (unbegun.length > 0) {
        const ids = unbegun.map(({ row }) => row.id);
        await giveBackRows(pool, name, ids).catch((error: unknown) => {
          log.warn({ err: error }, 'what was not begun could not be given back: it is, when its lease ends');
        });
      }
      if (jobs.size > 0) {
        const impatient = setTimeout(() => stop.abort(), patienceMs);
        // What was ended is stored all the same; but not for ever, where the database is away.
        const hopeless = setTimeout(() => giveUpStoring.abort(), patienceMs + mostStoringMs);
        await idle.promise;
        clearTimeout(impatient);
        clearTimeout(hopeless);
      }
      await renewing.stop();
      await finishing;
      if (interrupted.length > 0) {
        await letGo(pool, name, interrupted).catch((error: unknown) => {
          log.warn({ err: error }, 'what the stop ended could not be let go: it is lost when its lease ends');
        });
      }
    },
  };
}

const unstorable: Outcome = {
  status: 'failed',
  error: 'How it ended holds something that cannot be stored.',
  permanent: true,
  retryAfterMs: null,
};

/** Class 22: the data itself is refused, and would be again. */
function isUnstorable(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code?.startsWith('22') === true;
}
