import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { size } from '../support/size.ts';
import { value } from '../support/sql.ts';

let gateway: TestGateway;
let provider: Server;
let privateKey: CryptoKey;
let publicText = '';

beforeAll(async () => {
  const pair = await generateKeyPair('ES256', { extractable: true });
  privateKey = pair.privateKey;
  const jwk = { ...(await exportJWK(pair.publicKey)), kid: 'one', alg: 'ES256' };
  publicText = JSON.stringify(jwk);
  provider = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: [jwk] }));
  });
  provider.listen(0, '127.0.0.1');
  await once(provider, 'listening');
  gateway = await startGateway({
    environment: {
      AUTH_JWKS_URL: `http://127.0.0.1:${(provider.address() as AddressInfo).port}/keys`,
      AUTH_ISSUER: 'https://idp.example',
      AUTH_AUDIENCE: 'treeline',
      AUTH_DEFAULT_SCOPES: 'registry:read',
    },
  });
});
afterAll(async () => {
  await gateway.close();
  provider.close();
  provider.closeAllConnections();
});

interface Claims {
  sub?: string;
  issuer?: string;
  audience?: string;
  expires?: string | number;
  kid?: string;
  key?: CryptoKey;
  more?: JWTPayload;
}

function jwt({
  sub = 'u-1',
  issuer = 'https://idp.example',
  audience = 'treeline',
  expires = '5m',
  kid = 'one',
  key = privateKey,
  more = {},
}: Claims = {}) {
  return new SignJWT({ preferred_username: 'Ada', ...more })
    .setProtectedHeader({ alg: 'ES256', kid })
    .setSubject(sub)
    .setIssuer(issuer)
    .setAudience(audience)
    .setExpirationTime(expires)
    .sign(key);
}

const ask = (token: string) =>
  gateway.request<{ viewer: { principal: { handle: string }; scopes: string[] } }>(
    '{ viewer { principal { handle } scopes } }',
    {},
    { token },
  );

test('a good one is let in, as a principal made at first sight with the default scopes', async () => {
  const { status, data } = await ask(await jwt({ sub: 'good' }));
  expect(status).toBe(200);
  expect(data.viewer).toEqual({ principal: { handle: 'ada' }, scopes: ['REGISTRY_READ'] });
});

test('the first sights of one subject at once make one principal', async () => {
  const tokens = await Promise.all(
    Array.from({ length: size(50) }, (_, n) => jwt({ sub: 'racer', more: { jti: String(n) } })),
  );
  const answers = await Promise.all(tokens.map(ask));
  expect(answers.every(({ status }) => status === 200)).toBe(true);
  expect(
    await value(
      gateway.database.owner,
      `select count(*)::int from auth.principals where external_id = 'https://idp.example|racer'`,
    ),
  ).toBe(1);
});

test('a scope claim of ours restricts, one of others does not', async () => {
  await gateway.database.owner.query(
    `update auth.principals set scopes = '{registry:read,registry:write}' where external_id like '%|good'`,
  );
  expect((await ask(await jwt({ sub: 'good', more: { scope: 'openid registry:read' } }))).data.viewer.scopes).toEqual([
    'REGISTRY_READ',
  ]);
  expect((await ask(await jwt({ sub: 'good', more: { scope: 'openid email' } }))).data.viewer.scopes).toHaveLength(2);
});

test.each<[string, () => Promise<string>]>([
  ['of another issuer', () => jwt({ issuer: 'https://evil.example' })],
  ['for another audience', () => jwt({ audience: 'other' })],
  ['that has expired', () => jwt({ expires: Math.floor(Date.now() / 1_000) - 60 })],
  ['by an unknown key', async () => jwt({ kid: 'two', key: (await generateKeyPair('ES256')).privateKey })],
  ['by another key of the same name', async () => jwt({ key: (await generateKeyPair('ES256')).privateKey })],
  [
    'signed with the public key as a shared secret',
    () =>
      new SignJWT({})
        .setProtectedHeader({ alg: 'HS256', kid: 'one' })
        .setSubject('x')
        .setIssuer('https://idp.example')
        .setAudience('treeline')
        .setExpirationTime('5m')
        .sign(new TextEncoder().encode(publicText)),
  ],
  [
    'without a signature',
    async () => `${Buffer.from('{"alg":"none"}').toString('base64url')}.${(await jwt()).split('.')[1]}.`,
  ],
])('one %s is refused', async (_case, make) => {
  const { status, errors } = await ask(await make());
  expect(status).toBe(401);
  expect(errors?.[0]?.extensions.code).toBe('UNAUTHENTICATED');
});
