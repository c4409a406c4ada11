import type { LogEvent } from 'kysely';
import type pg from 'pg';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { FeedFigures } from '../feed/feed.ts';
import type { FeedHealth } from '../feed/log.ts';
import type { LiveFigures } from './live/live.ts';

/** What Prometheus reads from `/metrics`. A registry of its own, so that several gateways fit into one process. */
export interface Metrics {
  registry: Registry;
  request(labels: { kind: string; transport: 'http' | 'ws'; outcome: string }, seconds: number): void;
  error(code: string): void;
  statement(event: LogEvent): void;
  /** A subscription was executed for one event, for however many subscribers. */
  executed(): void;
  delivered(latencyMs: number, subscribers: number): void;
  dropped(reason: 'resync' | 'stalled'): void;
}

export interface Measured {
  runtimePool: () => pg.Pool | null;
  sockets: () => number;
  feed: () => FeedFigures;
  live: () => LiveFigures;
  /** What only the database knows. */
  health: () => Promise<FeedHealth>;
}

const secondsBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export function createMetrics(measured: Measured): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const requests = new Histogram({
    name: 'treeline_request_duration_seconds',
    help: 'Time from the first byte of a request to the last of its answer, by kind of operation',
    labelNames: ['kind', 'transport', 'outcome'] as const,
    buckets: secondsBuckets,
    registers,
  });
  const errors = new Counter({
    name: 'treeline_errors_total',
    help: 'GraphQL errors sent, by code',
    labelNames: ['code'] as const,
    registers,
  });
  const statements = new Histogram({
    name: 'treeline_statement_duration_seconds',
    help: 'Time of database statements of request work',
    labelNames: ['outcome'] as const,
    buckets: secondsBuckets,
    registers,
  });
  const gauge = gaugesOf(registry);
  gauge(
    'treeline_pool_connections',
    'Database connections for request work',
    () => measured.runtimePool()?.totalCount ?? 0,
  );
  gauge('treeline_pool_idle', 'Those of them that are idle', () => measured.runtimePool()?.idleCount ?? 0);
  gauge('treeline_pool_waiting', 'Requests that wait for one', () => measured.runtimePool()?.waitingCount ?? 0);
  gauge('treeline_websockets', 'Open WebSockets', measured.sockets);
  return {
    registry,
    ...measureFeed(registry, measured),
    request: (labels, seconds) => requests.observe(labels, seconds),
    error: (code) => errors.inc({ code }),
    statement: (event) =>
      statements.observe({ outcome: event.level === 'error' ? 'error' : 'ok' }, event.queryDurationMillis / 1_000),
  };
}

/** Gauges that are read when they are asked for. */
function gaugesOf(registry: Registry) {
  return (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
}

const latencyBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60];

/** Figures of the live feed: what an operator looks at when somebody says that a dashboard stands still. */
function measureFeed(registry: Registry, measured: Measured): Pick<Metrics, 'executed' | 'delivered' | 'dropped'> {
  const registers = [registry];
  const gauge = gaugesOf(registry);
  const total = (name: string, help: string, read: () => number) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  gauge('treeline_subscribers', 'Open subscriptions', () => measured.live().subscribers);
  total('treeline_subscriptions_total', 'Subscriptions that were begun', () => measured.live().begun);
  gauge('treeline_subscription_groups', 'Different subscriptions among them', () => measured.live().groups);
  gauge('treeline_subscriber_queue_depth', 'Updates that wait for clients', () => measured.live().queued);
  gauge('treeline_subscriber_queue_bytes', 'What waits for clients', () => measured.live().queuedBytes);
  gauge(
    'treeline_subscriber_queue_depth_max',
    'Updates that wait for the slowest client',
    () => measured.live().longestQueue,
  );
  gauge('treeline_feed_queue_depth', 'Events that wait for their execution', () => measured.feed().queued);
  total(
    'treeline_feed_overflows_total',
    'Executions that fell too far behind the log',
    () => measured.feed().overflows,
  );
  total('treeline_feed_events_total', 'Events read from the log', () => measured.feed().events);
  total(
    'treeline_listener_reconnects_total',
    'Times that the listening connection was made again',
    () => measured.feed().reconnects,
  );
  let asking: Promise<FeedHealth | null> | null = null;
  /** Both gauges of one scrape share one question. */
  const health = () => {
    asking ??= measured
      .health()
      .catch(() => null)
      .finally(() => {
        asking = null;
      });
    return asking;
  };
  new Gauge({
    name: 'treeline_oldest_writing_transaction_seconds',
    help: 'For how long the oldest open writing transaction has been open: its events wait for it',
    registers,
    async collect() {
      this.set((await health())?.oldest_writer_seconds ?? Number.NaN);
    },
  });
  new Gauge({
    name: 'treeline_feed_last_event_age_seconds',
    help: 'Time since the last event was written; NaN while the log is empty',
    registers,
    async collect() {
      const at = (await health())?.last_event_at;
      this.set(at == null ? Number.NaN : (Date.now() - Date.parse(at)) / 1_000);
    },
  });
  const executions = new Counter({
    name: 'treeline_subscription_executions_total',
    help: 'Executions of subscriptions, each for all who share it',
    registers,
  });
  const deliveries = new Counter({
    name: 'treeline_deliveries_total',
    help: 'Events handed to subscribers',
    registers,
  });
  const latency = new Histogram({
    name: 'treeline_delivery_latency_seconds',
    help: 'Time from the writing of an event, before its commit, to its being handed to those who watch',
    buckets: latencyBuckets,
    registers,
  });
  const dropped = new Counter({
    name: 'treeline_streams_dropped_total',
    help: 'Streams ended because their client did not keep up',
    labelNames: ['reason'] as const,
    registers,
  });
  // Shown from the start, so that a rate can be taken of the first.
  for (const reason of ['resync', 'stalled'] as const) dropped.inc({ reason }, 0);
  return {
    executed: () => executions.inc(),
    delivered: (latencyMs, subscribers) => {
      latency.observe(Math.max(latencyMs, 0) / 1_000);
      deliveries.inc(subscribers);
    },
    dropped: (reason) => dropped.inc({ reason }),
  };
}
