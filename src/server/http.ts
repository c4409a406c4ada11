import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type { Viewer } from '../auth/context.ts';
import { hasScope } from '../auth/context.ts';
import { BodyTooLarge, discardRest, endSlowBody, readBody } from '../kernel/body.ts';
import { RequestError, type RequestErrorCode } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { type Access, isLoopback, pathOf } from './access.ts';
import type { Connection, Connections, EndReason } from './connections.ts';
import { graphiqlPage } from './graphiql.ts';
import type { Readiness } from './health.ts';
import type { Metrics } from './metrics.ts';
import type { OperationRecord, ServerContext } from './plugins.ts';
import type { Yoga } from './yoga.ts';

export interface HttpOptions {
  yoga: Yoga;
  access: Access;
  metrics: Metrics;
  log: Logger;
  mostBodyBytes: number;
  /** Where something else than GraphQL is served. */
  rooms: readonly (Room | OpenRoom)[];
  authenticate: (authorization: string | null) => Promise<Viewer>;
  makeContext: (viewer: Viewer, requestId: string) => ServerContext;
  readiness: () => Promise<Readiness>;
  connections: Connections;
}

/** A place of its own among the paths; whoever comes has been asked who it is, and is sent away when its right to it ends. */
export interface Room {
  /** As it stands in logs. */
  name: string;
  /** The whole path; what its groups match is given as parameters. */
  path: RegExp;
  /** Bounds by itself how long the client may take; what is left of a body afterwards is thrown away. */
  visit(exchange: Exchange & { parameters: readonly string[]; context: ServerContext }): Promise<void>;
}

/** A place of its own for whoever comes without a token: it finds out by itself whether it may. */
export interface OpenRoom extends Omit<Room, 'visit'> {
  open: true;
  visit(exchange: Exchange & { parameters: readonly string[]; caller: { gone: boolean } }): Promise<void>;
}

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  requestId: string;
  /** The body may take longer to come than others may: somebody else bounds it. */
  takeTime: () => void;
}

const headersTimeoutMs = 20_000;
const bodyTimeoutMs = 120_000;
/** In rooms, which end what stalls: a large file on a thin line takes long. */
const longestBodyMs = 3_600_000;
const slowSeconds = 1;

/** The gateway's HTTP face: who may come in, which room is theirs, and what was noted of the visit. */
export function createHttpServer(options: HttpOptions): Server {
  const rooms: Record<string, (exchange: Exchange) => Promise<void>> = {
    '/graphql': (exchange) => graphql(exchange, options),
    '/health': async ({ response }) => sendJson(response, 200, { status: 'ok' }),
    '/ready': async ({ response }) => {
      const readiness = await options.readiness();
      sendJson(response, readiness.ready ? 200 : 503, readiness);
    },
    '/metrics': (exchange) => metrics(exchange, options),
    '/': async ({ response }) => void response.writeHead(302, { location: '/graphql' }).end(),
  };

  function roomOf(path: string): ((exchange: Exchange) => Promise<void>) | undefined {
    for (const room of options.rooms) {
      const parameters = room.path.exec(path)?.slice(1);
      if (parameters === undefined) continue;
      return (exchange) => ('open' in room ? enterOpen : enter)(room as never, { ...exchange, parameters }, options);
    }
    return rooms[path];
  }

  const server = createServer((request, response) => {
    const requestId = requestIdOf(request);
    const takeTime = endSlowBody(request, response, bodyTimeoutMs);
    const exchange = { request, response, requestId, takeTime };
    response.setHeader('x-request-id', requestId);
    response.setHeader('x-content-type-options', 'nosniff');
    response.setHeader('referrer-policy', 'no-referrer');
    const refusal = options.access.refusal(request);
    if (refusal !== null) return sendError(response, 403, 'FORBIDDEN', refusal);
    if (crossOrigin(exchange, options.access)) return;
    const room = roomOf(pathOf(request));
    if (room === undefined)
      return sendError(response, 404, 'BAD_USER_INPUT', 'There is nothing here. The API is at /graphql.');
    room(exchange).catch((error: unknown) => fail(exchange, error, options));
  });
  server.headersTimeout = headersTimeoutMs;
  server.requestTimeout = longestBodyMs;
  return server;
}

