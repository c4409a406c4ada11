import { sign as signAsGithub } from '@octokit/webhooks-methods';
import fc from 'fast-check';
import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import { verifyRequest } from '../../../src/triggers/route/signature.ts';
import { makeSecret } from '../../../src/triggers/secret.ts';
import { size } from '../../support/size.ts';

type Headers = Record<string, string | undefined>;

const secret = makeSecret();
const body = '{"type":"push","path":"/src/ä"}';
const nowS = () => Math.floor(Date.now() / 1_000);

function signed(more: { id?: string; atS?: number; body?: string; secret?: string } = {}): Headers {
  const { id = 'msg_1', atS = nowS() } = more;
  const signature = new Webhook(more.secret ?? secret).sign(id, new Date(atS * 1_000), more.body ?? body);
  return { 'webhook-id': id, 'webhook-timestamp': String(atS), 'webhook-signature': signature };
}

const verify = (headers: Headers, more: { body?: string; secret?: string | null } = {}) =>
  verifyRequest({ signature: 'standard', secret, headers, body, ...more });
const refused = (reason: string) => ({ ok: false, reason: expect.stringContaining(reason) });

describe('a request of Standard Webhooks', () => {
  test('is taken with its id', async () => {
    expect(await verify(signed({ id: 'msg_2KWPBgLlAfxdpx2AI54pPJ85f4W' }))).toEqual({
      ok: true,
      messageId: 'msg_2KWPBgLlAfxdpx2AI54pPJ85f4W',
    });
  });

  test.each(['', 'no JSON', '[1'])('is taken with the body %j', async (other) => {
    expect(await verify(signed({ body: other }), { body: other })).toEqual({ ok: true, messageId: 'msg_1' });
  });

  test('is taken when one of several signatures is right', async () => {
    const headers = signed();
    const other = signed({ secret: makeSecret() })['webhook-signature'];
    headers['webhook-signature'] = `v1a,a-b_c= ${other} ${headers['webhook-signature']}`;
    expect(await verify(headers)).toEqual({ ok: true, messageId: 'msg_1' });
  });

  test.each([-290, 290])('is taken when it is %i seconds from now', async (offS) => {
    expect(await verify(signed({ atS: nowS() + offS }))).toMatchObject({ ok: true });
  });

  test.each([
    [-310, 'seconds old'],
    [310, 'seconds ahead'],
    [-1_000_000_000, 'seconds old'],
  ])('is refused when it is %i seconds from now', async (offS, reason) => {
    expect(await verify(signed({ atS: nowS() + offS }))).toEqual(refused(reason));
  });

  test('is refused when the body, the id or the time is another than what was signed', async () => {
    const reason = 'Expected a v1 signature';
    expect(await verify(signed(), { body: `${body} ` })).toEqual(refused(reason));
    expect(await verify({ ...signed(), 'webhook-id': 'msg_2' })).toEqual(refused(reason));
    expect(await verify({ ...signed(), 'webhook-timestamp': String(nowS() - 10) })).toEqual(refused(reason));
    expect(await verify(signed({ secret: makeSecret() }))).toEqual(refused(reason));
  });

  test('is refused when what was signed is divided another way', async () => {
    // Somebody may write into a body what then stands for a time and a body of its own.
    const atS = nowS();
    const whole = signed({ body: `{"text":"hi.${atS}.{}` });
    const moved = {
      'webhook-id': `msg_1.${whole['webhook-timestamp']}.{"text":"hi`,
      'webhook-timestamp': String(atS),
      'webhook-signature': whole['webhook-signature'],
    };
    expect(() => new Webhook(secret).verify('{}', moved as Record<string, string>)).not.toThrow();
    expect(await verify(moved, { body: '{}' })).toEqual(refused('webhook-id'));
    const tight = signed({ id: 'msg_1.1' });
    expect(await verify(tight)).toEqual(refused('without a comma or a full stop'));
  });

  test.each(['webhook-id', 'webhook-timestamp', 'webhook-signature'])(
    'is refused without %s, or with two of them',
    async (name) => {
      const headers = signed();
      expect(await verify({ ...headers, [name]: undefined })).toEqual(refused(`one header ${name}`));
      expect(await verify({ ...headers, [name]: '' })).toEqual(refused(`one header ${name}`));
      // As Node joins them.
      expect(await verify({ ...headers, [name]: `${headers[name]}, ${headers[name]}` })).toEqual(
        refused(`one header ${name}`),
      );
    },
  );

  test.each(['12abc', 'NaN', '-1', '1e9', '0x10', ' 1', '1.5', '9'.repeat(40)])(
    'is refused with the time %j',
    async (time) => {
      expect(await verify({ ...signed(), 'webhook-timestamp': time })).toEqual(refused('whole seconds since 1970'));
    },
  );

  test('is refused with a time that only begins with the one that was signed', async () => {
    const headers = signed();
    const time = `${headers['webhook-timestamp']}abc`;
    expect(await verify({ ...headers, 'webhook-timestamp': time })).toEqual(refused('whole seconds'));
  });

  test.each(['v1', 'v1,', ',', 'sha256=00', 'v1,not base64 at all', 'v1,ä', `v1,${'x'.repeat(5_000)}`])(
    'is refused with the signature %j',
    async (signature) => {
      expect(await verify({ ...signed(), 'webhook-signature': signature })).toEqual(refused('webhook-signature'));
    },
  );

  test.each([null, '', 'whsec_short', 'whsec_%%%'])('is refused where the route has the secret %j', async (none) => {
    expect(await verify(signed(), { secret: none })).toEqual(refused('no secret'));
  });

  test('is refused whatever its headers hold, and never fails otherwise', async () => {
    const text = fc.option(fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('v1,', String(nowS()), 'v1,AAAA')));
    await fc.assert(
      fc.asyncProperty(text, text, text, text, async (id, time, signature, hub) => {
        const headers = {
          'webhook-id': id ?? undefined,
          'webhook-timestamp': time ?? undefined,
          'webhook-signature': signature ?? undefined,
          'x-hub-signature-256': hub ?? undefined,
        };
        for (const scheme of ['standard', 'github'] as const) {
          const verified = await verifyRequest({ signature: scheme, secret, headers, body });
          expect(verified).toEqual({ ok: false, reason: expect.not.stringContaining(secret) });
        }
      }),
      { numRuns: size(1_000) },
    );
  });
});

