import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { beforeAll, describe, expect, test } from 'vitest';
import { refusalOf, rows, value } from '../../support/sql.ts';
import { as, begin } from '../transaction.ts';
import { appId, change, idsOf, listRecords, makeSpace, makeUsers, pushAs, readAll, type Sent } from './asking.ts';
import { database, runtime } from './setting.ts';

let owner: string;
let editor: string;
let viewer: string;
let stranger: string;
const space = 'shared';

beforeAll(async () => {
  [owner = '', editor = '', viewer = '', stranger = ''] = await makeUsers(database, 4);
  await makeSpace(database, space, [
    [owner, 'owner'],
    [editor, 'editor'],
    [viewer, 'viewer'],
  ]);
  await pushAs(runtime, owner, [change('own'), change('shared', { space_id: space })]);
  await pushAs(runtime, stranger, [change('secret')]);
});

/** As somebody who has set everything as it likes: what the policies alone leave. */
async function asking<T>(
  settings: { user?: string; spaces?: string },
  action: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const client = await runtime.connect();
  try {
    await client.query('begin');
    if (settings.user !== undefined)
      await client.query(`select set_config('app.current_user_id', $1, true)`, [settings.user]);
    if (settings.spaces !== undefined)
      await client.query(`select set_config('app.current_user_space_ids', $1, true)`, [settings.spaces]);
    return await action(client);
  } finally {
    await client.query('rollback');
    client.release();
  }
}

const idsIn = async (client: pg.PoolClient) =>
  idsOf(await rows<{ change_id: string }>(client, 'select change_id from sync.sync_changes order by position'));
const recordsIn = async (client: pg.PoolClient) =>
  (
    await rows<{ record_id: string }>(
      client,
      "select record_id from sync.records order by coalesce(space_id, ''), record_id",
    )
  ).map(({ record_id }) => record_id);

/** As a statement of its own: what `sync.push_changes` would not let through. */
function insert(client: pg.PoolClient, changeId: string, row: { user_id?: string; space_id?: string | null } = {}) {
  const { user_id = null, space_id = null } = row;
  return client.query(
    `insert into sync.sync_changes (user_id, space_id, app_id, table_name, record_id, op, data, field_meta, client_id, change_id)
     values (coalesce($1::uuid, auth.current_principal_id()), $2, 'notes', 'note', 'of ' || $3, 'insert', '{"text": "x"}',
       '{"text": "2026-01-01T00:00:00.000000Z"}', 'sql', $3)`,
    [user_id, space_id, changeId],
  );
}

test('the role that the policies are tried with is bound by them', async () => {
  const [role] = await rows(runtime, 'select rolsuper, rolbypassrls from pg_roles where rolname = current_user');
  expect(role).toEqual({ rolsuper: false, rolbypassrls: false });
  const forced = await rows(
    database.owner,
    `select relname from pg_class where relnamespace = 'sync'::regnamespace and relrowsecurity and relforcerowsecurity order by 1`,
  );
  expect(forced.map((table) => (table as { relname: string }).relname)).toEqual(['records', 'sync_changes']);
});

