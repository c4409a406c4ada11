import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createAuthenticator } from '../../src/auth/authenticate.ts';
import { hashToken, makeToken } from '../../src/auth/token/model.ts';
import { readConfig } from '../../src/config.ts';
import { type Database, openDatabase } from '../../src/db/database.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { refusalOf, value } from '../support/sql.ts';
import { untilSomebodyWaits } from './waiting.ts';

/** What an identity provider can do to us, beyond the tokens that it signs well: see `jwt.pg.test.ts` for those. */
const issuer = 'https://idp.example';
let database: TestDatabase;
let runtime: Database;
let provider: Server;
let keysUrl: string;
let privateKey: CryptoKey;
let keys: string;
let answer: (response: ServerResponse) => void;
let logged: string;
const log = pino(
  { level: 'debug' },
  {
    write: (line: string) => {
      logged += line;
    },
  },
);

beforeAll(async () => {
  const pair = await generateKeyPair('ES256', { extractable: true });
  privateKey = pair.privateKey;
  keys = JSON.stringify({ keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'one', alg: 'ES256' }] });
  provider = createServer((_request, response) => answer(response));
  provider.listen(0, '127.0.0.1');
  await once(provider, 'listening');
  keysUrl = `http://127.0.0.1:${(provider.address() as AddressInfo).port}/keys`;
  database = await createTestDatabase();
  const { ownerUrl, runtimeUrl } = database;
  runtime = openDatabase({ ownerUrl, runtimeUrl, poolSize: 5, statementTimeoutMs: 10_000, log });
});
afterAll(async () => {
  await runtime.close();
  await database.close();
  provider.close();
  provider.closeAllConnections();
});
beforeEach(() => {
  logged = '';
  answer = (response) => response.end(keys);
});

/** A new gateway's eyes: nothing remembered, no keys fetched. */
function newAuthenticator(AUTH_JWKS_URL = keysUrl) {
  const environment = { AUTH_JWKS_URL, AUTH_ISSUER: issuer, AUTH_AUDIENCE: 'treeline', AUTH_DEFAULT_SCOPES: 'chat' };
  return createAuthenticator({ database: runtime, config: readConfig(environment), log });
}

function jwt(claims: JWTPayload = {}, expires: string | number | null = '5m'): Promise<string> {
  const unsigned = new SignJWT({ sub: 'someone', iss: issuer, aud: 'treeline', ...claims });
  if (expires !== null) unsigned.setExpirationTime(expires);
  return unsigned.setProtectedHeader({ alg: 'ES256', kid: 'one' }).sign(privateKey);
}

const seen = async (claims: JWTPayload, expires?: number) =>
  newAuthenticator().authenticate(await jwt(claims, expires ?? '5m'));

