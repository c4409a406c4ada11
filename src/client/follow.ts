import { setTimeout as delay } from 'node:timers/promises';
import { createClient as createSocketClient, type FormattedExecutionResult } from 'graphql-ws';
import { WebSocket } from 'ws';
import { adviseOnToken, type Endpoint, GatewayError, type SentError, toGatewayError } from './client.ts';
import type { TypedDocumentString } from './generated/graphql.ts';
import { Inbox } from './inbox.ts';

/**
 * A subscription that outlives its connection. Each update carries a cursor; whatever ends the stream, a new one goes on
 * after the last update that came, so that none is missed and none comes twice. Whoever takes the updates sets the pace:
 * while too many wait, nothing more is read from the socket.
 */
export interface FollowOptions<Data, Variables> {
  endpoint: Endpoint;
  document: TypedDocumentString<Data, Variables>;
  /** Without `after`, which is filled in. */
  variables: Omit<Variables, 'after'>;
  /** What came after this cursor comes first. */
  after: string;
  cursorOf: (data: Data) => string;
  /** Ends it; what came and was not taken yet is left. */
  signal: AbortSignal;
  /** It broke off, and goes on by itself; `back` once it does. */
  onNotice: (notice: Notice) => void;
}

export type Notice = { kind: 'lost'; reason: string } | { kind: 'back' };

/** Beyond so many updates that wait, the socket is not read: what else comes waits in the network, then at the gateway. */
const mostWaiting = 1_000;
const firstDelayMs = 250;
const longestDelayMs = 15_000;
const handshakeTimeoutMs = 10_000;
const pingEveryMs = 15_000;
const pongWithinMs = 10_000;
/** graphql-ws: the gateway knows no such token, or no longer. */
const forbidden = 4403;
const normalClosure = 1000;

class TimelySocket extends WebSocket {
  constructor(address: string, protocols: string) {
    super(address, protocols, { handshakeTimeout: handshakeTimeoutMs });
  }
}

/**
 * Yields what came since it was last asked, oldest first.
 * @throws GatewayError for what trying again does not mend: CURSOR_EXPIRED, BAD_CURSOR, UNAUTHENTICATED and the like
 */
export async function* follow<Data, Variables>(options: FollowOptions<Data, Variables>): AsyncGenerator<Data[]> {
  const over = new AbortController();
  const signal = AbortSignal.any([options.signal, over.signal]);
  const inbox = new Inbox<Data>(mostWaiting);
  const line = openLine(options.endpoint, { inbox, signal, onNotice: options.onNotice });
  let { after } = options;
  let failures = 0;
  let unsubscribe: () => void = () => {};

  const payload = {
    query: options.document.toString(),
    variables: {
      ...options.variables,
      // Read each time that it is sent: the library sends it again by itself on a new connection.
      get after() {
        return after;
      },
    },
  };

  function subscribe(): void {
    if (signal.aborted) return;
    unsubscribe = line.client.subscribe<Data>(payload, {
      next: ({ data, errors }: FormattedExecutionResult<Data>) => {
        const [error] = errors ?? [];
        if (error !== undefined) inbox.fail(toGatewayError(error as SentError));
        if (error !== undefined || data == null) return;
        failures = 0;
        after = options.cursorOf(data);
        inbox.put(data);
      },
      error: (error) => onError(error),
      complete: () => again('The stream ended'),
    });
  }

  function onError(error: unknown): void {
    const [sent] = Array.isArray(error) ? (error as SentError[]) : [];
    const code = sent?.extensions?.code;
    // INTERNAL: a gateway that has just lost its database, mostly.
    if (sent === undefined) inbox.fail(asGatewayError(error));
    else if (code !== 'RESYNC_REQUIRED' && code !== 'INTERNAL') inbox.fail(toGatewayError(sent));
    else {
      after = sent.extensions?.cursor ?? after;
      again(sent.message);
    }
  }

  function again(reason: string): void {
    if (signal.aborted) return;
    line.lost(reason);
    void backOff(failures, signal).then(subscribe);
    failures += 1;
  }

  const stop = () => inbox.end();
  signal.addEventListener('abort', stop, { once: true });
  // One that was aborted before says so to nobody any more.
  if (signal.aborted) stop();
  try {
    subscribe();
    for (let waiting = await inbox.take(); waiting !== null; waiting = await inbox.take()) yield waiting;
  } finally {
    // Whoever takes no more, for whatever reason: nothing is tried again.
    over.abort();
    unsubscribe();
    line.close();
  }
}

