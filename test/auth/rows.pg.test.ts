import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hashToken, makeToken } from '../../src/auth/token/model.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { refusalOf, rows, value } from '../support/sql.ts';

/** What the database itself keeps apart: every statement here is the runtime role's, with the settings of one principal. */
let database: TestDatabase;
let ada: Asker;
let bob: Asker;
let admin: Asker;

interface Asker {
  id: string;
  scopes: string[];
  spaces?: string[];
}

beforeAll(async () => {
  database = await createTestDatabase();
  ada = await make('ada', ['registry:read', 'sync']);
  bob = await make('bob', ['registry:read', 'sync']);
  admin = await make('admin', ['admin', 'chat']);
  await as(ada, `select auth.save_space('ada-space', 'Ada')`);
  await as(bob, `select auth.save_space('bob-space', 'Bob')`);
});
afterAll(() => database.close());

async function make(handle: string, scopes: string[], tokens = 1): Promise<Asker> {
  const id = await value<string>(database.owner, `select auth.create_principal('user', $1, null, null, $2)`, [
    handle,
    scopes,
  ]);
  for (let n = 0; n < tokens; n += 1) {
    await database.owner.query(`select auth.create_token($1, 'test', $2, $3, null)`, [id, newHash(), scopes]);
  }
  return { id, scopes };
}

const newHash = () => hashToken(makeToken());

async function as<T extends object>(asker: Asker | null, sql: string, values: unknown[] = []): Promise<T[]> {
  const client = await database.runtime.connect();
  try {
    await client.query('begin');
    await client.query(
      `select set_config('app.current_user_id', $1, true), set_config('app.current_user_scopes', $2, true),
        set_config('app.current_user_space_ids', $3, true)`,
      [asker?.id ?? '', asker?.scopes.join(',') ?? '', asker?.spaces?.join(',') ?? ''],
    );
    const found = await rows<T>(client, sql, values);
    await client.query('commit');
    return found;
  } finally {
    await client.query('rollback');
    client.release();
  }
}

describe('row-level security', () => {
  test("hides other principals' tokens, spaces and members of spaces", async () => {
    const inSpace = { ...ada, spaces: ['ada-space'] };
    expect(await as(inSpace, 'select distinct principal_id from auth.tokens')).toEqual([{ principal_id: ada.id }]);
    expect(await as(inSpace, 'select id from auth.spaces')).toEqual([{ id: 'ada-space' }]);
    expect(await as(inSpace, 'select distinct space_id from auth.space_members')).toEqual([{ space_id: 'ada-space' }]);
  });

  test('shows an administrator all tokens, and no space that is not its own', async () => {
    expect((await as(admin, 'select distinct principal_id from auth.tokens')).length).toBeGreaterThanOrEqual(3);
    expect(await as(admin, 'select id from auth.spaces')).toEqual([]);
  });

  test.each([
    `insert into auth.tokens (principal_id, name, hash, scopes) select id, 'x', '\\x00', '{admin}' from auth.principals`,
    `update auth.tokens set revoked_at = null`,
    `delete from auth.principals`,
    `insert into auth.project_members (project_id, principal_id, role) select id, id, 'owner' from auth.principals`,
    `update auth.space_members set role = 'owner'`,
    `alter table auth.tokens disable row level security`,
    `select auth.get_principal(auth.current_principal_id())`,
    `select auth.refuse('INVALID', 'x')`,
  ])('lets nobody, not even an administrator: %s', async (statement) => {
    await expect(as(admin, statement)).rejects.toThrow(/permission denied|must be owner/);
  });

  test.each([
    `select auth.create_principal('user', 'nobody', null, null, '{}')`,
    `select auth.update_principal(gen_random_uuid(), '{}')`,
    `select auth.set_principal_disabled(gen_random_uuid(), true)`,
  ])('and without a principal nothing is to be had: %s', async (call) => {
    expect(await refusalOf(as(null, call))).toMatchObject({ code: 'FORBIDDEN', sqlstate: '42501' });
    expect(await refusalOf(as(ada, call))).toMatchObject({ code: 'FORBIDDEN' });
  });

  test('every foreign key has an index that leads with it', async () => {
    const bare = await rows(
      database.owner,
      `select conname from pg_constraint c join pg_namespace n on n.oid = connamespace
       where nspname = 'auth' and contype = 'f' and not exists (
         select from pg_index i where indrelid = conrelid and indkey[0] = conkey[1])`,
    );
    expect(bare).toEqual([]);
  });
});

