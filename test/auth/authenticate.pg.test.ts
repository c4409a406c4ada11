import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Authenticator, createAuthenticator } from '../../src/auth/authenticate.ts';
import { hashToken, makeToken } from '../../src/auth/token/model.ts';
import { readConfig } from '../../src/config.ts';
import { type Database, openDatabase } from '../../src/db/database.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { value } from '../support/sql.ts';

let database: TestDatabase;
let runtime: Database;
let authenticator: Authenticator;
let statements: string[] = [];
/** With the id of a token whose use was noted. */
let noticed: (id: unknown) => void = () => {};

const log = pino({ level: 'silent' });

beforeAll(async () => {
  database = await createTestDatabase();
  runtime = openDatabase({
    ownerUrl: database.ownerUrl,
    runtimeUrl: database.runtimeUrl,
    poolSize: 5,
    statementTimeoutMs: 10_000,
    log,
    onStatement: ({ query }) => {
      statements.push(query.sql);
      if (query.sql.includes('touch_token')) noticed(query.parameters[0]);
    },
  });
});
afterAll(async () => {
  await runtime.close();
  await database.close();
});

beforeEach(() => {
  statements = [];
  authenticator = createAuthenticator({ database: runtime, config: readConfig({}), log });
});
afterEach(() => {
  vi.useRealTimers();
});

const lookUps = () => statements.filter((sql) => sql.includes('auth.authenticate')).length;

/** A user with one token, as SQL users make them. */
async function tokenOf(handle: string, scopes = ['registry:read']): Promise<{ token: string; id: string }> {
  const token = makeToken();
  const principal = await value<string>(database.owner, `select auth.create_principal('user', $1, null, null, $2)`, [
    handle,
    scopes,
  ]);
  const id = await value<string>(database.owner, `select auth.create_token($1, 'test', $2, $3, null)`, [
    principal,
    hashToken(token),
    scopes,
  ]);
  return { token, id };
}

const messageOf = (proof: string | null) =>
  authenticator.authenticate(proof).then(
    () => 'let in',
    (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
  );

describe('what proves an identity', () => {
  test('is the token, with or without Bearer in any case', async () => {
    const { token, id } = await tokenOf('forms');
    for (const proof of [token, `Bearer ${token}`, `bearer  ${token} `]) {
      expect((await authenticator.authenticate(proof)).tokenId).toBe(id);
    }
  });

  test.each([[null], [''], ['Bearer'], ['Bearer '], ['Basic dXNlcjpwYXNz'], ['a.b.c'], [`tl_${'x'.repeat(44)}`]])(
    'is not %j, and costs no statement',
    async (proof) => {
      expect(await messageOf(proof)).toMatch(/^UNAUTHENTICATED: /);
      expect(statements).toEqual([]);
    },
  );

  test('a refusal names neither the token nor anything that an unknown one could tell', async () => {
    const { token, id } = await tokenOf('quiet');
    const unknown = makeToken();
    expect(await messageOf(unknown)).toBe('UNAUTHENTICATED: The token is not known here.');
    await database.owner.query('select auth.revoke_token($1)', [id]);
    const refused = await messageOf(token);
    expect(refused).toContain('revoked');
    expect(refused).not.toContain(token.slice(3, 12));
  });
});

describe('look-ups', () => {
  test('of one token at once are one statement', async () => {
    const { token } = await tokenOf('crowd');
    await Promise.all(Array.from({ length: 50 }, () => authenticator.authenticate(token)));
    expect(lookUps()).toBe(1);
  });

  test('that failed are not remembered: the token works as soon as it is there', async () => {
    const token = makeToken();
    expect(await messageOf(token)).toContain('not known');
    const { id } = await tokenOf('late');
    await database.owner.query('update auth.tokens set hash = $2 where id = $1', [id, hashToken(token)]);
    expect((await authenticator.authenticate(token)).tokenId).toBe(id);
  });

  test('are not shared with whoever asks after a revocation, even while they run', async () => {
    const { token, id } = await tokenOf('in-flight');
    const before = authenticator.authenticate(token);
    authenticator.forgetToken(id);
    const after = authenticator.authenticate(token);
    await Promise.all([before, after]);
    expect(lookUps()).toBe(2);
  });

  test('are remembered for 2 seconds at most, where another gateway revoked the token', async () => {
    const { token, id } = await tokenOf('elsewhere');
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() });
    await authenticator.authenticate(token);
    await database.owner.query('select auth.revoke_token($1)', [id]);
    expect(await messageOf(token)).toBe('let in');
    vi.setSystemTime(Date.now() + 2_000);
    expect(await messageOf(token)).toContain('revoked');
  });

  test('are forgotten at once where this gateway revoked it', async () => {
    const { token, id } = await tokenOf('here');
    await authenticator.authenticate(token);
    await database.owner.query('select auth.revoke_token($1)', [id]);
    authenticator.forgetToken(id);
    expect(await messageOf(token)).toContain('revoked');
  });

  test('do not outlive the expiry of the token', async () => {
    const { token, id } = await tokenOf('short');
    await database.owner.query(`update auth.tokens set expires_at = now() + interval '1 hour' where id = $1`, [id]);
    const { expiresAtMs } = await authenticator.authenticate(token);
    vi.useFakeTimers({ toFake: ['Date'], now: (expiresAtMs ?? 0) - 1_000 });
    await authenticator.authenticate(token);
    vi.setSystemTime(expiresAtMs ?? 0);
    expect(await messageOf(token)).toContain('expired');
  });
});

test.each([
  ['30 seconds', false],
  ['61 seconds', true],
])('a use %s after the last one noted is noted: %s', async (since, moves) => {
  const { token, id } = await tokenOf(`used-${since.slice(0, 2)}`);
  const lastUse = () => value<Date>(database.owner, 'select last_used_at from auth.tokens where id = $1', [id]);
  await database.owner.query('update auth.tokens set last_used_at = now() - $2::interval where id = $1', [id, since]);
  const before = await lastUse();
  const touched = new Promise<void>((resolve) => {
    noticed = (noted) => {
      // Those of earlier tests may still be under way.
      if (noted === id) resolve();
    };
  });
  await authenticator.authenticate(token);
  await touched;
  expect((await lastUse()).getTime() > before.getTime()).toBe(moves);
});
