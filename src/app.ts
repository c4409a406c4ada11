import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import { join } from 'node:path';
import type { LogEvent } from 'kysely';
import { type Authenticator, createAuthenticator } from './auth/authenticate.ts';
import type { Viewer } from './auth/context.ts';
import { ensureLocalToken } from './auth/local-token.ts';
import { createSnapshotRoom } from './chat/snapshot/http.ts';
import type { Config } from './config.ts';
import { type Database, openDatabase } from './db/database.ts';
import { migrate, migrationState, requireCurrent } from './db/migrator.ts';
import { checkRequirements, checkRuntime } from './db/requirements.ts';
import { startEmbedded } from './embedded/embedded.ts';
import { type Feed, openFeed } from './feed/feed.ts';
import { feedHealth } from './feed/log.ts';
import { schema } from './graphql/schema.ts';
import type { Logger } from './kernel/logger.ts';
import { attachMirror } from './mirror/attach.ts';
import { startLapses } from './registry/claim/lapses.ts';
import { startMaintenance } from './registry/maintenance/schedule.ts';
import { createAccess } from './server/access.ts';
import { type Connections, createConnections } from './server/connections.ts';
import { toClientError } from './server/errors.ts';
import { createReadiness } from './server/health.ts';
import { createHttpServer } from './server/http.ts';
import { listenOn } from './server/listening.ts';
import { createLive } from './server/live/live.ts';
import { createMetrics } from './server/metrics.ts';
import type { ServerContext } from './server/plugins.ts';
import { serveWebSockets, type WebSockets } from './server/websocket.ts';
import { createPipeline } from './server/yoga.ts';
import { createExportRoom, createImportRoom } from './sync/export/http.ts';

/** A running gateway. */
export interface App {
  /** Where it listens, e.g. `http://127.0.0.1:4000`. */
  url: string;
  /** The local admin token; null with a database that others administer. */
  token: string | null;
  database: Database;
  /** Ends it in order: no new work, requests in progress finish, sockets are told, connections close, the database stops. */
  stop(): Promise<void>;
}

export interface AppOptions {
  config: Config;
  log: Logger;
  /** False: refuse to start on a schema that is behind, instead of migrating it. */
  migrate?: boolean;
  /** Called after every statement of request work: tests count them. */
  onStatement?: (event: LogEvent) => void;
}

/** @throws StartupError for what the operator can mend; whatever was opened until then is closed again */
export async function startApp(options: AppOptions): Promise<App> {
  const opened = new AsyncDisposableStack();
  try {
    return await compose(options, opened);
  } catch (error) {
    await opened.disposeAsync();
    throw error;
  }
}