describe('a request of GitHub', () => {
  const githubs = "It's a Secret to Everybody";
  const verifyGithub = (headers: Headers, more: { body?: string; secret?: string | null } = {}) =>
    verifyRequest({ signature: 'github', secret: githubs, headers, body, ...more });

  test('is taken, as in the example of its documentation', async () => {
    const signature = 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17';
    const taken = await verifyGithub({ 'x-hub-signature-256': signature }, { body: 'Hello, World!' });
    expect(taken).toEqual({ ok: true, messageId: null });
  });

  test('is taken without an id, for the one that it has is not signed', async () => {
    const headers = { 'x-hub-signature-256': await signAsGithub(githubs, body), 'x-github-delivery': 'a-delivery' };
    expect(await verifyGithub(headers)).toEqual({ ok: true, messageId: null });
  });

  test('is refused when it was signed with another secret, or is another', async () => {
    const reason = 'Expected X-Hub-Signature-256 of the body';
    const headers = { 'x-hub-signature-256': await signAsGithub('another secret of mine', body) };
    expect(await verifyGithub(headers)).toEqual(refused(reason));
    const right = { 'x-hub-signature-256': await signAsGithub(githubs, body) };
    expect(await verifyGithub(right, { body: `${body}\n` })).toEqual(refused(reason));
  });

  test('is refused without a body, and without a signature that looks like one', async () => {
    const signature = await signAsGithub(githubs, body);
    expect(await verifyGithub({ 'x-hub-signature-256': signature }, { body: '' })).toEqual(refused('Expected a body'));
    const sha1 = 'sha1=2aae6c35c94fcfb415dbe95f408b9ce91ee846ed';
    for (const other of [undefined, '', sha1, signature.toUpperCase(), `${signature}, ${signature}`, `${signature}0`]) {
      expect(await verifyGithub({ 'x-hub-signature-256': other })).toEqual(refused('64 hexadecimal digits'));
    }
    expect(await verifyGithub({ 'x-hub-signature': sha1 })).toEqual(refused('one header X-Hub-Signature-256'));
  });

  test.each([null, '', 'short'])('is refused where the route has the secret %j', async (none) => {
    const headers = { 'x-hub-signature-256': await signAsGithub('short', body) };
    expect(await verifyGithub(headers, { secret: none })).toEqual(refused('no secret'));
  });
});

test('where a route asks for no signature, any request is taken', async () => {
  const request = { signature: 'none', secret: null, headers: {}, body: '' } as const;
  expect(await verifyRequest(request)).toEqual({ ok: true, messageId: null });
});
