import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from '../kernel/logger.ts';

/**
 * One connection of its own that listens, made again with jittered backoff when it breaks. Never through a
 * transaction-mode pooler: LISTEN belongs to a session.
 */
export interface Listener {
  /** Resolves when it listens for the first time. */
  started: Promise<void>;
  readonly listening: boolean;
  close(): Promise<void>;
}

const channel = 'treeline_feed';
const firstDelayMs = 100;
const longestDelayMs = 5_000;

export function listen(options: {
  url: string;
  log: Logger;
  onNotification: (payload: string) => void;
  /** Listening again after a gap: what was said meanwhile was not heard. */
  onGap: () => void;
}): Listener {
  const { url, log } = options;
  const stop = new AbortController();
  const started = Promise.withResolvers<void>();
  let listening = false;
  let client: pg.Client | null = null;

  async function session(): Promise<void> {
    const connection = new pg.Client({ connectionString: url, application_name: 'treeline-listen', keepAlive: true });
    client = connection;
    const ended = new Promise<void>((resolve) => connection.once('end', resolve));
    connection.on('error', (error) => log.warn({ err: error }, 'the listening connection broke'));
    connection.on('notification', ({ payload }) => options.onNotification(payload ?? ''));
    try {
      await connection.connect();
      await connection.query(`listen ${channel}`);
      listening = true;
      started.resolve();
      await ended;
    } finally {
      listening = false;
      await connection.end().catch(() => undefined);
    }
  }

  async function run(): Promise<void> {
    let failures = 0;
    while (!stop.signal.aborted) {
      const wasUp = await session().then(
        () => true,
        (error: unknown) => {
          if (!stop.signal.aborted) log.warn({ err: error }, 'cannot listen to the database; trying again');
          return false;
        },
      );
      if (stop.signal.aborted) return;
      if (wasUp) options.onGap();
      failures = wasUp ? 0 : failures + 1;
      // Jitter: many gateways that lost one server do not all come back in the same instant.
      const waitMs = Math.min(longestDelayMs, firstDelayMs * 2 ** failures) * (0.5 + Math.random() / 2);
      await delay(waitMs, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  }

  const running = run();
  return {
    started: started.promise,
    get listening() {
      return listening;
    },
    close: async () => {
      stop.abort();
      started.resolve();
      await client?.end().catch(() => undefined);
      await running;
    },
  };
}
