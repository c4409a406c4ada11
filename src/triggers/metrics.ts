import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { DispatcherEvents } from './dispatcher/dispatcher.ts';
import type { OutboxHealth } from './outbox/health.ts';

const waitBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300, 3_600];

/** What an operator looks at when something did not happen by itself. */
export function measureTriggers(
  registry: Registry,
  measured: { health: () => Promise<OutboxHealth>; inFlight: () => number },
): DispatcherEvents {
  const registers = [registry];
  measureOutbox(registry, measured.health);
  new Gauge({
    name: 'treeline_executions_in_flight',
    help: 'Executions of scripts under way in this process, or claimed for it',
    registers,
    collect() {
      this.set(measured.inFlight());
    },
  });
  const total = (name: string, help: string) => {
    const counter = new Counter({ name, help, registers });
    return (count: number) => counter.inc(count);
  };
  const events = total('treeline_trigger_events_total', 'Events of the log that were held against triggers');
  const matches = total('treeline_trigger_matches_total', 'Rows that triggers wrote into the outbox');
  const gaps = total(
    'treeline_trigger_gaps_total',
    'Times that the log was dropped before triggers had been matched to it',
  );
  const buried = total('treeline_dead_letters_total', 'Deliveries given up for good');
  const reclaimed = total('treeline_leases_lost_total', 'Executions whose worker stopped answering');
  const executions = new Counter({
    name: 'treeline_executions_total',
    help: 'Executions of scripts that ended, by kind of script and how',
    labelNames: ['kind', 'status'] as const,
    registers,
  });
  // Shown from the start, so that a rate can be taken of the first.
  for (const kind of ['operation', 'webhook'] as const) {
    for (const status of ['succeeded', 'failed', 'timed_out'] as const) executions.inc({ kind, status }, 0);
  }
  const waited = new Histogram({
    name: 'treeline_execution_wait_seconds',
    help: 'Time from when a script was due to its beginning',
    labelNames: ['kind'] as const,
    buckets: waitBuckets,
    registers,
  });
  return {
    matched: (eventCount, matchCount) => {
      events(eventCount);
      matches(matchCount);
    },
    gap: () => gaps(1),
    begun: (kind, waitedMs) => waited.observe({ kind }, Math.max(waitedMs, 0) / 1_000),
    ended: (kind, status) => executions.inc({ kind, status }),
    buried,
    reclaimed,
  };
}

/** Of the whole fleet, by one question for all gauges of a scrape. */
function measureOutbox(registry: Registry, health: () => Promise<OutboxHealth>): void {
  let asking: Promise<OutboxHealth | null> | null = null;
  const ask = () => {
    asking ??= health()
      .catch(() => null)
      .finally(() => {
        asking = null;
      });
    return asking;
  };
  const gauge = (name: string, help: string, read: (found: OutboxHealth) => number) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      async collect() {
        const found = await ask();
        this.set(found === null ? Number.NaN : read(found));
      },
    });
  gauge('treeline_outbox_due', 'Rows of the outbox that are due and not claimed', ({ due }) => due);
  gauge('treeline_outbox_claimed', 'Rows of the outbox that a worker is at', ({ claimed }) => claimed);
  gauge('treeline_outbox_waiting', 'Rows of the outbox that are put off', ({ waiting }) => waiting);
  gauge(
    'treeline_outbox_oldest_due_seconds',
    'For how long the oldest due row has been due',
    ({ oldestDueMs }) => oldestDueMs / 1_000,
  );
  gauge('treeline_trigger_candidates', 'Events of which a condition is still to be tested', ({ untested }) => untested);
  gauge('treeline_dead_letters_unresolved', 'Dead letters that nobody has seen to', ({ unresolved }) => unresolved);
}