describe('reading', () => {
  test("shows everyone's own changes and records, and those of its spaces", async () => {
    const seen = { owner: ['own', 'shared'], editor: ['shared'], viewer: ['shared'], stranger: ['secret'] };
    for (const [who, ids] of Object.entries(seen)) {
      const user = { owner, editor, viewer, stranger }[who] ?? '';
      const found = await as(runtime, user, async (client) => ({
        pulled: idsOf((await readAll(client)).changes),
        records: (await listRecords(client)).map(({ record_id }) => record_id),
        // The functions have let it see its spaces.
        log: await idsIn(client),
        merged: await recordsIn(client),
      }));
      const records = ids.map((id) => `of ${id}`);
      expect(found, who).toEqual({ pulled: ids, records, log: ids, merged: records });
    }
  });

  test("exports one's own changes, and nobody else's of the same space", async () => {
    const exported = (user: string) =>
      as(runtime, user, async (client) => {
        const lines = await value<string>(
          client,
          `select lines from sync.export_changes(null, null, '', 0, 500, 8000000)`,
        );
        return lines
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => (JSON.parse(line) as Sent).change_id);
      });
    expect(await exported(owner)).toEqual(['own', 'shared']);
    expect(await exported(editor)).toEqual([]);
    expect(await exported(stranger)).toEqual(['secret']);
  });

  test.each([
    ['nobody', {}],
    ['an empty id', { user: '' }],
    ['what is no id', { user: `' or true --` }],
    ['a part of an id', { user: '00000000-0000-0000-0000' }],
    ['nobody, with a space', { spaces: space }],
    ['an empty id, with spaces', { user: '', spaces: `,${space},,` }],
  ])('as %s reaches nothing', async (_, settings) => {
    await asking(settings, async (client) => {
      expect(await idsIn(client)).toEqual([]);
      expect(await recordsIn(client)).toEqual([]);
    });
    const calls = [
      'select * from sync.enter()',
      `select * from sync.read_changes('notes', null, null, null, null, null, 10)`,
      `select * from sync.list_records('notes', 'note', null, null, 10)`,
      `select * from sync.export_changes(null, null, '', 0, 10, 1000)`,
      `select * from sync.push_changes('notes', 'c', null, '[${JSON.stringify(change('nobody'))}]')`,
      `select * from sync.import_changes('[${JSON.stringify(change('nobody'))}]', 1)`,
    ];
    for (const call of calls) {
      const refused = await asking(settings, (client) => refusalOf(client.query(call)));
      expect(refused, call).toMatchObject({ code: 'FORBIDDEN' });
    }
    expect((await asking(settings, (client) => refusalOf(insert(client, 'nobody')))).sqlstate).toMatch(
      /^(42501|23502)$/,
    );
  });

  test('as somebody who does not exist finds nothing', async () => {
    await asking({ user: randomUUID(), spaces: '' }, async (client) => {
      expect(await idsIn(client)).toEqual([]);
      expect((await readAll(client)).changes).toEqual([]);
      expect(await listRecords(client)).toEqual([]);
    });
  });

  test('ends with the setting: the next transaction of the connection is nobody', async () => {
    const client = await runtime.connect();
    await begin(client, owner);
    await readAll(client);
    expect(await idsIn(client)).toEqual(['own', 'shared']);
    await client.query('commit');
    expect(await idsIn(client)).toEqual([]);
    client.release();
  });

  test('in a space that is named like a user reaches nothing of that user', async () => {
    await makeSpace(database, owner, [[stranger, 'owner']]);
    await pushAs(runtime, stranger, [
      { ...change('lookalike'), record_id: 'of own', op: 'delete', data: null, space_id: owner },
    ]);
    const [mine, its] = await Promise.all(
      [owner, stranger].map((user) =>
        as(runtime, user, async (client) => ({
          pulled: idsOf((await readAll(client)).changes),
          records: await listRecords(client),
        })),
      ),
    );
    expect(mine?.pulled).toEqual(['own', 'shared']);
    expect(mine?.records[0]).toMatchObject({ record_id: 'of own', data: { text: 'own' }, deleted_position: null });
    expect(its?.pulled).toEqual(['secret', 'lookalike']);
    expect(its?.records.map(({ place, record_id }) => [place, record_id])).toEqual([
      ['', 'of secret'],
      [owner, 'of own'],
    ]);
    expect(await rows(database.owner, 'select * from sync.check_records()')).toEqual([]);
  });
});

