import type { Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { type ExecutionArgs, type ExecutionResult, type FormattedExecutionResult, GraphQLError } from 'graphql';
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
import { type Access, pathOf } from './access.ts';
import type { Connection, Connections, EndReason } from './connections.ts';
import { toClientError } from './errors.ts';
import { framesOf, Handed } from './live/result.ts';
import type { ServerContext } from './plugins.ts';
import type { Yoga } from './yoga.ts';

/**
 * graphql-ws over the pipeline that HTTP uses, so that authentication, limits and masking are the same. What goes wrong
 * with one operation is an error message to that operation; only what concerns the connection closes the socket.
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
  connections: Connections;
  log: Logger;
  mostMessageBytes: number;
  authenticate: (authorization: string | null) => Promise<Viewer>;
  makeContext: (viewer: Viewer) => ServerContext;
  onError: (code: RequestErrorCode) => void;
  onOperation: (context: ServerContext, outcome: Outcome, seconds: number) => void;
}

type Outcome = 'ok' | 'refused' | 'aborted';

const mostOperationsPerSocket = 100;
const initTimeoutMs = 10_000;
/** How long a socket may take to say goodbye before it is cut. */
const farewellMs = 1_000;
/** RFC 6455: the server cannot go on with it now; graphql-ws clients come back after a while. */
const tryAgainLater = 1013;

/** How each end looks to a client: 4403 lets it come back with another token, 1001 and 1013 with the same. */
const closings: Readonly<Record<EndReason, { code: number; text: string }>> = {
  expired: { code: CloseCode.Forbidden, text: 'The token has expired' },
  revoked: { code: CloseCode.Forbidden, text: 'The token was revoked, or its rights have changed' },
  stalled: { code: tryAgainLater, text: 'Nothing was read for too long: resume with your last cursor' },
  leaving: { code: 1001, text: 'Going away' },
};

interface Operation {
  context: ServerContext;
  startedAt: number;
  failed: boolean;
}

type Held = Extra & {
  authorization?: string;
  connection?: Connection;
  operations?: Map<string, Operation>;
};

interface Prepared extends ExecutionArgs {
  contextValue: ServerContext;
  run: { execute: (args: ExecutionArgs) => never; subscribe: (args: ExecutionArgs) => never };
}

/** A socket on which a shared result's text goes out as it is, and what waits behind it in the same write. */
class FanOutSocket extends WebSocket {
  /** The connection below, to hold writes back for a moment. */
  line: Duplex | null = null;

  // biome-ignore lint/suspicious/noExplicitAny: the overloads of the parent cannot be repeated by a subclass
  override send(data: any, ...rest: any[]): void {
    const frames = typeof data === 'string' ? framesOf(data) : data;
    if (!Array.isArray(frames)) {
      super.send(frames, ...(rest as []));
      return;
    }
    this.line?.cork();
    const last = frames.length - 1;
    // Whoever waits for the write waits for the last.
    for (const [index, frame] of frames.entries()) {
      super.send(frame, { binary: false }, ...((index === last ? rest : []) as []));
    }
    this.line?.uncork();
  }
}

export function serveWebSockets(options: WebSocketOptions): WebSockets {
  const { yoga, access, log } = options;
  const sockets = new WebSocketServer({
    noServer: true,
    WebSocket: FanOutSocket,
    maxPayload: options.mostMessageBytes,
    handleProtocols: (protocols) =>
      protocols.has(GRAPHQL_TRANSPORT_WS_PROTOCOL) ? GRAPHQL_TRANSPORT_WS_PROTOCOL : false,
  });

  options.server.on('upgrade', (request, socket, head) => {
    // Until the handshake is done nobody else listens, and an error that nobody hears ends the process.
    socket.on('error', (error) => log.debug({ err: error }, 'a connection broke during its upgrade'));
    if (pathOf(request) !== '/graphql') return refuse(socket, 404, 'Not Found');
    const refusal = access.refusal(request);
    if (refusal !== null) return refuse(socket, 403, refusal);
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      webSocket.line = socket;
      sockets.emit('connection', webSocket, request);
    });
  });

  // graphql-ws listens for the first error of a socket only, and one that nobody hears ends the process.
  sockets.on('connection', (socket) => socket.on('error', (error) => log.debug({ err: error }, 'a WebSocket broke')));

  async function connect(held: Held, params: Readonly<Record<string, unknown>> | undefined): Promise<boolean> {
    const authorization = readAuthorization(params);
    const viewer = await options.authenticate(authorization);
    // Gone while it was authenticated: its close has been and will not come again.
    if (held.socket.readyState !== WebSocket.OPEN) return false;
    held.authorization = authorization ?? '';
    held.operations = new Map();
    held.connection = options.connections.open(viewer, (reason) => endSocket(held.socket, reason));
    held.socket.once('close', () => {
      held.connection?.release();
      for (const operation of held.operations?.values() ?? []) {
        operation.context.caller.gone = true;
        note(operation, 'aborted');
      }
      held.operations?.clear();
    });
    held.connection.hold();
    return true;
  }

  const protocol = useServer<ConnectionInitMessage['payload'], Partial<Held>>(
    {
      connectionInitWaitTimeout: initTimeoutMs,
      onConnect: async ({ connectionParams, extra }) => {
        const held = extra as Held;
        try {
          return await connect(held, connectionParams);
        } catch (error) {
          if (error instanceof RequestError && error.code !== 'LIMIT_EXCEEDED') return false;
          if (!(error instanceof RequestError)) log.error({ err: error }, 'a WebSocket could not be authenticated');
          // Nothing is wrong with the token: the client may come back with the same.
          held.socket.close(
            tryAgainLater,
            error instanceof RequestError ? error.message.slice(0, 120) : 'Try again later',
          );
          return false;
        }
      },
      onSubscribe: ({ extra, subscriptions }, id, payload) =>
        prepare(extra as Held, id, payload, Object.keys(subscriptions).length),
      execute: (args) => (args as Prepared).run.execute(args),
      subscribe: (args) => (args as Prepared).run.subscribe(args),
      // What is shared goes into the frame as itself: see Handed.
      onNext: (context, id, _payload, _args, result) => {
        if (result instanceof Handed) return result as unknown as FormattedExecutionResult;
        const operation = (context.extra as Held).operations?.get(id);
        if (operation !== undefined && (result as ExecutionResult).errors !== undefined) operation.failed = true;
        return undefined;
      },
      onError: (context, id, _payload, errors) => {
        finish(context.extra as Held, id, 'refused');
        // What a stream ended with comes wrapped, without its code.
        return errors.map((error) => (error.cause instanceof GraphQLError ? error.cause : error).toJSON());
      },
      onComplete: (context, id) => finish(context.extra as Held, id, 'ok'),
    },
    sockets,
  );

  function finish({ operations }: Held, id: string, outcome: Outcome): void {
    const operation = operations?.get(id);
    if (operation === undefined) return;
    operations?.delete(id);
    note(operation, operation.failed ? 'refused' : outcome);
  }

  function note({ context, startedAt }: Operation, outcome: Outcome): void {
    options.onOperation(context, outcome, (performance.now() - startedAt) / 1_000);
  }

  /** Never throws: graphql-ws answers a throw by closing the socket, and with it everybody else's operations. */
  async function prepare(
    held: Held,
    id: string,
    payload: SubscribePayload,
    open: number,
  ): Promise<Prepared | GraphQLError[]> {
    let context: ServerContext | null = null;
    try {
      // Again for each operation: a token that was revoked meanwhile opens nothing new.
      context = options.makeContext(await options.authenticate(held.authorization ?? null));
      context.connection = held.connection ?? null;
      held.operations?.set(id, { context, startedAt: performance.now(), failed: false });
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
    }
  }

  function clientError(error: unknown, context: ServerContext | null): GraphQLError {
    return toClientError(error, { log, onError: options.onError, requestId: context?.requestId ?? 'websocket' });
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

/** Says goodbye, and cuts the line when there is no answer: a client that does not read does not answer either. */
function endSocket(socket: WebSocket, reason: EndReason): void {
  const { code, text } = closings[reason];
  socket.close(code, text);
  const impatient = setTimeout(() => socket.terminate(), farewellMs);
  impatient.unref();
  socket.once('close', () => clearTimeout(impatient));
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
