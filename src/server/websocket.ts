import type { Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ExecutionArgs, GraphQLError } from 'graphql';
import {
  CloseCode,
  type ConnectionInitMessage,
  GRAPHQL_TRANSPORT_WS_PROTOCOL,
  type SubscribePayload,
} from 'graphql-ws';
import { type Extra, useServer } from 'graphql-ws/use/ws';
import { WebSocket, WebSocketServer } from 'ws';
import type { Viewer } from '../auth/context.ts';
import { RequestError, type RequestErrorCode } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Access } from './access.ts';
import { toClientError } from './errors.ts';
import type { ServerContext } from './plugins.ts';
import type { Yoga } from './yoga.ts';

/**
 * graphql-ws over the pipeline that HTTP uses, so that authentication, limits and masking are the same. What goes wrong
 * with one operation is an error message to that operation; only what concerns the connection closes the socket:
 * 4403 for a refused or expired token, with which a client may come back with a new one.
 */
export interface WebSockets {
  readonly open: number;
  /** Tells clients that this gateway goes away (1001), so that they reconnect elsewhere. */
  close(): Promise<void>;
}

export interface WebSocketOptions {
  server: Server;
  yoga: Yoga;
  access: Access;
  log: Logger;
  mostMessageBytes: number;
  authenticate: (authorization: string | null) => Promise<Viewer>;
  makeContext: (viewer: Viewer) => ServerContext;
  onError: (code: RequestErrorCode) => void;
  onOperation: (context: ServerContext, outcome: string, seconds: number) => void;
}

const mostOperationsPerSocket = 100;
const mostSocketsPerPrincipal = 1_000;
const initTimeoutMs = 10_000;
const farewellMs = 1_000;

type Held = Extra & { authorization?: string; viewer?: Viewer; expiry?: NodeJS.Timeout };

interface Prepared extends ExecutionArgs {
  contextValue: ServerContext;
  run: { execute: (args: ExecutionArgs) => never; subscribe: (args: ExecutionArgs) => never };
}

