import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { makePerson, type Person } from '../support/people.ts';
import { value } from '../support/sql.ts';
import {
  appId,
  idsOf,
  listRecords,
  makeSpace,
  numbered,
  pull,
  pullAll,
  pullDocument,
  push,
  setSpaceMember,
} from './asking.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.close());

let count = 0;
const person = (scopes = ['REGISTRY_READ', 'SYNC']): Promise<Person> => {
  count += 1;
  return makePerson(gateway, `person-${count}`, scopes);
};

describe('a push', () => {
  test('of 500 changes is one statement, and answers each with its position', async () => {
    const ada = await person();
    await push(gateway, ada, 'phone', numbered('warm', 1));
    gateway.takeStatements();
    const { accepted, userErrors, cursor } = await push(gateway, ada, 'phone', numbered('c', 500));
    const statements = gateway.takeStatements().filter(({ query }) => query.sql.includes('sync.'));
    expect(statements).toHaveLength(1);
    expect(userErrors).toEqual([]);
    expect(accepted?.map(({ changeId }) => changeId)).toEqual(numbered('c', 500).map(({ changeId }) => changeId));
    expect(accepted?.every(({ duplicate }) => !duplicate)).toBe(true);
    const positions = accepted?.map(({ position }) => Number(position)) ?? [];
    expect(positions).toEqual(positions.toSorted((one, other) => one - other));
    expect(idsOf(await pull(gateway, ada, { since: cursor }))).toEqual(accepted?.map(({ changeId }) => changeId));
  });

  test('again is accepted, stores nothing and answers the same positions', async () => {
    const ada = await person();
    const first = await push(gateway, ada, 'phone', numbered('c', 3));
    const again = await push(gateway, ada, 'phone', numbered('c', 4, 1));
    expect(again.accepted?.map(({ duplicate }) => duplicate)).toEqual([true, true, false, false]);
    expect(again.accepted?.slice(0, 2).map(({ position }) => position)).toEqual(
      first.accepted?.slice(1).map(({ position }) => position),
    );
    const nothing = await push(gateway, ada, 'phone', numbered('c', 5));
    expect(nothing).toMatchObject({ cursor: null, userErrors: [] });
    expect(idsOf(await pullAll(gateway, ada))).toEqual(['c0', 'c1', 'c2', 'c3', 'c4']);
  });

  test.each([
    ['no data', { data: null }, 'INVALID', 'data', 'object of the fields'],
    ['a time far ahead', { fieldMeta: { text: '2126-01-01T00:00:00Z' } }, 'INVALID', 'fieldMeta', 'day ahead'],
    ['what is no time', { fieldMeta: { text: 'noon' } }, 'INVALID', 'fieldMeta', 'RFC 3339'],
    ['times as a list', { fieldMeta: ['2026-01-01T00:00:00Z'] }, 'INVALID', 'fieldMeta', 'an object'],
    ['U+0000', { data: { text: 'a\0b' } }, 'INVALID', 'data', 'U+0000'],
    ['half a surrogate pair', { recordId: '\ud800' }, 'INVALID', 'recordId', 'surrogate'],
    ['an empty table', { table: ' ' }, 'INVALID', 'table', '1 to 200 bytes'],
    ['a long record id', { recordId: 'é'.repeat(251) }, 'INVALID', 'recordId', '1 to 500 bytes'],
    ['another origin', { origin: 'server-replay' }, 'INVALID', 'origin', 'not pushed again'],
    ['a version that nobody registered', { schemaVersion: 2 }, 'UNSUPPORTED_VERSION', 'schemaVersion', 'up to 1'],
    ['a space of others', { spaceId: 'elsewhere' }, 'NOT_FOUND', 'spaceId', 'no space'],
    ['what is no space', { spaceId: 'a,b' }, 'NOT_FOUND', 'spaceId', 'no space'],
  ])('with %s is refused as a whole, and names the change', async (_name, part, code, field, text) => {
    const ada = await person();
    const bad = { changeId: 'bad', ...part } as never;
    const { accepted, cursor, userErrors } = await push(gateway, ada, 'phone', [
      ...numbered('c', 2),
      bad,
      ...numbered('d', 2),
    ]);
    expect({ accepted, cursor }).toEqual({ accepted: null, cursor: null });
    expect(userErrors).toMatchObject([{ code, path: ['input', 'changes', '2', field] }]);
    expect(userErrors[0]?.message).toContain(text);
    expect(userErrors[0]?.message).toMatch(/^Change 2: /);
    expect((await pullAll(gateway, ada)).changes).toEqual([]);
  });

  test('of too many changes, too many bytes, or none, is refused with the limit', async () => {
    const ada = await person();
    const many = await push(gateway, ada, 'phone', numbered('c', 501));
    expect(many.userErrors).toMatchObject([{ code: 'PAYLOAD_TOO_LARGE', details: { limit: 500 } }]);
    // Short when it comes and long where it is stored.
    const numbers = [{ changeId: 'n', data: { all: Array.from({ length: 40_000 }, () => 1e300) } }];
    expect((await push(gateway, ada, 'phone', numbers)).userErrors).toMatchObject([{ code: 'PAYLOAD_TOO_LARGE' }]);
    expect((await push(gateway, ada, 'phone', [])).userErrors).toMatchObject([{ code: 'INVALID' }]);
    expect((await pullAll(gateway, ada)).changes).toEqual([]);
  });

  test('is accepted again also by who may no longer write where it is stored', async () => {
    const [ada, bob] = [await person(), await person()];
    await makeSpace(gateway, ada, 'past');
    await setSpaceMember(gateway, ada, 'past', bob, 'EDITOR');
    const change = { changeId: 'c', recordId: 'r', spaceId: 'past' };
    const first = await push(gateway, bob, 'phone', [change]);
    for (const role of ['VIEWER', null] as const) {
      await setSpaceMember(gateway, ada, 'past', bob, role);
      const again = await push(gateway, bob, 'phone', [change]);
      expect(again.accepted).toMatchObject([{ duplicate: true, position: first.accepted?.[0]?.position }]);
      const other = await push(gateway, bob, 'phone', [change, { ...change, changeId: 'd' }]);
      expect(other.userErrors).toMatchObject([{ path: ['input', 'changes', '1', 'spaceId'] }]);
      const differs = await push(gateway, bob, 'phone', [{ ...change, data: { text: 'other' } }]);
      expect(differs.userErrors).toMatchObject([{ code: 'CONFLICT' }]);
    }
  });

  test('under an id that something else is stored under is a CONFLICT', async () => {
    const ada = await person();
    await push(gateway, ada, 'phone', numbered('c', 2));
    const other = await push(gateway, ada, 'phone', [
      { changeId: 'new' },
      { changeId: 'c1', recordId: 'of c1', data: { text: 'something else' } },
    ]);
    expect(other.userErrors).toMatchObject([{ code: 'CONFLICT', path: ['input', 'changes', '1', 'changeId'] }]);
    expect(idsOf(await pullAll(gateway, ada))).toEqual(['c0', 'c1']);
    // Another client's ids are its own.
    expect((await push(gateway, ada, 'laptop', numbered('c', 2))).accepted).toHaveLength(2);
  });

  test('goes through though another transaction that wrote the same records in another order was in its way', async () => {
    const ada = await person();
    await push(gateway, ada, 'phone', [
      { changeId: 'a', recordId: 'a' },
      { changeId: 'b', recordId: 'b' },
    ]);
    const other = await gateway.database.runtime.connect();
    const store = (recordId: string) =>
      other.query(`select sync.push_changes($1, 'other', null, $2)`, [
        appId,
        JSON.stringify([
          { change_id: recordId, table_name: 'note', record_id: recordId, op: 'update', data: { x: 1 } },
        ]),
      ]);
    try {
      await other.query('begin');
      await other.query(`select set_config('app.current_user_id', $1, true)`, [ada.uuid]);
      await store('b');
      const pushing = push(gateway, ada, 'phone', [
        { changeId: 'a2', recordId: 'a', op: 'UPDATE', data: { x: 2 } },
        { changeId: 'b2', recordId: 'b', op: 'UPDATE', data: { x: 2 } },
      ]);
      // Once it waits for b, it holds a.
      for (let waiting = 0; waiting === 0; ) {
        waiting = await value<number>(
          gateway.database.owner,
          `select count(*)::int from pg_locks l join pg_stat_activity s using (pid)
           where not l.granted and s.datname = current_database()`,
        );
      }
      await Promise.all([
        store('a')
          .then(() => other.query('commit'))
          .catch(() => other.query('rollback')),
        pushing,
      ]);
      expect((await pushing).accepted).toHaveLength(2);
    } finally {
      other.release();
    }
    expect(await value(gateway.database.owner, 'select count(*)::int from sync.check_records()')).toBe(0);
  });
});