/** The client's own id where it is one, so that its logs and ours can be read together. */
function requestIdOf(request: IncomingMessage): string {
  const given = request.headers['x-request-id'];
  return typeof given === 'string' && /^[\w.:-]{1,100}$/.test(given) ? given : randomUUID();
}

/** Answers a browser's preflight; an origin that the operator did not name has been refused before. */
function crossOrigin({ request, response }: Exchange, access: Access): boolean {
  const { origin } = request.headers;
  if (origin === undefined || !access.allowsOrigin(origin)) return false;
  response.setHeader('access-control-allow-origin', origin);
  response.setHeader('vary', 'origin');
  response.setHeader('access-control-expose-headers', 'x-request-id');
  if (request.method !== 'OPTIONS') return false;
  response.setHeader('access-control-allow-methods', 'GET, POST, PUT');
  response.setHeader('access-control-allow-headers', 'authorization, content-type, accept, x-request-id');
  response.setHeader('access-control-max-age', '600');
  response.writeHead(204).end();
  return true;
}

/** What goes in or out of a room may take long, and ends with the right to it; a gateway that goes away lets it finish. */
function enter(
  room: Room,
  exchange: Exchange & { parameters: readonly string[] },
  options: HttpOptions,
): Promise<void> {
  const { request, response } = exchange;
  const act = async (context: ServerContext) => {
    const end = (reason: EndReason) => void (reason !== 'leaving' && response.destroy());
    openConnection(response, context.viewer, options, end).hold();
    exchange.takeTime();
    await room.visit({ ...exchange, context });
    discardRest(request);
  };
  return visit(exchange, options, act, room.name);
}

async function enterOpen(
  room: OpenRoom,
  exchange: Exchange & { parameters: readonly string[] },
  options: HttpOptions,
): Promise<void> {
  const startedAt = performance.now();
  const caller = { gone: false };
  exchange.response.once('close', () => {
    caller.gone = true;
    note(exchange, { operation: { kind: 'none', name: room.name }, handle: null }, startedAt, options);
  });
  await room.visit({ ...exchange, caller });
  discardRest(exchange.request);
}

function openConnection(
  response: ServerResponse,
  viewer: Viewer,
  { connections }: HttpOptions,
  end: (reason: EndReason) => void,
): Connection {
  const connection = connections.open(viewer, end);
  response.once('close', () => connection.release());
  // Gone while it was authenticated: its close has been and will not come again.
  if (response.destroyed) connection.release();
  return connection;
}

async function graphql(exchange: Exchange, options: HttpOptions): Promise<void> {
  const { request, response } = exchange;
  if (request.method === 'GET' && wantsPage(request)) return sendGraphiql(exchange);
  await visit(exchange, options, async (context) => {
    // Held only by a stream of events, which may outlive the token that opened it and ends with it, like a socket.
    context.connection = openConnection(response, context.viewer, options, () => response.destroy());
    if (request.method === 'POST') {
      // Yoga takes a body that is already there, and so never sees more than was counted here.
      const text = await readBody(request, options.mostBodyBytes);
      (request as IncomingMessage & { body?: unknown }).body = bodyForYoga(text, request.headers['content-type']);
    }
    await options.yoga(request, response, context);
  });
}

/** GraphQL over HTTP knows four. */
const mostKeys = 10;

/**
 * Not as text: Yoga's adapter asks a body for its keys, and a text has one for each character, which takes seconds for a
 * few megabytes. What is no JSON object is for Yoga to refuse.
 */
function bodyForYoga(text: string, type = ''): unknown {
  try {
    const parsed: unknown = type.includes('json') ? JSON.parse(text) : null;
    // One of thousands of items or keys is refused for its first: nobody need count them.
    if (Array.isArray(parsed)) return Readable.from(['[]']);
    if (typeof parsed === 'object' && parsed !== null) {
      const some = Object.entries(parsed).slice(0, mostKeys);
      if (some.length > 0) return some.length < mostKeys ? parsed : Object.fromEntries(some);
    }
  } catch {
    // Yoga says so.
  }
  return Readable.from([Buffer.from(text)]);
}

