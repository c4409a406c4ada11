import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { makeSecret } from '../../../src/triggers/secret.ts';
import type { Resolve } from '../../../src/triggers/webhook/connector.ts';
import { createWebhooks, type Webhooks, type WebhooksOptions } from '../../../src/triggers/webhook/webhook.ts';
import { type Receiver, startReceiver } from '../receiver.ts';
import { makeCertificate } from './certificate.ts';

const opened: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

function open(options: Partial<WebhooksOptions> = {}): Webhooks {
  const webhooks = createWebhooks({ allow: [], ...options });
  opened.push(webhooks.close);
  return webhooks;
}

async function receive(options?: Parameters<typeof startReceiver>[0]): Promise<Receiver> {
  const receiver = await startReceiver(options);
  opened.push(receiver.close);
  return receiver;
}

/** What connects there is counted, and told by `visit` what it says. */
async function listen(visit: (socket: Socket) => void, { host = '127.0.0.1', port = 0 } = {}) {
  const sockets: Socket[] = [];
  const server: Server = createServer((socket) => {
    sockets.push(socket.on('error', () => {}));
    visit(socket);
  });
  server.listen(port, host);
  await once(server, 'listening');
  opened.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return { port: (server.address() as AddressInfo).port, sockets, server };
}

/** A resolver that gives each time the next answer. */
function resolver(...answers: string[][]): Resolve & { asked: string[] } {
  const asked: string[] = [];
  const resolve = async (name: string) => {
    const addresses = answers[Math.min(asked.push(name), answers.length) - 1] ?? [];
    return addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
  };
  return Object.assign(resolve, { asked });
}

const send = (webhooks: Webhooks, url: string, { secret = makeSecret(), timeoutMs = 5_000 } = {}) =>
  webhooks.send({ url, secret, headers: {}, messageId: 'msg_1', body: '{}', timeoutMs, depth: 0 });

const refused = (what: string) => ({
  status: 'failed',
  permanent: true,
  error: expect.stringMatching(new RegExp(`${what}.*TREELINE_WEBHOOK_ALLOW`)),
});

describe('an address that is not allowed', () => {
  test.each([
    ['127.0.0.1', 'loopback'],
    ['2130706433', '127.0.0.1 .loopback'],
    ['0x7f.1', '127.0.0.1 .loopback'],
    ['0177.0.0.1', '127.0.0.1 .loopback'],
    ['127.1', '127.0.0.1 .loopback'],
    ['0.0.0.0', 'unspecified'],
    ['0', '0.0.0.0 .unspecified'],
    ['10.1.2.3', 'private'],
    ['169.254.169.254', 'link-local'],
    ['[::1]', 'loopback'],
    ['[::]', 'unspecified'],
    ['[::ffff:127.0.0.1]', 'loopback'],
    ['[::ffff:a00:1]', 'private'],
    ['[fd00:ec2::254]', 'unique local'],
    ['[64:ff9b::7f00:1]', 'NAT64'],
  ])('is refused for good where the URL has it: %s', async (host, what) => {
    const resolve = resolver(['127.0.0.1']);
    for (const scheme of ['http', 'https']) {
      expect(await send(open({ resolve }), `${scheme}://${host}:9/`)).toMatchObject(refused(what));
    }
    expect(resolve.asked).toEqual([]);
  });

  test('is refused where a name leads to it, and nobody is connected to', async () => {
    const trap = await listen(() => {});
    const webhooks = open({ resolve: resolver(['127.0.0.1']) });
    const outcome = await send(webhooks, `http://hooks.test:${trap.port}/`);
    expect(outcome).toMatchObject(refused('127.0.0.1 .loopback'));
    expect(trap.sockets).toEqual([]);
  });

  test('is refused where the system says that the name leads to it', async () => {
    expect(await send(open(), 'https://localhost:9/')).toMatchObject(refused('loopback'));
  });

  test('is refused although it is public, in clear text', async () => {
    expect(await send(open(), 'http://93.184.216.34/')).toMatchObject(refused('Expected https'));
  });

  test('is not connected to when it stands beside one that is', async () => {
    const receiver = await receive({ host: '127.0.0.2' });
    const trap = await listen(() => {}, { port: receiver.port });
    const webhooks = open({ allow: ['127.0.0.2'], resolve: resolver(['127.0.0.1', '127.0.0.2', '::1']) });
    const outcome = await send(webhooks, `http://hooks.test:${receiver.port}/`, receiver);
    expect(outcome).toMatchObject({ status: 'succeeded' });
    expect(trap.sockets).toEqual([]);
  });

  test('is not reached by a name that leads elsewhere the next time it is asked for', async () => {
    const receiver = await receive({ host: '127.0.0.2' });
    receiver.reply({ status: 200, headers: { connection: 'close' } });
    const trap = await listen(() => {}, { port: receiver.port });
    const resolve = resolver(['127.0.0.2'], ['127.0.0.1']);
    const webhooks = open({ allow: ['127.0.0.2'], resolve });
    const url = `http://hooks.test:${receiver.port}/`;
    expect(await send(webhooks, url, receiver)).toMatchObject({ status: 'succeeded' });
    expect(resolve.asked, 'once for a connection').toEqual(['hooks.test']);
    expect(await send(webhooks, url, receiver)).toMatchObject(refused('127.0.0.1 .loopback'));
    expect(receiver.deliveries).toHaveLength(1);
    expect(trap.sockets).toEqual([]);
  });

  test('gets nothing where the system connects to it in place of another', async () => {
    // What is sent to the unspecified address arrives at loopback.
    const said: unknown[] = [];
    const trap = await listen((socket) => socket.on('data', (data) => said.push(data)));
    const left = once(trap.server, 'connection').then(([socket]) => once(socket as Socket, 'close'));
    const outcome = await send(open({ allow: ['0.0.0.0'] }), `https://0.0.0.0:${trap.port}/`);
    expect(outcome).toMatchObject(refused('127.0.0.1 .loopback'));
    await left;
    expect(said).toEqual([]);
  });
});