describe('a pull', () => {
  test('tells each change as it was pushed, filled in where the client said nothing', async () => {
    const ada = await person();
    await push(gateway, ada, 'phone', [
      {
        changeId: 'full',
        recordId: 'r',
        data: { text: 'hello', done: false },
        fieldMeta: { text: '2026-11-20T12:00:00.5+02:00' },
        actor: { ai: 'scribe' },
        origin: 'agent',
        schemaVersion: -3,
      },
      { changeId: 'bare', recordId: 'r', op: 'DELETE', data: null },
    ]);
    const { changes, hasMore } = await pull(gateway, ada);
    expect(hasMore).toBe(false);
    const [full, bare] = changes;
    expect(full).toMatchObject({
      table: 'note',
      recordId: 'r',
      op: 'INSERT',
      data: { text: 'hello', done: false },
      clientId: 'phone',
      userId: ada.uuid,
      spaceId: null,
      schemaVersion: 1,
      actor: { ai: 'scribe' },
      origin: 'agent',
    });
    expect(full?.fieldMeta.text).toBe('2026-11-20T10:00:00.500000Z');
    expect(Date.parse(full?.fieldMeta.done ?? '')).toBe(Date.parse(full?.createdAt ?? ''));
    expect(bare).toMatchObject({ op: 'DELETE', data: null, fieldMeta: {}, actor: { type: 'user', id: ada.uuid } });
    expect(bare?.origin).toBe('user');
  });

  test('goes on from the cursor of a page, of any change and of a push', async () => {
    const ada = await person();
    const first = await push(gateway, ada, 'phone', numbered('a', 5));
    const second = await push(gateway, ada, 'phone', numbered('b', 5));
    const all = await pullAll(gateway, ada, { first: 3 });
    const ids = [...numbered('a', 5), ...numbered('b', 5)].map(({ changeId }) => changeId);
    expect(idsOf(all)).toEqual(ids);
    for (const [index, change] of all.changes.entries()) {
      expect(idsOf(await pullAll(gateway, ada, { since: change.cursor }))).toEqual(ids.slice(index + 1));
    }
    for (const [index, { cursor }] of [...(first.accepted ?? []), ...(second.accepted ?? [])].entries()) {
      expect(idsOf(await pullAll(gateway, ada, { since: cursor }))).toEqual(ids.slice(index + 1));
    }
    expect(idsOf(await pullAll(gateway, ada, { since: first.cursor }))).toEqual(ids);
    expect(idsOf(await pullAll(gateway, ada, { since: second.cursor }))).toEqual(ids.slice(5));
    await push(gateway, ada, 'phone', numbered('c', 2));
    expect(idsOf(await pull(gateway, ada, { since: all.cursor }))).toEqual(['c0', 'c1']);
  });

  test('that ends a window begun before tells what came since as well, and says when there is no more', async () => {
    const ada = await person();
    await push(gateway, ada, 'phone', numbered('a', 4));
    const begun = await pull(gateway, ada, { first: 3 });
    expect(begun.hasMore).toBe(true);
    await push(gateway, ada, 'phone', numbered('b', 3));
    const rest = await pull(gateway, ada, { first: 3, since: begun.cursor });
    expect([idsOf(rest), rest.hasMore]).toEqual([['a3', 'b0', 'b1'], true]);
    const last = await pull(gateway, ada, { first: 3, since: rest.cursor });
    expect([idsOf(last), last.hasMore]).toEqual([['b2'], false]);
  });

  test('leaves out other tables, other apps and the client that asks', async () => {
    const ada = await person();
    await push(gateway, ada, 'phone', [{ changeId: 'a' }, { changeId: 'b', table: 'list' }]);
    await push(gateway, ada, 'laptop', [{ changeId: 'c' }]);
    await push(gateway, ada, 'phone', [{ changeId: 'd' }], { appId: 'other' });
    expect(idsOf(await pull(gateway, ada, { tables: ['list', 'none'] }))).toEqual(['b']);
    expect(idsOf(await pull(gateway, ada, { excludeClientId: 'phone' }))).toEqual(['c']);
    expect(idsOf(await pull(gateway, ada, { appId: 'other' }))).toEqual(['d']);
  });

  test('of large changes ends a page before it is too large, and loses none', async () => {
    const ada = await person();
    const large = (prefix: string) =>
      numbered(prefix, 3).map((change) => ({ ...change, data: { text: 'x'.repeat(3_000_000) } }));
    await push(gateway, ada, 'phone', large('a'));
    await push(gateway, ada, 'phone', large('b'));
    const page = await pull(gateway, ada);
    expect(page.changes.length).toBeLessThan(6);
    expect(page.hasMore).toBe(true);
    expect(idsOf(await pullAll(gateway, ada))).toEqual(['a0', 'a1', 'a2', 'b0', 'b1', 'b2']);
    const greedy = await gateway.request(
      `query { ${Array.from({ length: 5 }, (_, n) => `p${n}: syncChanges(appId: "${appId}") { changes { data } }`).join(' ')} }`,
      {},
      { token: ada.token },
    );
    expect(greedy.errors?.map(({ extensions }) => extensions.code)).toContain('LIMIT_EXCEEDED');
  });

  test('asks for 1 to 1,000 changes, and for cursors of sync', async () => {
    const ada = await person();
    const refusal = async (variables: Record<string, unknown>) =>
      (await gateway.request(pullDocument, { appId, ...variables }, { token: ada.token })).errors?.[0]?.extensions.code;
    expect(await refusal({ first: 0 })).toBe('BAD_USER_INPUT');
    expect(await refusal({ first: 1_001 })).toBe('BAD_USER_INPUT');
    expect(await refusal({ since: 'nonsense' })).toBe('BAD_CURSOR');
    const { cursor } = await gateway.ask<{ cursor: string }>('{ cursor }');
    expect(await refusal({ since: cursor })).toBe('BAD_CURSOR');
  });

  test('asks for at most 100 tables: each change is held against each of them', async () => {
    const ada = await person();
    const tables = Array.from({ length: 101 }, (_, n) => `t${n}`);
    const { errors } = await gateway.request(pullDocument, { appId, tables }, { token: ada.token });
    expect(errors?.[0]).toMatchObject({
      message: expect.stringContaining('at most 100'),
      extensions: { code: 'BAD_USER_INPUT' },
    });
    await push(gateway, ada, 'phone', [{ changeId: 'a', table: 't99' }]);
    expect(idsOf(await pull(gateway, ada, { tables: tables.slice(0, 100) }))).toEqual(['a']);
  });

  test.each(['actor', 'fieldMeta', 'data'])(
    'answers %s again and again only as far as an operation may',
    async (field) => {
      const ada = await person();
      const text = 'x'.repeat(3_000_000);
      await push(gateway, ada, 'phone', [
        {
          changeId: 'a',
          data: field === 'fieldMeta' ? manyFields : { text },
          ...(field === 'actor' ? { actor: text } : {}),
        },
      ]);
      const aliases = Array.from({ length: 40 }, (_, n) => `a${n}: ${field}`).join(' ');
      const ask = (selection: string) =>
        gateway.request(`{ syncChanges(appId: "${appId}") { changes { ${selection} } } }`, {}, { token: ada.token });
      expect((await ask(`data fieldMeta actor`)).errors).toBeUndefined();
      expect((await ask(aliases)).errors?.[0]?.extensions.code).toBe('LIMIT_EXCEEDED');
    },
  );

  test('needs the scope sync, which admin does not imply', async () => {
    const clerk = await person(['REGISTRY_READ', 'ADMIN']);
    for (const document of [
      `{ syncChanges(appId: "${appId}") { hasMore } }`,
      `{ syncRecords(appId: "${appId}", table: "note") { nodes { recordId } } }`,
      `mutation { pushChanges(input: { appId: "a", clientId: "b", changes: [] }) { cursor } }`,
    ]) {
      const { errors } = await gateway.request(document, {}, { token: clerk.token });
      expect(errors?.[0]?.extensions.code).toBe('FORBIDDEN');
    }
  });
});

