import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { Webhook } from 'standardwebhooks';
import { makeSecret } from '../../src/triggers/secret.ts';

/** A webhook as it arrived. */
export interface Delivered {
  method: string;
  /** With the query. */
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
  /** What the body says, where the library took the delivery. */
  payload: unknown;
  /** Why the library did not take it; null: it did. */
  refusal: string | null;
}

/** What it answers: a whole answer, or what to do with the response, down to nothing. */
export type Reply =
  | { status: number; headers?: Record<string, string>; body?: string }
  | ((response: ServerResponse, delivered: Delivered) => void);

export interface Receiver {
  url: string;
  port: number;
  secret: string;
  /** In the order in which they arrived, refused ones included. */
  deliveries: readonly Delivered[];
  /** What the next ones are told, until it is called again; at first 200, with `ok`. What is refused gets 401. */
  reply(reply: Reply): void;
  /** Resolves with all, as soon as there are so many. */
  untilDelivered(count: number): Promise<readonly Delivered[]>;
  /** Resolves when nobody is connected. */
  untilAlone(): Promise<void>;
  close(): Promise<void>;
}

export interface ReceiverOptions {
  /** 127.0.0.1 when left out. */
  host?: string;
  secret?: string;
  /** In PEM: then it is https. */
  tls?: { key: string; cert: string };
}

/** A receiver as its author would build it with the library of Standard Webhooks, on a port of its own. */
export async function startReceiver({
  host = '127.0.0.1',
  secret = makeSecret(),
  tls,
}: ReceiverOptions = {}): Promise<Receiver> {
  const webhook = new Webhook(secret);
  const deliveries: Delivered[] = [];
  const waiting = new Set<() => void>();
  let next: Reply = { status: 200, body: 'ok' };
  const receive = async (request: IncomingMessage, response: ServerResponse) => {
    const delivered = open(webhook, request, await text(request));
    deliveries.push(delivered);
    answer(response, delivered, delivered.refusal === null ? next : { status: 401 });
    for (const look of waiting) look();
  };
  const server = tls === undefined ? createServer() : createTlsServer(tls);
  server.on('request', (request, response) => {
    // Who goes away while it sends has not delivered.
    receive(request, response).catch(() => response.destroy());
  });
  server.listen(0, host);
  await once(server, 'listening');
  const connections = new Set<unknown>();
  server.on('connection', (socket) => {
    connections.add(socket);
    socket.once('close', () => {
      connections.delete(socket);
      for (const look of waiting) look();
    });
  });
  const until = async (isSo: () => boolean) => {
    if (isSo()) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = () => isSo() && resolve();
    waiting.add(look);
    await promise;
    waiting.delete(look);
  };
  const { port } = server.address() as AddressInfo;
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${host}:${port}/hook`,
    port,
    secret,
    deliveries,
    reply(reply) {
      next = reply;
    },
    untilDelivered: (count) => until(() => deliveries.length >= count).then(() => deliveries),
    untilAlone: () => until(() => connections.size === 0),
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function open(webhook: Webhook, { method = '', url = '', headers }: IncomingMessage, body: string): Delivered {
  const delivered = { method, path: url, headers, body };
  try {
    return { ...delivered, payload: webhook.verify(body, headers as Record<string, string>), refusal: null };
  } catch (error) {
    return { ...delivered, payload: undefined, refusal: String(error) };
  }
}

function answer(response: ServerResponse, delivered: Delivered, reply: Reply): void {
  if (typeof reply === 'function') reply(response, delivered);
  else response.writeHead(reply.status, reply.headers).end(reply.body);
}