test('deliveries to one place share the connection', async () => {
  const receiver = await receive();
  const resolve = resolver(['127.0.0.1']);
  const webhooks = open({ allow: ['127.0.0.0/8'], resolve });
  for (let count = 0; count < 5; count += 1) {
    expect(await send(webhooks, `http://hooks.test:${receiver.port}/`, receiver)).toMatchObject({
      status: 'succeeded',
    });
  }
  // A connection is free a moment after its answer, so that there may be two.
  expect(resolve.asked.length).toBeLessThan(3);
});

test('a delivery that ended before it was connected is not sent afterwards', async () => {
  const receiver = await receive();
  const { promise: told, resolve: tell } = Promise.withResolvers<{ address: string; family: number }[]>();
  const webhooks = open({ allow: ['127.0.0.1'], resolve: () => told });
  const url = `http://hooks.test:${receiver.port}`;
  expect(await send(webhooks, `${url}/early`, { ...receiver, timeoutMs: 50 })).toMatchObject({ status: 'timed_out' });
  const sending = send(webhooks, `${url}/late`, receiver);
  tell([{ address: '127.0.0.1', family: 4 }]);
  expect(await sending).toMatchObject({ status: 'succeeded' });
  expect(receiver.deliveries.map(({ path }) => path)).toEqual(['/late']);
});