describe('a space', () => {
  test("shares its members' changes and records, and nobody else's", async () => {
    const [ada, bob, eve] = [await person(), await person(), await person()];
    await makeSpace(gateway, ada, 'team');
    await setSpaceMember(gateway, ada, 'team', bob, 'EDITOR');
    await push(gateway, ada, 'phone', [{ changeId: 'own' }, { changeId: 'shared', recordId: 'r', spaceId: 'team' }]);
    await push(gateway, bob, 'tablet', [
      { changeId: 'reply', recordId: 'r', spaceId: 'team', op: 'UPDATE', data: { by: 'bob' } },
    ]);
    expect(idsOf(await pullAll(gateway, ada, { first: 1 }))).toEqual(['own', 'shared', 'reply']);
    expect(idsOf(await pullAll(gateway, bob, { first: 1 }))).toEqual(['shared', 'reply']);
    expect(idsOf(await pullAll(gateway, eve))).toEqual([]);
    expect((await listRecords(gateway, bob)).map(({ recordId, data }) => [recordId, data])).toEqual([
      ['r', { text: 'shared', by: 'bob' }],
    ]);
    expect((await listRecords(gateway, ada, { first: 1 })).map(({ spaceId }) => spaceId)).toEqual([null, 'team']);
    expect(await listRecords(gateway, eve)).toEqual([]);
    await setSpaceMember(gateway, ada, 'team', bob, 'VIEWER');
    const refused = await push(gateway, bob, 'tablet', [{ changeId: 'late', spaceId: 'team' }]);
    expect(refused.userErrors).toMatchObject([{ code: 'FORBIDDEN', path: ['input', 'changes', '0', 'spaceId'] }]);
    expect(idsOf(await pullAll(gateway, bob))).toEqual(['shared', 'reply']);
  });

  test('that somebody comes into or leaves makes its cursors expire: the records are read anew', async () => {
    const [ada, bob] = [await person(), await person()];
    await makeSpace(gateway, ada, 'club');
    await push(gateway, ada, 'phone', [{ changeId: 'old', recordId: 'r', spaceId: 'club' }]);
    const { cursor } = await pull(gateway, bob);
    await setSpaceMember(gateway, ada, 'club', bob, 'VIEWER');
    const pulled = await gateway.request(pullDocument, { appId, since: cursor }, { token: bob.token });
    expect(pulled.errors?.[0]?.extensions.code).toBe('CURSOR_EXPIRED');
    const [record] = await listRecords(gateway, bob);
    expect(record).toMatchObject({ recordId: 'r', data: { text: 'old' } });
    await push(gateway, ada, 'phone', [{ changeId: 'new', recordId: 'r', spaceId: 'club' }]);
    expect(idsOf(await pull(gateway, bob, { since: record?.cursor ?? '' }))).toEqual(['new']);
    await setSpaceMember(gateway, ada, 'club', bob, null);
    const after = await gateway.request(pullDocument, { appId, since: record?.cursor }, { token: bob.token });
    expect(after.errors?.[0]?.extensions.code).toBe('CURSOR_EXPIRED');
    expect(idsOf(await pull(gateway, bob))).toEqual([]);
  });
});

