import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Pool } from 'pg';
import type { Feed } from '../../feed/feed.ts';
import type { Logger } from '../../kernel/logger.ts';
import type { Outcome } from '../execution/model.ts';
import type { Expressions } from '../expression/expressions.ts';
import type { Webhooks } from '../webhook/webhook.ts';
import { attempt } from './attempt.ts';
import { startClock } from './clock.ts';
import { startConditions } from './conditions.ts';
import { startLoop } from './loop.ts';
import { startMatcher } from './matcher.ts';
import type { Operations } from './operation.ts';
import { nextExpiry, reclaimRows, sweepReplies } from './store.ts';
import { startWorker } from './worker.ts';

/**
 * What makes things happen by themselves: finds what sets off triggers, fires what is due, runs what waits in the outbox, and
 * takes back what a dead worker had. Part of every gateway, and alone as `treeline dispatch`; any number share the work
 * through the database and nothing else.
 */
export interface Dispatcher {
  /** Executions under way here. */
  readonly inFlight: number;
  stop(): Promise<void>;
}

/** What a dispatcher tells of its work, for figures. */
export interface DispatcherEvents {
  matched(events: number, matches: number): void;
  /** The log was dropped before it was matched. */
  gap(): void;
  begun(kind: string, waitedMs: number): void;
  ended(kind: string, status: Outcome['status']): void;
  buried(count: number): void;
  reclaimed(count: number): void;
}

export interface DispatcherOptions {
  /** As the role that owns the schema. */
  pool: Pool;
  feed: Feed;
  log: Logger;
  operations: Operations;
  webhooks: Webhooks;
  /** For templates. */
  expressions: Expressions;
  /** Apart from those, so that how long a condition takes is its own affair. */
  conditions: Expressions;
  maxDepth: number;
  /** How long what a worker claimed is left to it without a sign of life, in milliseconds. */
  leaseMs: number;
  concurrency: number;
  /** How long what runs may take to end at a stop, in milliseconds. */
  patienceMs: number;
  events: DispatcherEvents;
}

const sweepEveryMs = 30_000;

export function startDispatcher(options: DispatcherOptions): Dispatcher {
  const { pool, feed, log, leaseMs, events } = options;
  const matcher = startMatcher({
    ...options,
    onPage: (page) => {
      events.matched(page.event_count, page.matched_count);
      if (page.outcome === 'gap') events.gap();
    },
  });
  const conditions = startConditions({
    ...options,
    expressions: options.conditions,
    onSettled: (written) => events.matched(0, written),
  });
  const clock = startClock(options);
  const worker = startWorker({
    ...options,
    name: `${hostname()}:${process.pid}:${randomBytes(4).toString('hex')}`,
    attempt: (row, stop) => attempt(row, options, stop),
    onBegun: (row, waitedMs) => events.begun(row.kind ?? 'operation', waitedMs),
    onEnded: (row, outcome) => events.ended(row.kind ?? 'operation', outcome.status),
    onFinished: ({ buried }) => events.buried(buried),
  });
  const reclaiming = startLoop({
    name: 'taking back from dead workers',
    log,
    restMs: 10,
    backstopMs: () => leaseMs / 2,
    round: async () => {
      const count = await reclaimRows(pool);
      if (count > 0) {
        events.reclaimed(count);
        log.warn({ count }, 'workers stopped answering: what they were at is begun again');
        feed.ring();
      }
      const expiresInMs = await nextExpiry(pool);
      if (expiresInMs !== null) reclaiming.wakeIn(Math.max(Math.ceil(expiresInMs), 10));
    },
  });
  const sweeping = startLoop({
    name: 'keeping what nobody came for',
    log,
    restMs: sweepEveryMs,
    backstopMs: () => sweepEveryMs,
    round: () => sweepReplies(pool),
  });

  return {
    get inFlight() {
      return worker.inFlight;
    },
    stop: async () => {
      // What is matched or due from here on is for others; none of them waits for another.
      await Promise.all([
        matcher.stop(),
        conditions.stop(),
        clock.stop(),
        reclaiming.stop(),
        sweeping.stop(),
        worker.stop(options.patienceMs),
      ]);
    },
  };
}
