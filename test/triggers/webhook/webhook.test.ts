import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeSecret } from '../../../src/triggers/secret.ts';
import { createWebhooks, type Delivery, type Webhooks } from '../../../src/triggers/webhook/webhook.ts';
import { type Receiver, startReceiver } from '../receiver.ts';

const ours = { 'x-shop': 'a value for the receiver only' };

let receiver: Receiver;
let webhooks: Webhooks;
beforeEach(async () => {
  receiver = await startReceiver();
  webhooks = createWebhooks({ allow: ['127.0.0.1'] });
});
afterEach(async () => {
  await webhooks.close();
  await receiver.close();
});

function delivery(more: Partial<Delivery> = {}): Delivery {
  const body = JSON.stringify({ type: 'worktrees.update', data: { path: '/src/ä' } });
  const { url, secret } = receiver;
  return { url, secret, headers: ours, messageId: 'msg_1', body, timeoutMs: 5_000, depth: 0, ...more };
}

async function send(more: Partial<Delivery> = {}, stop?: AbortSignal) {
  const outcome = await webhooks.send(delivery(more), stop);
  for (const secret of [receiver.secret, ours['x-shop']]) expect(JSON.stringify(outcome)).not.toContain(secret);
  return outcome;
}

/** As a body of which nothing is the last. */
const withoutEnd = { status: 200, headers: { 'content-type': 'text/plain' } };

describe('what is sent', () => {
  test('is taken by a receiver of Standard Webhooks, as it was', async () => {
    const path = '/hook/a%20b?to=%2Fc';
    const outcome = await send({ url: new URL(path, receiver.url).href, messageId: 'msg_taken', depth: 3 });
    expect(outcome).toEqual({ status: 'succeeded', result: { status: 200, body: 'ok' } });
    const delivered = receiver.deliveries.at(-1);
    expect(delivered).toMatchObject({ method: 'POST', path, refusal: null, body: delivery().body });
    expect(delivered?.payload).toEqual({ type: 'worktrees.update', data: { path: '/src/ä' } });
    expect(delivered?.headers).toMatchObject({
      ...ours,
      'content-type': 'application/json',
      'accept-encoding': 'identity',
      'user-agent': 'Treeline-Hooks',
      'treeline-depth': '3',
      'webhook-id': 'msg_taken',
      host: `127.0.0.1:${receiver.port}`,
    });
  });

  test('is not taken by one with another secret', async () => {
    const outcome = await send({ secret: makeSecret() });
    expect(outcome).toMatchObject({ status: 'failed', permanent: false, result: { status: 401 } });
  });

  test.each(['Webhook-Signature', 'webhook-id', 'HOST', 'Content-Length', 'connection', 'treeline-depth'])(
    'has no %s of the registrant',
    async (name) => {
      const outcome = await send({ headers: { [name]: ours['x-shop'] } });
      expect(outcome).toMatchObject({ status: 'failed', permanent: true, error: expect.stringContaining(name) });
      expect(receiver.deliveries).toEqual([]);
    },
  );

  test('goes nowhere without a secret to sign with', async () => {
    expect(await send({ secret: 'whsec_short' })).toMatchObject({ status: 'failed', permanent: true });
  });
});

describe('an answer', () => {
  test('is kept up to 16,000 bytes; then the connection is closed, and no character is cut through', async () => {
    const left = Promise.withResolvers<void>();
    receiver.reply((response) => {
      response.writeHead(200).once('close', left.resolve);
      response.write('x');
      const more = () => {
        while (!response.destroyed && response.write('é'.repeat(10_000)));
        response.once('drain', more);
      };
      more();
    });
    const outcome = await send();
    const result = { status: 200, body: `x${'é'.repeat(7_999)}`, truncated: true };
    expect(outcome).toEqual({ status: 'succeeded', result });
    await left.promise;
  });

  test('of 16,000 bytes is kept whole', async () => {
    receiver.reply({ status: 201, body: 'x'.repeat(16_000) });
    expect(await send()).toEqual({ status: 'succeeded', result: { status: 201, body: 'x'.repeat(16_000) } });
  });

  test('may be empty', async () => {
    receiver.reply({ status: 204 });
    expect(await send()).toEqual({ status: 'succeeded', result: { status: 204, body: '' } });
  });

  test('is kept as text that can be stored, and not unpacked', async () => {
    receiver.reply({ status: 200, headers: { 'content-encoding': 'gzip' }, body: 'not \0 packed' });
    expect(await send()).toEqual({ status: 'succeeded', result: { status: 200, body: 'not \ufffd packed' } });
  });

  test('that redirects is not followed: it fails, and names the host and nothing else', async () => {
    receiver.reply({ status: 307, headers: { location: 'https://other.example:8443/a?key=hidden' } });
    const outcome = await send();
    expect(outcome).toMatchObject({ status: 'failed', permanent: false, result: { status: 307 } });
    expect(outcome).toHaveProperty('error', expect.stringContaining('redirect to other.example:8443:'));
    expect(JSON.stringify(outcome)).not.toContain('hidden');
    expect(receiver.deliveries).toHaveLength(1);
  });

  test.each(['/elsewhere', 'https://[', ''])('that redirects to %j fails as well', async (location) => {
    receiver.reply({ status: 302, headers: { location } });
    expect(await send()).toMatchObject({ status: 'failed', error: expect.stringContaining('302, a redirect') });
  });

  test('of 410 is final', async () => {
    receiver.reply({ status: 410, body: 'gone' });
    expect(await send()).toMatchObject({ status: 'failed', permanent: true, result: { status: 410, body: 'gone' } });
  });

  test.each([400, 404, 429, 500, 503, 300])('of %i is not', async (status) => {
    receiver.reply({ status, body: 'no' });
    expect(await send()).toEqual({
      status: 'failed',
      permanent: false,
      retryAfterMs: null,
      error: expect.stringContaining(String(status)),
      result: { status, body: 'no' },
    });
  });
});

