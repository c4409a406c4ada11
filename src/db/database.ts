import { Kysely, type LogEvent, PostgresDialect } from 'kysely';
import pg from 'pg';
import type { Logger } from '../kernel/logger.ts';
import type { DB } from './database.generated.ts';
import { createStatementNames, preparingClient } from './prepared.ts';

/** The connections of one gateway. Whoever opens it closes it. */
export interface Database {
  /** Request work, as `treeline_runtime`: owns nothing, bound by row-level security. */
  runtime: Kysely<DB>;
  runtimePool: pg.Pool;
  /** The role that owns the schema: migrations, maintenance and the dispatcher, never anything that a request's text decides. */
  ownerPool: pg.Pool;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  ownerUrl: string;
  /** A login of its own for request work; without it, the owner's login takes on the runtime role at connect. */
  runtimeUrl?: string | undefined;
  poolSize: number;
  statementTimeoutMs: number;
  log: Logger;
  /** Called after every statement of request work: for metrics, and for tests that count. */
  onStatement?: (event: LogEvent) => void;
}

export const runtimeRole = 'treeline_runtime';

const idleInTransactionTimeoutMs = 30_000;

/**
 * Opens the pools lazily: no connection is made before the first statement.
 *
 * Role, timeouts and time zone are start-up options of each connection because `SET ROLE` ignores the settings of the
 * role it takes on, and because a `SET` of our own would be one more round trip.
 */
export function openDatabase(options: DatabaseOptions): Database {
  const runtimePool = new pg.Pool({
    Client: preparingClient(createStatementNames()),
    connectionString: options.runtimeUrl ?? options.ownerUrl,
    max: options.poolSize,
    application_name: 'treeline',
    keepAlive: true,
    options: startupOptions({
      role: runtimeRole,
      statement_timeout: options.statementTimeoutMs,
      idle_in_transaction_session_timeout: idleInTransactionTimeoutMs,
      timezone: 'UTC',
      // A search or a report is too short for compiling to pay, and the estimate that decides it is often wrong.
      jit: 'off',
    }),
    types: { getTypeParser },
  });
  const ownerPool = new pg.Pool({
    connectionString: options.ownerUrl,
    // Maintenance may keep one for long; a dispatcher matches, claims and stores at the same time.
    max: 6,
    application_name: 'treeline-owner',
    keepAlive: true,
    options: startupOptions({ timezone: 'UTC', jit: 'off' }),
    idleTimeoutMillis: 10_000,
    types: { getTypeParser },
  });
  // An idle connection that breaks (server restart, network) is replaced on next use; unhandled it would end the process.
  for (const pool of [runtimePool, ownerPool]) {
    pool.on('error', (error) => options.log.warn({ err: error }, 'a database connection was lost'));
    // And one that breaks in use: its statement fails, and it says so once more to nobody in particular.
    pool.on('connect', (client) =>
      client.on('error', (error) => options.log.debug({ err: error }, 'a database connection broke')),
    );
  }
  const { onStatement } = options;
  const runtime = new Kysely<DB>({
    dialect: new PostgresDialect({ pool: runtimePool }),
    ...(onStatement === undefined ? {} : { log: onStatement }),
  });
  return {
    runtime,
    runtimePool,
    ownerPool,
    close: async () => {
      await Promise.all([runtime.destroy(), ownerPool.end()]);
      // Kysely ends the pool only if it has used it.
      if (!runtimePool.ending) await runtimePool.end();
    },
  };
}

function startupOptions(settings: Record<string, string | number>): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value}`)
    .join(' ');
}

const { TIMESTAMPTZ } = pg.types.builtins;

/**
 * Timestamps stay text, because a JavaScript date would cut microseconds off, and with them the order of rows.
 * Everything else is node-postgres' own: int8 and numeric as text, jsonb parsed.
 */
const getTypeParser: typeof pg.types.getTypeParser = ((oid: number, format?: 'text' | 'binary') =>
  oid === TIMESTAMPTZ && format !== 'binary'
    ? toRfc3339
    : pg.types.getTypeParser(oid, format as 'text')) as typeof pg.types.getTypeParser;

/** `2026-11-21 04:15:00.123456+00` (a session in UTC) as `2026-11-21T04:15:00.123456Z`. */
function toRfc3339(text: string): string {
  return text.replace(' ', 'T').replace(/\+00$/, 'Z');
}
