import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import { join } from 'node:path';
import type { LogEvent } from 'kysely';
import { type Authenticator, createAuthenticator } from './auth/authenticate.ts';
import type { Viewer } from './auth/context.ts';
import { createSnapshotRoom } from './chat/snapshot/http.ts';
import type { Config } from './config.ts';
import type { Database } from './db/database.ts';
import { migrationState } from './db/migrator.ts';
import type { Feed } from './feed/feed.ts';
import { feedHealth } from './feed/log.ts';
import { openFoundation } from './foundation.ts';
import { schema } from './graphql/schema.ts';
import type { Logger } from './kernel/logger.ts';
import { createAccess } from './server/access.ts';
import { type Connections, createConnections } from './server/connections.ts';
import { toClientError } from './server/errors.ts';
import { createReadiness } from './server/health.ts';
import { createHttpServer } from './server/http.ts';
import { findTooDear, parseWithin } from './server/limits.ts';
import { listenOn } from './server/listening.ts';
import { createLive } from './server/live/live.ts';
import { createMetrics } from './server/metrics.ts';
import type { ServerContext } from './server/plugins.ts';
import { serveWebSockets, type WebSockets } from './server/websocket.ts';
import { createPipeline } from './server/yoga.ts';
import { createExportRoom, createImportRoom } from './sync/export/http.ts';
import { createTriggers } from './triggers/compose.ts';
import { measureTriggers } from './triggers/metrics.ts';
import { outboxHealth } from './triggers/outbox/health.ts';
import { createHooksRoom } from './triggers/route/http.ts';

/** A running gateway. */
export interface App {
  /** Where it listens, e.g. `http://127.0.0.1:4000`; empty where it serves nobody. */
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
  /** False: serve nobody, only run triggers. */
  serve?: boolean;
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
  { config, log, migrate: mayMigrate = true, serve = true, onStatement }: AppOptions,
  opened: AsyncDisposableStack,
): Promise<App> {
  let sockets: WebSockets | null = null;
  const metrics = createMetrics({
    runtimePool: () => database.runtimePool,
    sockets: () => sockets?.open ?? 0,
    feed: () => feed.figures,
    live: () => live.figures,
    health: async () => feedHealth(database.runtimePool),
  });
  const { database, feed, token } = await openFoundation({
    config,
    log,
    mayMigrate,
    opened,
    onStatement: (event) => {
      metrics.statement(event);
      onStatement?.(event);
    },
  });

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
    depth: 0,
    triggers: triggers.context,
  });
  const limits = limitsOf(config);
  const onError = (code: string) => metrics.error(code);
  const triggers = createTriggers({
    schema,
    database,
    feed,
    log,
    parse: parseWithin(limits),
    refuseCost: ({ document, operation }, variables) => findTooDear(limits, { schema, document, operation, variables }),
    makeContext: (viewer) => makeContext(viewer),
    toClientError: (error, { requestId }) => toClientError(error, { log, requestId, onError }),
    retryDefaults: {
      maxAttempts: config.TREELINE_TRIGGER_RETRY_MAX_ATTEMPTS,
      backoff: config.TREELINE_TRIGGER_RETRY_BACKOFF,
      baseMs: config.TREELINE_TRIGGER_RETRY_BASE_MS,
    },
    maxDepth: config.TREELINE_TRIGGER_MAX_DEPTH,
    leaseMs: config.TREELINE_DISPATCH_LEASE_MS,
    patienceMs: config.TREELINE_SHUTDOWN_MS,
    webhookAllow: config.TREELINE_WEBHOOK_ALLOW,
  });
  opened.defer(() => triggers.close());
  const dispatcherEvents = measureTriggers(metrics.registry, {
    health: () => outboxHealth(database.runtimePool),
    inFlight: () => dispatcher?.inFlight ?? 0,
  });
  const dispatcher = !serve || config.TREELINE_DISPATCH === 'on' ? triggers.startDispatcher(dispatcherEvents) : null;
  if (!serve) return { url: '', token: null, database, stop: stopOnce(opened) };

  const access = createAccess(config);
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
  const yoga = createPipeline({ schema, onError, live, limits });
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
      createHooksRoom({ db: database.runtime, feed, triggers: triggers.context }),
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

  const stop = stopOnce(opened);
  return {
    url,
    token,
    database,
    stop: () => {
      stopping = true;
      return stop();
    },
  };
}

function stopOnce(opened: AsyncDisposableStack): () => Promise<void> {
  let stopped: Promise<void> | null = null;
  return () => {
    stopped ??= opened.disposeAsync();
    return stopped;
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
