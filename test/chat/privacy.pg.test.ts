import { sql } from 'kysely';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RequestContext } from '../../src/auth/context.ts';
import { messageColumns } from '../../src/chat/message/model.ts';
import { listMessages } from '../../src/chat/message/store.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { makePerson, makeProject, type Person, setMember } from '../support/people.ts';
import { refusalOf, rows, value } from '../support/sql.ts';
import { watch } from '../support/watch.ts';
import { append, clear, numbered, readPage } from './asking.ts';

let gateway: TestGateway;
let owner: Person;
let editor: Person;
let viewer: Person;
let stranger: Person;
let admin: Person;
let project: string;

beforeAll(async () => {
  gateway = await startGateway();
  owner = await makePerson(gateway, 'owner');
  editor = await makePerson(gateway, 'editor');
  viewer = await makePerson(gateway, 'viewer');
  stranger = await makePerson(gateway, 'stranger');
  admin = await makePerson(gateway, 'admin', ['ADMIN', 'REGISTRY_READ', 'REGISTRY_WRITE', 'CHAT']);
  project = await makeProject(gateway, 'private', owner);
  await setMember(gateway, project, editor, 'editor');
  await setMember(gateway, project, viewer, 'viewer');
  await append(gateway, owner.token, project, numbered('m', 0, 3));
  await putSnapshot(owner, project);
});
afterAll(() => gateway.close());

async function putSnapshot(person: Person, id: string) {
  const { putSnapshot } = await gateway.ask<{ putSnapshot: { userErrors: { code: string; message: string }[] } }>(
    'mutation ($i: PutSnapshotInput!) { putSnapshot(input: $i) { userErrors { code message } } }',
    { i: { project: { id }, files: { 'a.ts': 'secret' } } },
    { token: person.token },
  );
  return putSnapshot.userErrors;
}

async function snapshotOf(person: Person) {
  const { project: found } = await gateway.ask<{ project: { snapshot: { files: unknown } | null } }>(
    'query ($id: ID!) { project(by: { id: $id }) { snapshot { files } } }',
    { id: project },
    { token: person.token },
  );
  return found.snapshot;
}

const subscription =
  'subscription ($id: ID!) { messageAppended(project: { id: $id }, afterSequence: -1) { message { content } } }';

