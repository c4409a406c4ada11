import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

/** What becomes of a request: of `answer lost` the gateway has done all of it. */
export type Fault = 'none' | 'request lost' | 'answer lost' | 'answered 503';

/** A line to a gateway that can be told to be a bad one. */
export interface Line {
  url: string;
  /** Of the next requests, in their order; afterwards all pass again. */
  fail(...faults: Fault[]): void;
  /** Happens once the gateway has answered the next request, before the answer is passed on. */
  afterNext(act: () => Promise<void>): void;
  /** What was asked since the last time, as the operations' names. */
  takeAsked(): string[];
  close(): Promise<void>;
}

export async function openLine(gateway: { url: string }): Promise<Line> {
  let faults: Fault[] = [];
  const asked: string[] = [];
  let meanwhile: (() => Promise<void>) | null = null;

  async function pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request);
    const fault = faults.shift() ?? 'none';
    asked.push(/(?:query|mutation) (\w+)/.exec(body.toString())?.[1] ?? '');
    if (fault === 'request lost') return void request.socket.destroy();
    if (fault === 'answered 503') return void response.writeHead(503).end('<html>Later.</html>');
    const answer = await fetch(`${gateway.url}${request.url}`, {
      method: request.method ?? 'GET',
      headers: {
        'content-type': request.headers['content-type'] ?? '',
        authorization: request.headers.authorization ?? '',
      },
      body,
    });
    const text = await answer.text();
    const act = meanwhile;
    meanwhile = null;
    await act?.();
    if (fault === 'answer lost') return void request.socket.destroy();
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' }).end(text);
  }

  const server = createServer((request, response) => {
    pass(request, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    fail: (...next) => {
      faults = next;
    },
    afterNext: (act) => {
      meanwhile = act;
    },
    takeAsked: () => asked.splice(0),
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