describe('TLS', () => {
  let certificate: { key: string; cert: string };
  let receiver: Receiver;
  beforeAll(async () => {
    certificate = makeCertificate('hooks.test');
    receiver = await startReceiver({ tls: certificate });
  });
  afterAll(() => receiver.close());

  const trusting = (ca?: string) =>
    open({ allow: ['127.0.0.1'], resolve: resolver(['127.0.0.1']), ...(ca !== undefined && { ca }) });
  const distrusted = (code: string) => ({
    status: 'failed',
    permanent: false,
    error: `The receiver's certificate is none to trust (${code}).`,
  });

  test('is spoken with a receiver whose certificate has its name', async () => {
    const outcome = await send(trusting(certificate.cert), `https://hooks.test:${receiver.port}/`, receiver);
    expect(outcome).toMatchObject({ status: 'succeeded' });
    expect(receiver.deliveries.at(-1)?.refusal).toBeNull();
  });

  test('is not spoken with one that has another name, or none that is trusted', async () => {
    const before = receiver.deliveries.length;
    const { port } = receiver;
    const altname = 'ERR_TLS_CERT_ALTNAME_INVALID';
    expect(await send(trusting(certificate.cert), `https://other.test:${port}/`)).toMatchObject(distrusted(altname));
    expect(await send(trusting(certificate.cert), `https://127.0.0.1:${port}/`)).toMatchObject(distrusted(altname));
    const selfSigned = 'DEPTH_ZERO_SELF_SIGNED_CERT';
    expect(await send(trusting(), `https://hooks.test:${port}/`)).toMatchObject(distrusted(selfSigned));
    expect(receiver.deliveries).toHaveLength(before);
    await receiver.untilAlone();
  });

  test('is not spoken with one that speaks something else', async () => {
    const { port } = await listen((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    const outcome = await send(trusting(), `https://127.0.0.1:${port}/`);
    expect(outcome).toMatchObject({ status: 'failed', error: expect.stringContaining('TLS was not agreed on') });
  });

  test('is not waited for longer than the delivery has', async () => {
    const { port, sockets } = await listen(() => {});
    const webhooks = trusting();
    const outcome = await send(webhooks, `https://127.0.0.1:${port}/`, { timeoutMs: 100 });
    expect(outcome).toMatchObject({ status: 'timed_out' });
    const left = Promise.all(sockets.map((socket) => once(socket.resume(), 'close')));
    await webhooks.close();
    await left;
  });
});

describe('what goes wrong has words and a code', () => {
  test.each([
    ['nothing', '', 'closed the connection', 'UND_ERR_SOCKET'],
    ['what is no HTTP', 'SSH-2.0-OpenSSH_9.9\r\n\r\n', 'no HTTP', 'HPE_INVALID'],
    ['headers without end', `HTTP/1.1 200 OK\r\nx: ${'x'.repeat(100_000)}`, 'headers are too large', '_OVERFLOW'],
    ['less than it says', 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nless', '', 'UND_ERR_'],
    ['half a chunk', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nless', '', 'UND_ERR_'],
    ['another protocol', 'HTTP/1.1 101 Go On\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n', '', 'UND_ERR_SOCKET'],
  ])('where %s is answered', async (_what, bytes, words, code) => {
    const { port } = await listen((socket) => void socket.once('data', () => socket.end(bytes)).resume());
    const outcome = await send(open({ allow: ['127.0.0.1'] }), `http://127.0.0.1:${port}/`);
    const error = expect.stringMatching(new RegExp(`${words}.*\\(\\w*${code}\\w*\\)\\.$`));
    expect(outcome).toEqual({ status: 'failed', permanent: false, retryAfterMs: null, error });
  });

  test('where nobody listens', async () => {
    const { port, server } = await listen(() => {});
    server.close();
    const outcome = await send(open({ allow: ['127.0.0.1'] }), `http://127.0.0.1:${port}/`);
    expect(outcome).toMatchObject({ error: 'Nobody listens at that address and port (ECONNREFUSED).' });
  });

  test.each(['ENOTFOUND', 'EAI_AGAIN'])('where the name has no address: %s', async (code) => {
    const resolve = () => Promise.reject(Object.assign(new Error('getaddrinfo'), { code }));
    const outcome = await send(open({ resolve }), 'https://nobody.test/');
    const error = `The name of the host has no address that can be found (${code}).`;
    expect(outcome).toEqual({ status: 'failed', permanent: false, retryAfterMs: null, error });
    expect(await send(open({ resolve: resolver([]) }), 'https://nobody.test/')).toMatchObject({ status: 'failed' });
  });

  test('where the name is not told', async () => {
    const resolve = () => new Promise<never>(() => {});
    const outcome = await send(open({ resolve }), 'https://slow.test/', { timeoutMs: 50 });
    expect(outcome).toMatchObject({ status: 'timed_out' });
  });
});