export function serveWebSockets(options: WebSocketOptions): WebSockets {
  const { yoga, access } = options;
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: options.mostMessageBytes,
    handleProtocols: (protocols) =>
      protocols.has(GRAPHQL_TRANSPORT_WS_PROTOCOL) ? GRAPHQL_TRANSPORT_WS_PROTOCOL : false,
  });
  const perPrincipal = new Map<string, number>();

  options.server.on('upgrade', (request, socket, head) => {
    if (new URL(request.url ?? '/', 'http://localhost').pathname !== '/graphql')
      return refuse(socket, 404, 'Not Found');
    const refusal = access.refusal(request);
    if (refusal !== null) return refuse(socket, 403, refusal);
    sockets.handleUpgrade(request, socket, head, (webSocket) => sockets.emit('connection', webSocket, request));
  });

  function count(viewer: Viewer, change: 1 | -1): number {
    const now = (perPrincipal.get(viewer.principalId) ?? 0) + change;
    if (now === 0) perPrincipal.delete(viewer.principalId);
    else perPrincipal.set(viewer.principalId, now);
    return now;
  }

  function closeWhenExpired(held: Held, viewer: Viewer): void {
    if (viewer.expiresAtMs === null) return;
    // Timers hold at most 2^31 - 1 ms, some 24 days: longer ones are looked at again.
    const waitMs = Math.min(viewer.expiresAtMs - Date.now(), 2 ** 31 - 1);
    held.expiry = setTimeout(
      () => {
        if ((viewer.expiresAtMs ?? 0) <= Date.now()) held.socket.close(CloseCode.Forbidden, 'The token has expired');
        else closeWhenExpired(held, viewer);
      },
      Math.max(waitMs, 0),
    );
    held.expiry.unref();
  }

  const protocol = useServer<ConnectionInitMessage['payload'], Partial<Held>>(
    {
      connectionInitWaitTimeout: initTimeoutMs,
      onConnect: async ({ connectionParams, extra }) => {
        const held = extra as Held;
        try {
          const authorization = readAuthorization(connectionParams);
          const viewer = await options.authenticate(authorization);
          held.authorization = authorization ?? '';
          held.viewer = viewer;
          // Gone while it was authenticated: its close has been and will not come again.
          if (held.socket.readyState !== WebSocket.OPEN) return false;
          held.socket.once('close', () => {
            clearTimeout(held.expiry);
            count(viewer, -1);
          });
          if (count(viewer, 1) > mostSocketsPerPrincipal) return false;
          closeWhenExpired(held, viewer);
          return true;
        } catch (error) {
          if (error instanceof RequestError) return false;
          options.log.error({ err: error }, 'a WebSocket could not be authenticated');
          return false;
        }
      },
      onSubscribe: ({ extra, subscriptions }, _id, payload) =>
        prepare(extra as Held, payload, Object.keys(subscriptions).length),
      execute: (args) => (args as Prepared).run.execute(args),
      subscribe: (args) => (args as Prepared).run.subscribe(args),
    },
    sockets,
  );

  /** Never throws: graphql-ws answers a throw by closing the socket, and with it everybody else's operations. */
  async function prepare(held: Held, payload: SubscribePayload, open: number): Promise<Prepared | GraphQLError[]> {
    let context: ServerContext | null = null;
    const startedAt = performance.now();
    try {
      // Again for each operation: a token that was revoked meanwhile opens nothing new.
      context = options.makeContext(await options.authenticate(held.authorization ?? null));
      if (open > mostOperationsPerSocket) {
        throw new RequestError(
          'LIMIT_EXCEEDED',
          `A socket carries at most ${mostOperationsPerSocket} operations at once.`,
        );
      }
      const { schema, parse, validate, contextFactory, execute, subscribe } = yoga.getEnveloped(context as never);
      const document = parse(payload.query);
      const invalid = validate(schema, document) as readonly GraphQLError[];
      if (invalid.length > 0) return invalid.map((error) => clientError(error, context));
      const contextValue = (await contextFactory()) as ServerContext;
      return {
        schema,
        document,
        contextValue,
        variableValues: payload.variables ?? {},
        operationName: payload.operationName ?? null,
        run: { execute: execute as never, subscribe: subscribe as never },
      };
    } catch (error) {
      if (error instanceof RequestError && error.code === 'UNAUTHENTICATED') {
        held.socket.close(CloseCode.Forbidden, error.message);
      }
      return [clientError(error, context)];
    } finally {
      if (context !== null) options.onOperation(context, 'started', (performance.now() - startedAt) / 1_000);
    }
  }

  function clientError(error: unknown, context: ServerContext | null): GraphQLError {
    const { log, onError } = options;
    return toClientError(error, { log, onError, requestId: context?.requestId ?? 'websocket' });
  }

  return {
    get open() {
      return sockets.clients.size;
    },
    close: async () => {
      // A client that does not answer the farewell is not waited for.
      const impatient = setTimeout(() => {
        for (const client of sockets.clients) client.terminate();
      }, farewellMs);
      // Closes every socket with 1001, and the server behind them.
      await protocol.dispose();
      clearTimeout(impatient);
    },
  };
}

/** `authorization` in the connection's parameters, or below `headers`, where GraphiQL puts it; or a bare `token`. */
function readAuthorization(params: Readonly<Record<string, unknown>> | undefined): string | null {
  for (const place of [params, params?.headers as Record<string, unknown> | undefined]) {
    const found = place?.authorization ?? place?.Authorization ?? place?.token;
    if (typeof found === 'string') return found;
  }
  return null;
}

function refuse(socket: Duplex, status: number, reason: string): void {
  const text = reason.replace(/[^\x20-\x7e]/g, '?');
  socket.end(
    `HTTP/1.1 ${status} ${status === 404 ? 'Not Found' : 'Forbidden'}\r\nContent-Type: text/plain\r\n` +
      `Content-Length: ${text.length}\r\nConnection: close\r\n\r\n${text}`,
  );
}