/** A connection that is made again whenever it breaks, for as long as that may help. */
function openLine(
  { url, token }: Endpoint,
  { inbox, signal, onNotice }: { inbox: Inbox<unknown>; signal: AbortSignal; onNotice: (notice: Notice) => void },
) {
  let socket: WebSocket | null = null;
  let pongDue: NodeJS.Timeout | undefined;
  let isLost = false;
  let closed = false;

  inbox.onCrowded = () => socket?.pause();
  inbox.onRoom = () => socket?.resume();

  function lost(reason: string): void {
    if (isLost || closed) return;
    isLost = true;
    onNotice({ kind: 'lost', reason });
  }

  function awaitPong(): void {
    pongDue = setTimeout(() => {
      // While it is paused, the answer may be there and not be read.
      if (inbox.isCrowded) awaitPong();
      else socket?.terminate();
    }, pongWithinMs);
  }

  const client = createSocketClient({
    url: `${url.replace(/^http/, 'ws')}/graphql`,
    webSocketImpl: TimelySocket,
    connectionParams: token === null ? {} : { authorization: `Bearer ${token}` },
    connectionAckWaitTimeout: handshakeTimeoutMs,
    keepAlive: pingEveryMs,
    retryAttempts: Number.POSITIVE_INFINITY,
    retryWait: async (retries) => {
      await inbox.room();
      await backOff(retries, signal);
    },
    shouldRetry: (reason) => (reason as { code?: number }).code !== forbidden,
    on: {
      opened: (opened) => {
        socket = opened as WebSocket;
        if (inbox.isCrowded) socket.pause();
      },
      connected: () => {
        if (isLost) onNotice({ kind: 'back' });
        isLost = false;
      },
      ping: (received) => {
        if (!received) awaitPong();
      },
      pong: (received) => {
        if (received) clearTimeout(pongDue);
      },
      error: (error) => lost(describe(error)),
      closed: (event) => {
        clearTimeout(pongDue);
        socket = null;
        const { code } = event as { code: number };
        if (code !== normalClosure && code !== forbidden) lost(describe(event));
      },
    },
  });

  return {
    client,
    lost,
    close: () => {
      closed = true;
      clearTimeout(pongDue);
      Promise.resolve(client.dispose()).catch(() => undefined);
      // Without waiting for an answer: the gateway may be the one that does not answer.
      socket?.terminate();
    },
  };
}

/** Jittered, so that many who lost one gateway do not all come back in the same instant. Ends early when aborted. */
async function backOff(failures: number, signal: AbortSignal): Promise<void> {
  const waitMs = Math.min(longestDelayMs, firstDelayMs * 2 ** failures) * (0.5 + Math.random() / 2);
  await delay(waitMs, undefined, { signal }).catch(() => undefined);
}

function asGatewayError(error: unknown): GatewayError {
  const { code, reason } = error as { code?: number; reason?: string };
  // The protocol's own word for it, where the gateway gives no reason: it never took the token.
  const why = !reason || reason === 'Forbidden' ? 'The token is not valid here' : reason;
  return code === forbidden
    ? new GatewayError(adviseOnToken(`${why.replace(/\.$/, '')}.`), 'UNAUTHENTICATED')
    : new GatewayError(`The gateway ended the connection: ${describe(error)}.`, null);
}

/** Of a close or an error event of a socket, what a person can make something of. */
function describe(event: unknown): string {
  const { code, reason, message } = event as { code?: number; reason?: string; message?: string };
  if (code !== undefined) return `closed with ${code}${reason ? `, ${reason}` : ''}`;
  return message || 'no connection';
}
