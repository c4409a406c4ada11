import pg from 'pg';
import type { Logger } from '../kernel/logger.ts';

/**
 * Tells the other gateways that there is something to read. The gateway's transactions do not notify themselves, because
 * commits with a NOTIFY queue on one lock of the whole cluster; instead one NOTIFY for many is sent after them, at most
 * one in `restMs`, on a connection of its own. A ring that is lost costs the others their backstop, never an event.
 */
export interface Doorbell {
  /** After a commit. Never fails, never waits. */
  ring(): void;
  /** The session that rings, so that its own notifications can be told from others; null before the first. */
  readonly processId: number | null;
  close(): Promise<void>;
}

const restMs = 10;
/** Where commits never stop, each ring costs them something, and they are heard of soon enough. */
const busyRestMs = 25;

export function createDoorbell({ url, log }: { url: string; log: Logger }): Doorbell {
  const pool = new pg.Pool({
    connectionString: url,
    max: 1,
    // It is there for as long as anybody writes.
    idleTimeoutMillis: 0,
    connectionTimeoutMillis: 5_000,
    query_timeout: 5_000,
    keepAlive: true,
    application_name: 'treeline-doorbell',
  });
  pool.on('error', (error) => log.debug({ err: error }, 'the doorbell lost its connection'));
  let processId: number | null = null;
  let wanted = false;
  let ringing: Promise<void> | null = null;
  let closed = false;

  async function ringOnce(): Promise<void> {
    wanted = false;
    try {
      const { rows } = await pool.query<{ pid: number }>(
        `select pg_backend_pid() as pid, pg_notify('treeline_feed', '')`,
      );
      processId = rows[0]?.pid ?? null;
    } catch (error) {
      log.debug({ err: error }, 'the doorbell did not ring');
    }
  }

  async function ringWhileWanted(): Promise<void> {
    for (let rings = 0; wanted && !closed; rings += 1) {
      const restNowMs = rings < 3 ? restMs : busyRestMs;
      const rest = new Promise<void>((resolve) => void setTimeout(resolve, restNowMs).unref());
      await ringOnce();
      await rest;
    }
    ringing = null;
  }

  return {
    ring() {
      wanted = true;
      if (!closed) ringing ??= ringWhileWanted();
    },
    get processId() {
      return processId;
    },
    close: async () => {
      closed = true;
      await ringing;
      await pool.end();
    },
  };
}
