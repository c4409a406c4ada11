import { join } from 'node:path';
import type { LogEvent } from 'kysely';
import { ensureLocalToken } from './auth/local-token.ts';
import type { Config } from './config.ts';
import { type Database, openDatabase } from './db/database.ts';
import { migrate, requireCurrent } from './db/migrator.ts';
import { checkRequirements, checkRuntime } from './db/requirements.ts';
import { startEmbedded } from './embedded/embedded.ts';
import { type Feed, openFeed } from './feed/feed.ts';
import type { Logger } from './kernel/logger.ts';
import { attachMirror } from './mirror/attach.ts';
import { startLapses } from './registry/claim/lapses.ts';
import { startMaintenance } from './registry/maintenance/schedule.ts';
import { triggerChannels } from './triggers/compose.ts';
import { triggerRetention } from './triggers/retention.ts';

/** What every process of Treeline stands on: a database with the current schema, its log, and what must be done now and then. */
export interface Foundation {
  database: Database;
  feed: Feed;
  /** The local admin token; null with a database that others administer. */
  token: string | null;
}

export interface FoundationOptions {
  config: Config;
  log: Logger;
  /** False: refuse a schema that is behind, instead of migrating it. */
  mayMigrate: boolean;
  /** What is opened is closed with it, the last first. */
  opened: AsyncDisposableStack;
  onStatement: (event: LogEvent) => void;
}

/** @throws StartupError for what the operator can mend */
export async function openFoundation(options: FoundationOptions): Promise<Foundation> {
  const { config, log, mayMigrate, opened, onStatement } = options;
  const urls = await findDatabase(config, log, opened);
  const database = openDatabase({
    ...urls,
    poolSize: config.TREELINE_POOL_SIZE,
    statementTimeoutMs: config.TREELINE_STATEMENT_TIMEOUT_MS,
    log,
    onStatement,
  });
  opened.defer(() => database.close());

  await checkRequirements(database.ownerPool);
  if (mayMigrate) await migrate(urls.ownerUrl, { log });
  else await requireCurrent(database.ownerPool);
  await checkRuntime(database.runtimePool);
  await attachMirror({ ownerPool: database.ownerPool, log, mayChange: mayMigrate });
  const token = await ensureLocalToken({
    ownerPool: database.ownerPool,
    file: config.DATABASE_URL === undefined ? join(config.TREELINE_DATA_DIR, 'token') : null,
    adminToken: config.TREELINE_ADMIN_TOKEN,
  });

  if (token === null) await hintAtFirstToken(database, log);

  const feed = await openFeed({
    url: config.DATABASE_LISTEN_URL ?? urls.ownerUrl,
    pool: database.runtimePool,
    ownerPool: database.ownerPool,
    signals: triggerChannels,
    log,
  });
  opened.defer(() => feed.close());
  const lapses = startLapses({ ownerPool: database.ownerPool, feed, log });
  opened.defer(() => lapses.stop());
  if (config.TREELINE_MAINTENANCE === 'on') {
    const maintenance = startMaintenance({
      ownerPool: database.ownerPool,
      feedRetentionDays: config.TREELINE_FEED_RETENTION_DAYS,
      furtherTasks: [
        triggerRetention({
          deadLetterDays: config.TREELINE_DEAD_LETTER_RETENTION_DAYS,
          abandonedDays: config.TREELINE_ABANDONED_EXECUTIONS_RETENTION_DAYS,
          executionDays: config.TREELINE_EXECUTIONS_RETENTION_DAYS,
        }),
      ],
      log,
    });
    opened.defer(() => maintenance.stop());
  }
  return { database, feed, token };
}

/** Without any token nobody can come in, and the error they would meet does not say so. */
async function hintAtFirstToken({ ownerPool }: Database, log: Logger): Promise<void> {
  const { rowCount } = await ownerPool.query('select from auth.tokens where revoked_at is null limit 1');
  if (rowCount === 0) {
    log.warn('there is no token yet; start once with TREELINE_ADMIN_TOKEN=tl_… to register the first administrator');
  }
}

interface DatabaseUrls {
  ownerUrl: string;
  runtimeUrl: string | undefined;
}

async function findDatabase(config: Config, log: Logger, opened: AsyncDisposableStack): Promise<DatabaseUrls> {
  if (config.DATABASE_URL !== undefined) {
    return { ownerUrl: config.DATABASE_URL, runtimeUrl: config.DATABASE_RUNTIME_URL };
  }
  const embedded = await startEmbedded({ dataDir: config.TREELINE_DATA_DIR, log });
  let stopping = false;
  opened.defer(() => {
    stopping = true;
    return embedded.stop();
  });
  void embedded.gone.then(() => {
    if (!stopping) log.fatal('the embedded PostgreSQL ended by itself; start the gateway again');
  });
  return { ownerUrl: embedded.ownerUrl, runtimeUrl: embedded.runtimeUrl };
}
