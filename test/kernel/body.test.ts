import { once } from 'node:events';
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { endSlowBody } from '../../src/kernel/body.ts';

const longestMs = 100;

let server: Server;
let visit: (request: IncomingMessage, response: ServerResponse, takeTime: () => void) => void;
beforeEach(async () => {
  server = createServer((request, response) => visit(request, response, endSlowBody(request, response, longestMs)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function open() {
  const { port } = server.address() as AddressInfo;
  const request = httpRequest({ port, method: 'POST', agent: false, headers: { 'transfer-encoding': 'chunked' } });
  request.write('{');
  return request;
}

test('a body that takes too long is told so, and ended', async () => {
  visit = () => {};
  const [response] = (await once(open(), 'response')) as [IncomingMessage];
  expect(response.statusCode).toBe(408);
  response.resume();
  await once(response.socket, 'close');
});

test('also one whose request was answered already', async () => {
  visit = (_request, response) => void response.end('early');
  const [response] = (await once(open(), 'response')) as [IncomingMessage];
  expect(response.statusCode).toBe(200);
  response.resume();
  await once(response.socket, 'close');
});

test('one that may take its time does', async () => {
  const late = Promise.withResolvers<void>();
  visit = async (request, response, takeTime) => {
    takeTime();
    setTimeout(late.resolve, 3 * longestMs);
    for await (const _ of request);
    response.end('all of it');
  };
  const request = open();
  await late.promise;
  request.end('}');
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  expect(response.statusCode).toBe(200);
  response.resume();
});