const manyFields = Object.fromEntries(Array.from({ length: 50_000 }, (_, n) => [`field-${n}`, n]));

describe('records', () => {
  const at = (second: number) => `2026-11-20T10:00:${String(second).padStart(2, '0')}Z`;
  const times = (second: number) => ({ text: at(second), done: at(second) });

  test('have of each field the newest write, whatever came last', async () => {
    const ada = await person();
    await push(gateway, ada, 'phone', [
      { changeId: '1', recordId: 'r', data: { text: 'a', done: false }, fieldMeta: times(10) },
      { changeId: '2', recordId: 'r', op: 'UPDATE', data: { text: 'late' }, fieldMeta: times(5) },
      { changeId: '3', recordId: 'r', op: 'UPDATE', data: { done: true }, fieldMeta: times(20) },
      // The same time: the later one wins.
      {
        changeId: '4',
        recordId: 'r',
        op: 'UPDATE',
        data: { text: 'tie' },
        fieldMeta: { text: '2026-11-20T12:00:10+02:00' },
      },
    ]);
    const [record] = await listRecords(gateway, ada);
    const { changes } = await pull(gateway, ada);
    expect(record).toMatchObject({
      data: { text: 'tie', done: true },
      fieldMeta: { text: '2026-11-20T10:00:10.000000Z', done: '2026-11-20T10:00:20.000000Z' },
      fieldPositions: { text: Number(changes[3]?.position), done: Number(changes[2]?.position) },
      deletedAt: null,
      deletion: null,
    });
  });

  test('that were deleted are listed as such, until a newer write brings them back', async () => {
    const ada = await person();
    await push(gateway, ada, 'phone', [
      { changeId: '1', recordId: 'r', data: { text: 'a', done: false }, fieldMeta: times(10) },
      { changeId: '2', recordId: 'r', op: 'DELETE', data: null, fieldMeta: { gone: at(20) } },
      { changeId: '3', recordId: 'r', op: 'UPDATE', data: { text: 'too late' }, fieldMeta: times(15) },
    ]);
    expect((await listRecords(gateway, ada))[0]).toMatchObject({ data: {}, deletedAt: '2026-11-20T10:00:20Z' });
    await push(gateway, ada, 'phone', [
      { changeId: '4', recordId: 'r', op: 'UPDATE', data: { text: 'back' }, fieldMeta: times(30) },
    ]);
    expect((await listRecords(gateway, ada))[0]).toMatchObject({
      data: { text: 'back' },
      deletedAt: null,
      deletion: { at: '2026-11-20T10:00:20Z' },
      write: { at: '2026-11-20T10:00:30Z' },
    });
  });

  test('have a size that can be listed, however many small changes made them', async () => {
    const ada = await person();
    const large = (n: number) => ({ changeId: `l${n}`, recordId: 'r', data: { [`part ${n}`]: 'x'.repeat(9_000_000) } });
    for (const n of [0, 1]) expect((await push(gateway, ada, 'phone', [large(n)])).userErrors).toEqual([]);
    const refused = await push(gateway, ada, 'phone', [large(2)]);
    expect(refused.userErrors).toMatchObject([{ code: 'PAYLOAD_TOO_LARGE', details: { limit: 20_000_000 } }]);
    expect(refused.userErrors[0]?.message).toContain('a record');
    expect(idsOf(await pullAll(gateway, ada))).toEqual(['l0', 'l1']);
    expect(await listRecords(gateway, ada)).toHaveLength(1);
  });

  test('go on from the cursor of the first page, whatever changed while the others were read', async () => {
    const ada = await person();
    await push(gateway, ada, 'phone', numbered('c', 4));
    const page = await gateway.ask<{
      syncRecords: { nodes: { recordId: string; cursor: string }[]; pageInfo: { endCursor: string } };
    }>(
      `{ syncRecords(appId: "${appId}", table: "note", first: 2) { nodes { recordId cursor } pageInfo { endCursor } } }`,
      {},
      { token: ada.token },
    );
    await push(gateway, ada, 'phone', numbered('d', 2));
    const rest = await gateway.ask<{ syncRecords: { nodes: { recordId: string; cursor: string }[] } }>(
      `query ($after: String) { syncRecords(appId: "${appId}", table: "note", after: $after) { nodes { recordId cursor } } }`,
      { after: page.syncRecords.pageInfo.endCursor },
      { token: ada.token },
    );
    const cursors = [...page.syncRecords.nodes, ...rest.syncRecords.nodes].map(({ cursor }) => cursor);
    expect(new Set(cursors).size).toBe(1);
    expect(idsOf(await pull(gateway, ada, { since: cursors[0] ?? '' }))).toEqual(['d0', 'd1']);
  });
});

