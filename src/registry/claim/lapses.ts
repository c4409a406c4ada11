import type { Pool } from 'pg';
import type { Feed } from '../../feed/feed.ts';
import type { Logger } from '../../kernel/logger.ts';

/**
 * Makes a lapse an event at the moment it happens. A claim that runs out is nobody's write, so every gateway waits for the
 * next one that will and writes it then; the database lets one of them do it. What ran out while no gateway ran is written
 * by the first to start.
 */
export interface Lapses {
  /** Waits for a look in progress. */
  stop(): Promise<void>;
}

/** After a failure, or when somebody is just then at a claim that is over. */
const againMs = 250;
const longestTimerMs = 2 ** 31 - 1;

export function startLapses({ ownerPool, feed, log }: { ownerPool: Pool; feed: Feed; log: Logger }): Lapses {
  let stopped = false;
  let timer: NodeJS.Timeout | null = null;
  let dueAtMs = Number.POSITIVE_INFINITY;
  let looking: Promise<void> = Promise.resolve();

  function waitUntil(atMs: number): void {
    if (stopped || atMs >= dueAtMs) return;
    dueAtMs = atMs;
    if (timer !== null) clearTimeout(timer);
    timer = setTimeout(look, Math.min(Math.max(atMs - Date.now(), 0), longestTimerMs));
    timer.unref();
  }

  function look(): void {
    dueAtMs = Number.POSITIVE_INFINITY;
    looking = looking.then(lapse).catch((error: unknown) => {
      log.warn({ err: error }, 'lapsed claims could not be ended; trying again');
      waitUntil(Date.now() + againMs);
    });
  }

  async function lapse(): Promise<void> {
    if (stopped) return;
    const { rows } = await ownerPool.query<{ lapsed: number; next_in_ms: number | null }>(
      `select lapsed, (extract(epoch from next_at - clock_timestamp()) * 1000)::float8 as next_in_ms from registry.lapse_claims()`,
    );
    const inMs = rows[0]?.next_in_ms ?? null;
    if (inMs !== null && Number.isFinite(inMs)) waitUntil(Date.now() + (inMs <= 0 ? againMs : Math.ceil(inMs)));
  }

  // Renewals are not told of one by one: the look at the old time finds the new one.
  const untap = feed.tap(['claims'], (events) => {
    for (const { data, at } of events) {
      const { after } = data as { after?: { agent_id: string | null; expires_at: string } };
      // By the database's clock alone: ours may be another.
      const leftMs = after?.agent_id == null ? Number.NaN : Date.parse(after.expires_at) - Date.parse(at);
      if (Number.isFinite(leftMs)) waitUntil(Date.now() + leftMs);
    }
  });
  look();
  return {
    stop: async () => {
      stopped = true;
      untap();
      if (timer !== null) clearTimeout(timer);
      await looking;
    },
  };
}