/** Whoever comes in says who it is, and its visit is noted when it is over. */
async function visit(
  exchange: Exchange,
  options: HttpOptions,
  act: (context: ServerContext) => Promise<void>,
  name: string | null = null,
): Promise<void> {
  const { request, response, requestId } = exchange;
  const startedAt = performance.now();
  let context: ServerContext | null = null;
  response.once('close', () => {
    if (context !== null) context.caller.gone = true;
    const operation = context?.operation ?? { kind: 'none' as const, name: null };
    note(exchange, { operation, handle: context?.viewer.handle ?? null }, startedAt, options);
  });
  const viewer = await options.authenticate(request.headers.authorization ?? null);
  context = options.makeContext(viewer, requestId);
  context.operation.name = name;
  await act(context);
}

/** A browser that opens the address; GraphiQL keeps its query in it, so a reload names one. */
function wantsPage(request: IncomingMessage): boolean {
  return (request.headers.accept ?? '').includes('text/html');
}

async function sendGraphiql({ request, response }: Exchange): Promise<void> {
  const page = await graphiqlPage();
  const headers = {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': page.contentSecurityPolicy,
    'cache-control': 'no-cache',
    etag: page.etag,
    vary: 'accept, accept-encoding',
  };
  if (request.headers['if-none-match'] === page.etag) return void response.writeHead(304, headers).end();
  const packed = (request.headers['accept-encoding'] ?? '').includes('gzip');
  const body = packed ? page.gzipped : page.html;
  response.writeHead(200, {
    ...headers,
    ...(packed ? { 'content-encoding': 'gzip' } : {}),
    'content-length': body.length,
  });
  response.end(body);
}

async function metrics({ request, response }: Exchange, options: HttpOptions): Promise<void> {
  if (!isLoopback(request) || request.headers.authorization !== undefined) {
    const viewer = await options.authenticate(request.headers.authorization ?? null);
    if (!hasScope(viewer, 'maintenance')) throw new RequestError('FORBIDDEN', 'This needs the scope maintenance.');
  }
  const { registry } = options.metrics;
  response.writeHead(200, { 'content-type': registry.contentType }).end(await registry.metrics());
}

function note(
  { response, requestId }: Exchange,
  { operation, handle }: { operation: OperationRecord; handle: string | null },
  startedAt: number,
  options: HttpOptions,
): void {
  const seconds = (performance.now() - startedAt) / 1_000;
  const outcome = response.writableFinished ? (response.statusCode < 400 ? 'ok' : 'refused') : 'aborted';
  options.metrics.request({ kind: operation.kind, transport: 'http', outcome }, seconds);
  // What goes well is many lines a second and of interest to whoever looks for it; what does not is to be seen.
  const level = outcome === 'ok' && seconds < slowSeconds ? 'debug' : 'info';
  options.log[level](
    {
      requestId,
      operation: operation.name,
      kind: operation.kind,
      status: response.statusCode,
      durationMs: Math.round(seconds * 10_000) / 10,
      principal: handle ?? undefined,
    },
    'request',
  );
}

const statusOf: Partial<Record<RequestErrorCode, number>> = {
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  LIMIT_EXCEEDED: 503,
  RESYNC_REQUIRED: 503,
  INTERNAL: 500,
};

function fail(
  { request, response, requestId }: Exchange,
  error: unknown,
  { log, metrics: { error: count } }: HttpOptions,
): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  if (error instanceof BodyTooLarge) {
    count('LIMIT_EXCEEDED');
    sendError(response, 413, 'LIMIT_EXCEEDED', 'The request is larger than is accepted: send less at once.');
    discardRest(request);
    return;
  }
  if (error instanceof RequestError) {
    count(error.code);
    if (error.code === 'UNAUTHENTICATED') response.setHeader('www-authenticate', 'Bearer');
    sendError(response, statusOf[error.code] ?? 400, error.code, error.message);
    discardRest(request);
    return;
  }
  count('INTERNAL');
  log.error({ err: error, requestId }, 'unexpected error');
  sendError(response, 500, 'INTERNAL', 'Something went wrong here. It was logged.');
}

/** Errors before GraphQL begins look like GraphQL errors all the same: clients read one shape. */
function sendError(response: ServerResponse, status: number, code: RequestErrorCode, message: string): void {
  sendJson(response, status, { errors: [{ message, extensions: { code } }] });
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body));
}