describe('tokens', () => {
  const mint = (asker: Asker, whose: Asker, scopes: string[]) =>
    as<{ id: string }>(asker, `select auth.create_token($1, 'minted', $2, $3, null) as id`, [
      whose.id,
      newHash(),
      scopes,
    ]);

  test('with chat or sync for another: the first one only, and one of two made at once', async () => {
    const fresh = await make('fresh', ['registry:read', 'chat'], 0);
    const outcomes = await Promise.allSettled([mint(admin, fresh, ['chat']), mint(admin, fresh, ['chat'])]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await mint(admin, fresh, ['registry:read'])).toHaveLength(1);
  });

  test('are no way for admin to scopes that its own token lacks', async () => {
    const without = { ...admin, scopes: ['admin'] };
    expect(await refusalOf(mint(without, admin, ['chat']))).toMatchObject({ code: 'FORBIDDEN' });
    expect(await mint(admin, admin, ['chat'])).toHaveLength(1);
  });

  test('are revoked by their principal or admin; to others they do not exist', async () => {
    const [token] = await mint(bob, bob, ['registry:read']);
    const revoke = (asker: Asker) => as(asker, 'select auth.revoke_token($1)', [token?.id]);
    const unknown = refusalOf(as(ada, 'select auth.revoke_token(gen_random_uuid())'));
    expect(await refusalOf(revoke(ada))).toMatchObject({ code: (await unknown).code, sqlstate: 'P0002' });
    await revoke(admin);
    await revoke(bob);
  });
});

describe('administrators', () => {
  test('cannot take the scope from themselves, nor shut themselves out', async () => {
    const self = [admin.id];
    for (const call of [`update_principal($1, '{"scopes": []}')`, 'set_principal_disabled($1, true)']) {
      expect(await refusalOf(as(admin, `select auth.${call}`, self))).toMatchObject({ code: 'INVALID' });
    }
    expect(await as(admin, `select auth.update_principal($1, '{"display_name": "A"}') is null as lost`, self)).toEqual([
      { lost: false },
    ]);
  });

  test.each(['', '-x', 'x-', 'a b', 'ä', 'x'.repeat(101), null])('cannot give the handle %j', async (handle) => {
    await expect(as(admin, `select auth.create_principal('user', $1, null, null, '{}')`, [handle])).rejects.toThrow(
      /principals_handle_check|not-null/,
    );
  });

  test('give handles without regard to case, each once', async () => {
    await as(admin, `select auth.create_principal('user', 'Case', null, null, '{}')`);
    await expect(as(admin, `select auth.create_principal('agent', 'cASE', null, null, '{}')`)).rejects.toThrow(
      /principals_handle_key/,
    );
  });
});

test('of two owners who remove each other at once, one stays', async () => {
  await as(ada, `select auth.save_space('duel', 'Duel')`);
  const set = (asker: Asker, whose: Asker, role: string | null) =>
    as(asker, `select auth.set_space_member('duel', $1, $2)`, [whose.id, role]);
  await set(ada, bob, 'owner');
  const outcomes = await Promise.allSettled([set(ada, bob, null), set(bob, ada, null)]);
  expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect(await value(database.owner, `select count(*)::int from auth.space_members where space_id = 'duel'`)).toBe(1);
});
