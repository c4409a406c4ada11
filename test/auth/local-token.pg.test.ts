import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ensureLocalToken } from '../../src/auth/local-token.ts';
import { hashToken, makeToken } from '../../src/auth/token/model.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { rows, value } from '../support/sql.ts';
import { untilSomebodyWaits } from './waiting.ts';

let folder: string;
let file: string;
let database: TestDatabase;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'treeline-token-'));
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.close();
  await rm(folder, { recursive: true });
});
beforeEach(async () => {
  file = join(folder, makeToken(), 'token');
  await database.owner.query('delete from auth.principals');
});

const ensure = () => ensureLocalToken({ ownerPool: database.owner, file });
const outcomeOf = async (token: string | null) =>
  (
    await rows<{ outcome: string; scopes: string[] }>(
      database.owner,
      'select outcome, scopes from auth.authenticate($1)',
      [hashToken(token ?? '')],
    )
  )[0];
const tokens = () => value<number>(database.owner, 'select count(*)::int from auth.tokens');

describe('the first admin token', () => {
  test('may do everything', async () => {
    const found = await outcomeOf(await ensure());
    expect(found?.outcome).toBe('ok');
    expect(found?.scopes).toHaveLength(7);
  });

  test('works where another gateway, with a token of its own, is making the principal at the same moment', async () => {
    const other = await database.owner.connect();
    try {
      await other.query('begin');
      await other.query(
        `insert into auth.principals (kind, handle, scopes) values ('user', 'local', '{registry:read,admin}')`,
      );
      const started = ensure();
      await database.owner.query(untilSomebodyWaits);
      await other.query('commit');
      const found = await outcomeOf(await started);
      expect(found?.outcome).toBe('ok');
      expect(new Set(found?.scopes)).toEqual(new Set(['registry:read', 'admin']));
    } finally {
      other.release();
    }
    expect(await value(database.owner, 'select count(*)::int from auth.principals')).toBe(1);
  });

  test('takes the place of one that has expired', async () => {
    const first = await ensure();
    await database.owner.query(`update auth.tokens set expires_at = now() - interval '1 second'`);
    const second = await ensure();
    expect(second).not.toBe(first);
    expect((await outcomeOf(second))?.outcome).toBe('ok');
  });

  test('is made anew where the file holds something else', async () => {
    await ensure();
    await writeFile(file, 'nonsense\n');
    expect((await outcomeOf(await ensure()))?.outcome).toBe('ok');
  });

  test('is kept while its principal is disabled: starting again and again makes no more', async () => {
    const token = await ensure();
    await database.owner.query(`update auth.principals set disabled_at = now()`);
    expect(await ensure()).toBe(token);
    expect(await ensure()).toBe(token);
    expect(await tokens()).toBe(1);
  });

  test('is neither made nor kept where the database is administered by others', async () => {
    expect(await ensureLocalToken({ ownerPool: database.owner, file: null })).toBeNull();
    expect(await tokens()).toBe(0);
  });
});