describe('through the API', () => {
  test('owner and members read, owner and editors write', async () => {
    for (const person of [owner, editor, viewer]) {
      expect((await readPage(gateway, person.token, project, { last: 2 })).nodes).toHaveLength(2);
      expect(await snapshotOf(person)).toEqual({ files: { 'a.ts': 'secret' } });
    }
    const { length: before } = (await readPage(gateway, owner.token, project, { first: 100 })).nodes;
    expect(await append(gateway, editor.token, project, numbered('editor', 0, 1))).toMatchObject({ insertedCount: 1 });
    expect(await append(gateway, viewer.token, project, numbered('viewer', 0, 1))).toMatchObject({
      insertedCount: null,
      userErrors: [{ code: 'FORBIDDEN' }],
    });
    expect(await clear(gateway, viewer.token, project, before + 1)).toMatchObject({
      userErrors: [{ code: 'FORBIDDEN' }],
    });
    expect(await putSnapshot(viewer, project)).toMatchObject([{ code: 'FORBIDDEN' }]);
    expect(await putSnapshot(editor, project)).toEqual([]);
  });

  test("somebody else's project is as one that is not there, for an administrator too", async () => {
    const nowhere = '00000000-0000-4000-8000-000000000000';
    for (const person of [stranger, admin]) {
      expect(await readPage(gateway, person.token, project, { last: 50 })).toMatchObject({ nodes: [] });
      expect(await snapshotOf(person)).toBeNull();
      for (const id of [project, nowhere]) {
        const refused = [{ code: 'NOT_FOUND', message: expect.stringMatching(/^You have no chat/) }];
        expect(await append(gateway, person.token, id, numbered('x', 0, 1))).toMatchObject({
          insertedCount: null,
          userErrors: refused,
        });
        expect(await clear(gateway, person.token, id, 3)).toMatchObject({ userErrors: [{ code: 'NOT_FOUND' }] });
        expect(await putSnapshot(person, id)).toMatchObject(refused);
        const watching = await watch(gateway, subscription, { id }, person.token);
        expect(await watching.failure()).toMatchObject({ extensions: { code: 'FORBIDDEN' } });
        await watching.close();
      }
    }
  });

  test('a token without the scope is refused, whoever it is of', async () => {
    const { createToken } = await gateway.ask<{ createToken: { token: string } }>(
      'mutation { createToken(input: { name: "narrow", scopes: [REGISTRY_READ] }) { token } }',
      {},
      { token: owner.token },
    );
    for (const query of [
      `{ project(by: { id: "${project}" }) { messages(last: 1) { nodes { id } } } }`,
      `{ project(by: { id: "${project}" }) { snapshot { summary } } }`,
      `mutation { clearMessages(input: { project: { id: "${project}" }, expectedCount: 3 }) { clearedCount } }`,
      `mutation { appendMessages(input: { project: { id: "${project}" }, messages: [] }) { insertedCount } }`,
      `mutation { putSnapshot(input: { project: { id: "${project}" }, files: {} }) { snapshot { summary } } }`,
    ]) {
      const { errors } = await gateway.request(query, {}, { token: createToken.token });
      expect([query, errors?.[0]?.extensions.code]).toEqual([query, 'FORBIDDEN']);
    }
  });

  test('the log itself tells of no chat', async () => {
    const { errors } = await gateway.request('subscription { events(topics: ["messages"]) { data } }');
    expect(errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
    const watching = await watch<{ topic: string }>(gateway, 'subscription { events { topic } }');
    await append(gateway, owner.token, project, numbered('unseen', 0, 1));
    await makeProject(gateway, 'seen', owner);
    expect(await watching.next()).toEqual({ topic: 'projects' });
    await watching.close();
  });
});

describe('as the role of request work, in SQL', () => {
  const asked: { name: string; set: (client: pg.PoolClient) => Promise<unknown> }[] = [
    { name: 'another user', set: (client) => setting(client, stranger.uuid) },
    { name: 'nobody: never set', set: async () => {} },
    { name: 'nobody: left empty by an earlier transaction', set: (client) => leftEmpty(client) },
    { name: 'nobody: no UUID', set: (client) => setting(client, "' or true --") },
  ];
  const setting = (client: pg.PoolClient, text: string) =>
    client.query(`select set_config('app.current_user_id', $1, false)`, [text]);

  async function leftEmpty(client: pg.PoolClient): Promise<void> {
    await client.query('begin');
    await client.query(`select set_config('app.current_user_id', $1, true)`, [owner.uuid]);
    expect(await value(client, 'select count(*)::int from chat.project_messages')).toBeGreaterThan(0);
    await client.query('commit');
    expect(await value(client, `select current_setting('app.current_user_id')`)).toBe('');
  }

  test.each(asked)('$name: reads nothing, and appends nothing', async ({ set }) => {
    const client = await gateway.database.runtime.connect();
    await set(client);
    for (const table of ['project_messages', 'project_counters', 'project_snapshots']) {
      expect(await rows(client, `select project_id from chat.${table}`)).toEqual([]);
    }
    const message = JSON.stringify([{ message_id: 'x', role: 'user', content: 'x' }]);
    expect(
      await refusalOf(client.query('select * from chat.append_project_messages($1, $2)', [project, message])),
    ).toMatchObject({
      code: 'NOT_FOUND',
    });
    expect(
      await refusalOf(
        client.query(
          `insert into chat.project_messages (project_id, message_id, sequence_num, role, content) values ($1, 'x', 99, 'user', '"x"')`,
          [project],
        ),
      ),
    ).toMatchObject({ sqlstate: '42501' });
    expect(
      await refusalOf(client.query('select * from chat.put_project_snapshot($1, $2)', [project, '{}'])),
    ).toMatchObject({
      code: 'NOT_FOUND',
    });
    expect(
      await refusalOf(
        client.query(`insert into chat.project_snapshots (project_id, files, bytes) values ($1, '{}', 2)`, [project]),
      ),
    ).toMatchObject({ sqlstate: '42501' });
    const changed = await client.query(`update chat.project_snapshots set summary = 'x'`);
    expect(changed.rowCount).toBe(0);
    expect(await refusalOf(client.query('select * from chat.clear_project_messages($1, 3)', [project]))).toMatchObject({
      code: 'NOT_FOUND',
    });
    expect(await refusalOf(client.query('select * from chat.read_snapshot_document($1)', [project]))).toMatchObject({
      code: 'NOT_FOUND',
    });
    client.release(true);
  });

  test('an editor writes in nobody else’s name, and changes and deletes nothing', async () => {
    const client = await gateway.database.runtime.connect();
    await setting(client, editor.uuid);
    const refused = async (sql: string) => (await refusalOf(client.query(sql))).sqlstate;
    expect(
      await refused(`insert into chat.project_messages (project_id, message_id, sequence_num, role, content, author_id)
      values ('${project}', 'forged', 99, 'user', '"x"', '${owner.uuid}')`),
    ).toBe('42501');
    expect(await refused(`update chat.project_messages set content = '"x"'`)).toBe('42501');
    expect(await refused('delete from chat.project_messages')).toBe('42501');
    expect(await refused('update chat.project_counters set next_sequence = 1000')).toBe('42501');
    expect(await refused('delete from chat.project_snapshots')).toBe('42501');
    client.release(true);
  });

  test('the owner of the schema is bound as well', async () => {
    const client = await gateway.database.connect();
    const superuser = await value<boolean>(
      client,
      'select rolsuper or rolbypassrls from pg_roles where rolname = current_user',
    );
    // Whom no policy binds it does not bind; the embedded server's owner is none of those.
    const expected = superuser ? expect.any(Number) : 0;
    expect(await value(client, 'select count(*)::int from chat.project_messages')).toEqual(expected);
    expect(
      await rows(
        client,
        `select relname from pg_class where relnamespace = 'chat'::regnamespace and relkind = 'r' and not relrowsecurity`,
      ),
    ).toEqual([]);
    expect(
      await rows(
        client,
        `select relname::text from pg_class where relnamespace = 'chat'::regnamespace and relkind = 'r' and relforcerowsecurity order by 1`,
      ),
    ).toEqual([{ relname: 'project_messages' }, { relname: 'project_snapshots' }]);
    await client.end();
  });

  test('who has no chat there does not make the database look for messages: the time it takes tells nothing', async () => {
    const page = { limit: 50, after: null, before: null, backwards: true };
    /** How many messages a page of that person's looks at. */
    async function lookedAt({ uuid }: Person): Promise<number> {
      return gateway.app.database.runtime.transaction().execute(async (db) => {
        const looked = async () => {
          const { rows: found } = await sql<{ looked: string }>`select seq_tup_read + idx_tup_fetch as looked
            from pg_stat_xact_user_tables where relid = 'chat.project_messages'::regclass`.execute(db);
          return Number(found[0]?.looked ?? 0);
        };
        const context = { db, viewer: { principalId: uuid, spaceIds: [], scopes: new Set() } };
        const before = await looked();
        await listMessages(context as unknown as RequestContext, [project], {
          names: messageColumns,
          page,
          roomBytes: 1_000_000,
        });
        return (await looked()) - before;
      });
    }
    expect(await lookedAt(viewer)).toBeGreaterThan(2);
    expect(await lookedAt(stranger)).toBe(0);
  });

  test('appending has the rights of its caller', async () => {
    expect(
      await value(
        gateway.database.owner,
        `select prosecdef from pg_proc where oid = 'chat.append_project_messages'::regproc`,
      ),
    ).toBe(false);
  });
});