const refused = (proof: Promise<unknown>) =>
  proof.then(
    () => 'let in',
    (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
  );

describe('when the keys cannot be had', () => {
  test.each<[string, (response: ServerResponse) => void]>([
    ['an error', (response) => response.writeHead(500).end('no')],
    ['no JSON', (response) => response.end('<html>')],
    ['no key set', (response) => response.end('{"hello":"world"}')],
    ['nothing', (response) => response.destroy()],
  ])(
    'because the provider answers %s, the caller is told to try again and the operator is warned',
    async (_case, give) => {
      answer = give;
      const proof = await jwt();
      expect(await refused(newAuthenticator().authenticate(proof))).toBe(
        'UNAUTHENTICATED: The token cannot be checked at the moment: try again.',
      );
      expect(logged).toContain('"level":40');
      expect(logged).not.toContain(proof.split('.')[2]);
    },
  );

  test('and they come back, the same token is let in', async () => {
    answer = (response) => response.writeHead(503).end();
    const [authenticator, proof] = [newAuthenticator(), await jwt()];
    expect(await refused(authenticator.authenticate(proof))).toContain('try again');
    answer = (response) => response.end(keys);
    expect(await refused(authenticator.authenticate(proof))).toBe('let in');
  });
});

describe('a JWT', () => {
  test.each<[string, JWTPayload, string | number | null]>([
    ['without an expiry', {}, null],
    ['without a subject', { sub: undefined } as never, '5m'],
    ['that is not valid yet', { nbf: Math.floor(Date.now() / 1_000) + 600 }, '5m'],
  ])('%s is refused, and what it claims stands in no log line', async (_case, claims, expires) => {
    const proof = await jwt({ ...claims, email: 'ada@private.example' }, expires);
    expect(await refused(newAuthenticator().authenticate(proof))).toMatch(/^UNAUTHENTICATED: /);
    expect(logged).not.toContain('ada@private.example');
  });

  test('may have expired by as much as clocks may differ', async () => {
    const now = Math.floor(Date.now() / 1_000);
    expect((await seen({ sub: 'clock' }, now - 2)).handle).toBe('clock');
    expect(await refused(seen({ sub: 'clock' }, now - 10))).toContain('expired');
  });

  test.each<[string, JWTPayload]>([
    ['scope', { scope: 'registry:read' }],
    ['scp', { scp: ['registry:read'] }],
    ['scopes', { scopes: ['registry:read'] }],
    ['scp beside a foreign scope', { scope: 'openid', scp: ['registry:read'] }],
  ])('is limited by the claim %s', async (_case, claims) => {
    expect([...(await seen({ sub: 'limits', ...claims })).scopes]).toEqual([]);
    expect([...(await seen({ sub: 'limits' })).scopes]).toEqual(['chat']);
  });

  test('of a disabled principal is refused', async () => {
    const { principalId } = await seen({ sub: 'gone' });
    await database.owner.query('select auth.set_principal_disabled($1, true)', [principalId]);
    expect(await refused(seen({ sub: 'gone' }))).toContain('disabled');
  });
});

describe('the handle of a principal made at first sight', () => {
  test.each([
    ['Ada Lovelace', 'ada-lovelace'],
    ['Ада', 'user'],
    ['..x..', 'x'],
    ['x'.repeat(300), 'x'.repeat(80)],
  ])('for %.20s is one that the rules allow', async (preferred_username, handle) => {
    expect((await seen({ sub: `named ${handle}`, preferred_username })).handle).toBe(handle);
  });

  test('is never that of another one or of the local administrator', async () => {
    expect((await seen({ sub: 'twin-1', preferred_username: 'twin' })).handle).toBe('twin');
    expect((await seen({ sub: 'twin-2', preferred_username: 'twin' })).handle).toBe('twin-2');
    expect((await seen({ sub: 'squatter', preferred_username: 'Local' })).handle).toBe('local-2');
  });

  test('gives way to an administrator who takes it at the same moment', async () => {
    const admin = await database.owner.connect();
    try {
      await admin.query('begin');
      await admin.query(`select auth.create_principal('user', 'raced', null, null, '{}')`);
      const sight = seen({ sub: 'raced', preferred_username: 'raced' });
      await database.owner.query(untilSomebodyWaits);
      await admin.query('commit');
      expect((await sight).handle).toBe('raced-2');
    } finally {
      admin.release();
    }
  });
});

test('nobody mints chat tokens for somebody who signs in at a provider, not even a first one', async () => {
  const { principalId } = await seen({ sub: 'private' });
  const admin = await value<string>(
    database.owner,
    `select auth.create_principal('user', 'nosy', null, null, '{admin}')`,
  );
  const client = await database.runtime.connect();
  try {
    await client.query(`begin`);
    await client.query(
      `select set_config('app.current_user_id', $1, true), set_config('app.current_user_scopes', 'admin', true)`,
      [admin],
    );
    const mint = client.query(`select auth.create_token($1, 'spy', $2, '{chat}', null)`, [
      principalId,
      hashToken(makeToken()),
    ]);
    expect(await refusalOf(mint)).toMatchObject({ code: 'FORBIDDEN', sqlstate: '42501' });
  } finally {
    await client.query('rollback');
    client.release();
  }
});