describe('a schema version', () => {
  const register = async (i: unknown, token: string | null = gateway.token) =>
    gateway.request<{ registerSyncVersion: { version: number | null; userErrors: { code: string }[] } }>(
      'mutation ($i: RegisterSyncVersionInput!) { registerSyncVersion(input: $i) { version userErrors { code message } } }',
      { i },
      { token },
    );

  test('lifts what is older when it is read, and lets clients push what is new', async () => {
    const ada = await person();
    const app = { appId: 'versioned' };
    await push(gateway, ada, 'old', [{ changeId: '1', recordId: 'r', data: { title: 'a', color: 'red' } }], app);
    const lifts = [{ table: 'note', rename: { title: 'name' }, drop: ['color'] }];
    expect((await register({ ...app, version: 2, lifts })).data.registerSyncVersion).toEqual({
      version: 2,
      userErrors: [],
    });
    const pushed = await push(
      gateway,
      ada,
      'new',
      [{ changeId: '2', recordId: 'r', op: 'UPDATE', data: { done: true } }],
      { ...app, schemaVersion: 2 },
    );
    expect(pushed.userErrors).toEqual([]);
    await push(gateway, ada, 'old', [{ changeId: '3', recordId: 's', data: { title: 'b', color: 'blue' } }], app);
    const { changes } = await pull(gateway, ada, app);
    expect(changes.map(({ data, schemaVersion }) => [data, schemaVersion])).toEqual([
      [{ name: 'a' }, 2],
      [{ done: true }, 2],
      [{ name: 'b' }, 2],
    ]);
    // The time of what was dropped stays: it is when the record was written.
    expect(Object.keys(changes[0]?.fieldMeta ?? {}).toSorted()).toEqual(['color', 'name']);
    expect((await listRecords(gateway, ada, app)).map(({ data }) => data)).toEqual([
      { name: 'a', done: true },
      { name: 'b' },
    ]);
    expect(await value(gateway.database.owner, 'select count(*)::int from sync.check_records()')).toBe(0);
    expect((await register({ ...app, version: 2, lifts })).data.registerSyncVersion.version).toBe(2);
    for (const [input, code] of [
      [{ ...app, version: 2, lifts: [] }, 'CONFLICT'],
      [{ ...app, version: 4 }, 'INVALID'],
      [{ ...app, version: 3, lifts: [{ table: 'note', rename: { a: 'b', b: 'c' } }] }, 'INVALID'],
      [{ ...app, version: 3, lifts: [{ table: 'note', rename: { a: 'b' }, drop: ['b'] }] }, 'INVALID'],
      [{ ...app, version: 3, lifts: [{ table: 'note', rename: { a: 'b' }, drop: ['a'] }] }, 'INVALID'],
    ] as const) {
      expect((await register(input)).data.registerSyncVersion.userErrors).toMatchObject([{ code }]);
    }
  });

  test('is registered by an administrator', async () => {
    const ada = await person();
    const { errors } = await register({ appId: 'x', version: 2 }, ada.token);
    expect(errors?.[0]?.extensions.code).toBe('FORBIDDEN');
  });
});
