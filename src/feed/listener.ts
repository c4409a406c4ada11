import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from '../kernel/logger.ts';

/**
 * One connection of its own that listens and reads, made again with jittered backoff when it breaks. Never through a
 * transaction-mode pooler: LISTEN belongs to a session.
 */
export interface Listener {
  /** Resolves when it listens and has caught up for the first time. */
  started: Promise<void>;
  /** Whether changes are being heard, and what was missed while they were not has been read. */
  readonly listening: boolean;
  readonly reconnects: number;
  /** Why it did not listen when it last tried. */
  readonly lastError: unknown;
  /** Gives the connection up and makes a new one: it is not to be trusted any more. */
  drop(): void;
  close(): Promise<void>;
}

export interface ListenerOptions {
  url: string;
  log: Logger;
  /** Something may be there to read; from which session the word came. */
  onHint: (processId: number) => void;
  /** What else to listen to, on the same connection. */
  signals: readonly string[];
  onSignal: (channel: string, payload: string) => void;
  /** Listens from here on; resolves when everything from before has been read. A failure is that of the connection. */
  onSession: (connection: pg.Client) => Promise<void>;
  onSessionEnd: () => void;
}

const channel = 'treeline_feed';
const firstDelayMs = 100;
const longestDelayMs = 5_000;
const connectTimeoutMs = 10_000;
/** A half-open connection answers nothing: the reader asks at least once a second, so this is noticed. */
const queryTimeoutMs = 30_000;

export function listen(options: ListenerOptions): Listener {
  const { log } = options;
  const stop = new AbortController();
  const started = Promise.withResolvers<void>();
  let lastError: unknown = null;
  let listening = false;
  let sessions = 0;
  let drop: () => void = () => {};

  async function session(): Promise<void> {
    const connection = new pg.Client({
      connectionString: options.url,
      application_name: 'treeline-listen',
      keepAlive: true,
      connectionTimeoutMillis: connectTimeoutMs,
      query_timeout: queryTimeoutMs,
      options: '-c timezone=UTC -c jit=off',
    });
    const ended = Promise.withResolvers<void>();
    drop = () => ended.resolve();
    connection.once('end', ended.resolve);
    connection.on('error', (error) => {
      log.warn({ err: error }, 'the listening connection broke');
      ended.resolve();
    });
    connection.on('notification', ({ channel: heardOn, processId, payload = '' }) =>
      heardOn === channel ? options.onHint(processId) : options.onSignal(heardOn, payload),
    );
    try {
      await connection.connect();
      await connection.query([channel, ...options.signals].map((name) => `listen ${name}`).join('; '));
      // Whatever was committed before LISTEN is read now, and whatever is committed from now on is heard of.
      await Promise.race([
        options.onSession(connection),
        ended.promise.then(() => Promise.reject(new Error('it ended'))),
      ]);
      listening = true;
      sessions += 1;
      started.resolve();
      await ended.promise;
    } finally {
      listening = false;
      options.onSessionEnd();
      // A connection that hangs would not say goodbye either.
      await Promise.race([connection.end().catch(() => undefined), delay(1_000, undefined, { ref: false })]);
    }
  }

  async function run(): Promise<void> {
    let failures = 0;
    while (!stop.signal.aborted) {
      const wasUp = await session().then(
        () => true,
        (error: unknown) => {
          lastError = error;
          if (!stop.signal.aborted) log.warn({ err: error }, 'cannot listen to the database; trying again');
          return false;
        },
      );
      if (stop.signal.aborted) return;
      failures = wasUp ? 0 : failures + 1;
      // Jitter: many gateways that lost one server do not all come back in the same instant.
      const waitMs = Math.min(longestDelayMs, firstDelayMs * 2 ** failures) * (0.5 + Math.random() / 2);
      await delay(waitMs, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  }

  const running = run();
  return {
    started: started.promise,
    get lastError() {
      return lastError;
    },
    get listening() {
      return listening;
    },
    get reconnects() {
      return Math.max(0, sessions - 1);
    },
    drop: () => drop(),
    close: async () => {
      stop.abort();
      started.resolve();
      drop();
      await running;
    },
  };
}