describe('Retry-After', () => {
  const retryAfter = async (value: string, status = 503) => {
    receiver.reply({ status, headers: { 'retry-after': value } });
    const outcome = await send();
    return outcome.status === 'failed' ? outcome.retryAfterMs : outcome;
  };

  test.each([
    ['120', 120_000],
    ['0', 0],
    ['86400', 3_600_000],
    ['9'.repeat(400), 3_600_000],
    ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
    ['Sunday, 06-Nov-94 08:49:37 GMT', 0],
    ['Fri, 31 Dec 9999 23:59:59 GMT', 3_600_000],
    ['-5', null],
    ['1.5', null],
    ['soon', null],
    ['Soon, I think GMT', null],
    ['2099-01-01', null],
  ])('of %s is %s ms', async (value, ms) => {
    expect(await retryAfter(value)).toBe(ms);
  });

  test('of a date is the time until then', async () => {
    const ms = await retryAfter(new Date(Date.now() + 60_000).toUTCString());
    expect(ms).toBeGreaterThan(50_000);
    expect(ms).toBeLessThanOrEqual(60_000);
  });

  test.each([302, 410, 429, 500])('is heard with a %i too', async (status) => {
    expect(await retryAfter('7', status)).toBe(7_000);
  });
});

describe('a delivery ends in time', () => {
  const timeoutMs = 100;

  test('when nothing is answered', async () => {
    receiver.reply(() => {});
    expect(await send({ timeoutMs })).toEqual({ status: 'timed_out', error: expect.stringContaining('100 ms') });
    await receiver.untilAlone();
  });

  test('when the body stops', async () => {
    receiver.reply((response) => void response.writeHead(200, withoutEnd.headers).write('only this'));
    expect(await send({ timeoutMs })).toMatchObject({ status: 'timed_out' });
    await receiver.untilAlone();
  });

  test('when the body comes byte by byte', async () => {
    receiver.reply((response) => {
      const drip = setInterval(() => response.write('.'), 10);
      response.writeHead(200, withoutEnd.headers).once('close', () => clearInterval(drip));
    });
    expect(await send({ timeoutMs })).toMatchObject({ status: 'timed_out' });
    await receiver.untilAlone();
  });

  test('when it is stopped: failed, to be tried again', async () => {
    const stop = new AbortController();
    receiver.reply(() => {});
    const sending = send({}, stop.signal);
    await receiver.untilDelivered(1);
    stop.abort();
    expect(await sending).toMatchObject({ status: 'failed', permanent: false });
    await receiver.untilAlone();
    expect(await send({}, stop.signal), 'what begins afterwards').toMatchObject({ status: 'failed', permanent: false });
    expect(receiver.deliveries).toHaveLength(1);
  });

  test('and leaves nothing at the signal', async () => {
    const stop = new AbortController();
    expect(await send({}, stop.signal)).toMatchObject({ status: 'succeeded' });
    expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
  });

  test('when all are closed', async () => {
    receiver.reply(() => {});
    const sending = send();
    await receiver.untilDelivered(1);
    await webhooks.close();
    const stopped = { status: 'failed', permanent: false, error: expect.stringContaining('The gateway stopped') };
    expect(await sending).toMatchObject(stopped);
    expect(await send(), 'what begins afterwards').toMatchObject(stopped);
    await receiver.untilAlone();
  });
});