async function compose(
  { config, log, migrate: mayMigrate = true, onStatement }: AppOptions,
  opened: AsyncDisposableStack,
): Promise<App> {
  const urls = await findDatabase(config, log, opened);
  let sockets: WebSockets | null = null;
  const metrics = createMetrics({
    runtimePool: () => database.runtimePool,
    sockets: () => sockets?.open ?? 0,
    feed: () => feed.figures,
    live: () => live.figures,
    health: async () => feedHealth(database.runtimePool),
  });
  const database = openDatabase({
    ...urls,
    poolSize: config.TREELINE_POOL_SIZE,
    statementTimeoutMs: config.TREELINE_STATEMENT_TIMEOUT_MS,
    log,
    onStatement: (event) => {
      metrics.statement(event);
      onStatement?.(event);
    },
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
    log,
  });
  opened.defer(() => feed.close());
  const lapses = startLapses({ ownerPool: database.ownerPool, feed, log });
  opened.defer(() => lapses.stop());
  if (config.TREELINE_MAINTENANCE === 'on') {
    const maintenance = startMaintenance({
      ownerPool: database.ownerPool,
      feedRetentionDays: config.TREELINE_FEED_RETENTION_DAYS,
      log,
    });
    opened.defer(() => maintenance.stop());
  }

  const authenticator = createAuthenticator({ database, config, log });
  const authenticate = (authorization: string | null) => authenticator.authenticate(authorization);
  const makeContext = (viewer: Viewer, requestId: string = randomUUID()): ServerContext => ({
    viewer,
    db: database.runtime,
    database,
    sessions: authenticator,
    feed,
    log,
    requestId,
    operation: { kind: 'none', name: null },
    connection: null,
    caller: { gone: false },
  });
  const access = createAccess(config);
  const onError = (code: string) => metrics.error(code);
  const connections = createConnections();
  endConnectionsWithRights({ feed, connections, authenticator });
  const live = createLive({
    feed,
    toClientError: (error, { requestId }) => toClientError(error, { log, requestId, onError }),
    queueSize: config.TREELINE_STREAM_QUEUE,
    stallMs: config.TREELINE_STALL_MS,
    heldBytes: config.TREELINE_STREAM_BYTES,
    onExecuted: metrics.executed,
    onDelivered: metrics.delivered,
    onDropped: metrics.dropped,
  });
  opened.defer(async () => live.close());
  const yoga = createPipeline({ schema, onError, live, limits: limitsOf(config) });
  let stopping = false;
  const readiness = createReadiness({
    serving: async () => !stopping,
    database: async () => (await database.runtimePool.query('select 1')).rowCount === 1,
    migrations: async () => (await migrationState(database.ownerPool)).state === 'current',
    listening: async () => feed.listening,
  });
  const common = { yoga, access, connections, log, authenticate, metrics };
  const server = createHttpServer({
    ...common,
    makeContext,
    readiness,
    mostBodyBytes: config.TREELINE_MAX_BODY_BYTES,
    rooms: [
      createSnapshotRoom(config.TREELINE_STALL_MS),
      createExportRoom(config.TREELINE_STALL_MS),
      createImportRoom({ stallMs: config.TREELINE_STALL_MS, mostBytes: config.TREELINE_MAX_IMPORT_BYTES }),
    ],
  });
  sockets = serveWebSockets({
    ...common,
    server,
    makeContext,
    onError,
    mostMessageBytes: config.TREELINE_MAX_BODY_BYTES,
    onOperation: ({ operation }, outcome, seconds) =>
      metrics.request({ kind: operation.kind, transport: 'ws', outcome }, seconds),
  });

  const url = await listenOn(server, config, log);
  opened.defer(() => drain({ server, sockets, connections, patienceMs: config.TREELINE_SHUTDOWN_MS }));
  const addressFile = join(config.TREELINE_DATA_DIR, 'gateway');
  await mkdir(config.TREELINE_DATA_DIR, { recursive: true, mode: 0o700 });
  await writeFile(addressFile, `${url}\n`, { mode: 0o600 });
  opened.defer(async () => {
    // Another gateway of the same folder may have written its own since.
    const written = await readFile(addressFile, 'utf8').catch(() => '');
    if (written.trim() === url) await rm(addressFile, { force: true });
  });

  let stopped: Promise<void> | null = null;
  return {
    url,
    token,
    database,
    stop: () => {
      stopping = true;
      stopped ??= opened.disposeAsync();
      return stopped;
    },
  };
}

/** Whoever loses a right loses what was opened with it, whichever gateway took it away. */
function endConnectionsWithRights(parts: { feed: Feed; connections: Connections; authenticator: Authenticator }): void {
  parts.feed.tap(['tokens', 'principals'], (events) => {
    for (const { topic, entity_id: id } of events) {
      if (topic === 'tokens') {
        parts.authenticator.forgetToken(id);
        parts.connections.endToken(id);
      } else {
        parts.authenticator.forgetPrincipal(id);
        parts.connections.endPrincipal(id);
      }
    }
  });
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

function limitsOf(config: Config) {
  return {
    depth: config.TREELINE_MAX_DEPTH,
    cost: config.TREELINE_MAX_COST,
    aliases: config.TREELINE_MAX_ALIASES,
    tokens: config.TREELINE_MAX_TOKENS,
  };
}

/** No new connections; what is being answered may finish, within limits; sockets hear that the gateway goes away. */
async function drain(gateway: {
  server: Server;
  sockets: WebSockets | null;
  connections: Connections;
  patienceMs: number;
}): Promise<void> {
  const { server, sockets, patienceMs } = gateway;
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  gateway.connections.endAll();
  const farewell = sockets?.close();
  const impatient = setTimeout(() => server.closeAllConnections(), patienceMs);
  await Promise.all([closed, farewell]);
  clearTimeout(impatient);
}