describe('writing', () => {
  test('in the name of another is refused', async () => {
    for (const user of [owner, stranger]) {
      const other = user === owner ? stranger : owner;
      const refused = await asking({ user, spaces: space }, (client) =>
        refusalOf(insert(client, 'forged', { user_id: other })),
      );
      expect(refused).toMatchObject({ sqlstate: '42501' });
    }
    // What pushes do not ask for they do not take.
    await pushAs(runtime, editor, [{ ...change('named'), user_id: owner } as Sent]);
    await asking({ user: editor }, async (client) => {
      expect(await rows(client, `select user_id from sync.sync_changes where change_id = 'named'`)).toEqual([
        { user_id: editor },
      ]);
    });
  });

  test.each([
    ['a stranger', () => stranger, 'NOT_FOUND'],
    ['a viewer', () => viewer, 'FORBIDDEN'],
  ])('into a space as %s is refused, whatever the settings say', async (_, user, code) => {
    const changes = [change('before'), change('intruding', { space_id: space, op: 'delete', data: null })];
    expect(await refusalOf(pushAs(runtime, user(), changes))).toMatchObject({
      code,
      details: { index: 1, field: 'spaceId' },
    });
    expect(
      await refusalOf(
        as(runtime, user(), (client) =>
          client.query('select * from sync.import_changes($1, 1)', [
            JSON.stringify(changes.map((one) => ({ ...one, app_id: appId, client_id: 'phone' }))),
          ]),
        ),
      ),
    ).toMatchObject({ code, details: { index: 1, field: 'spaceId' } });
    const inserted = asking({ user: user(), spaces: space }, (client) =>
      refusalOf(insert(client, 'intruding', { space_id: space })),
    );
    expect(await inserted).toMatchObject({ sqlstate: '42501' });
    await asking({ user: owner, spaces: space }, async (client) => {
      expect(await idsIn(client)).toEqual(['own', 'shared']);
    });
  });

  test('into a space with the settings of another is refused by the policy', async () => {
    const inserted = asking({ user: owner, spaces: '' }, (client) =>
      refusalOf(insert(client, 'unset', { space_id: space })),
    );
    expect(await inserted).toMatchObject({ sqlstate: '42501' });
    await asking({ user: owner, spaces: space }, (client) => insert(client, 'set', { space_id: space }));
  });

  test.each([
    `update sync.sync_changes set data = '{}'`,
    `update sync.sync_changes set xid = '1'`,
    'delete from sync.sync_changes',
    'truncate sync.sync_changes',
    `update sync.records set data = '{}'`,
    'delete from sync.records',
    'truncate sync.records',
    `insert into sync.records (user_id, app_id, table_name, record_id, schema_version, data, field_meta, field_positions, position)
     values (auth.current_principal_id(), 'notes', 'note', 'r', 1, '{}', '{}', '{}', 1)`,
    `insert into sync.app_versions (app_id, version) values ('notes', 2)`,
    ...['id', 'position', 'xid', 'bytes'].map((column) => `insert into sync.sync_changes (${column}) values (default)`),
    `select setval('sync.change_position', 1)`,
    'alter sequence sync.change_position restart',
    'alter table sync.sync_changes disable row level security',
    'alter table sync.sync_changes disable trigger all',
    'drop policy sync_changes_user_isolation on sync.sync_changes',
    'select * from sync.check_records()',
    'select sync.on_changes()',
    'create table sync.mine (n int)',
    'select * from feed.events',
    'select feed.open()',
  ])('anything but changes is refused: %s', async (statement) => {
    const refused = await asking({ user: owner, spaces: space }, (client) => refusalOf(client.query(statement)));
    expect(refused).toMatchObject({ sqlstate: '42501' });
  });

  test('by the owner of the schema is to the log alone, which only grows', async () => {
    const statements = [
      `update sync.sync_changes set data = '{}'`,
      'delete from sync.sync_changes',
      'truncate sync.sync_changes',
      'delete from sync.records where true',
      'truncate sync.records',
    ];
    for (const statement of statements) {
      const client = await database.connect();
      await begin(client, owner);
      expect(await refusalOf(client.query(statement)), statement).toMatchObject({ code: 'FORBIDDEN' });
      await client.end();
    }
  });

  test('of a schema version that nobody registered is refused, by whatever statement', async () => {
    const refused = await asking({ user: owner }, (client) =>
      refusalOf(
        client.query(
          `insert into sync.sync_changes (app_id, table_name, record_id, op, data, field_meta, client_id, change_id, schema_version)
           values ('${appId}', 'note', 'r', 'insert', '{}', '{}', 'c', 'ahead', 7)`,
        ),
      ),
    );
    expect(refused).toMatchObject({ code: 'UNSUPPORTED_VERSION' });
  });

  test('a schema version needs admin', async () => {
    const refused = await asking({ user: owner }, (client) =>
      refusalOf(client.query(`select sync.register_version('notes', 2)`)),
    );
    expect(refused).toMatchObject({ code: 'FORBIDDEN' });
  });
});
