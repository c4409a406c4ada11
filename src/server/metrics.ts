import type { LogEvent } from 'kysely';
import type pg from 'pg';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** What Prometheus reads from `/metrics`. A registry of its own, so that several gateways fit into one process. */
export interface Metrics {
  registry: Registry;
  request(labels: { kind: string; transport: 'http' | 'ws'; outcome: string }, seconds: number): void;
  error(code: string): void;
  statement(event: LogEvent): void;
}

export interface Measured {
  runtimePool: () => pg.Pool | null;
  sockets: () => number;
  subscribers: () => number;
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
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  gauge(
    'treeline_pool_connections',
    'Database connections for request work',
    () => measured.runtimePool()?.totalCount ?? 0,
  );
  gauge('treeline_pool_idle', 'Those of them that are idle', () => measured.runtimePool()?.idleCount ?? 0);
  gauge('treeline_pool_waiting', 'Requests that wait for one', () => measured.runtimePool()?.waitingCount ?? 0);
  gauge('treeline_websockets', 'Open WebSockets', measured.sockets);
  gauge('treeline_subscribers', 'Open subscriptions', measured.subscribers);
  return {
    registry,
    request: (labels, seconds) => requests.observe(labels, seconds),
    error: (code) => errors.inc({ code }),
    statement: (event) =>
      statements.observe({ outcome: event.level === 'error' ? 'error' : 'ok' }, event.queryDurationMillis / 1_000),
  };
}
