import { describe, expect, test } from 'vitest';
import { value } from '../support/sql.ts';
import { appId, idsOf, makeSpace, numbered, pull, pullAll, push, setSpaceMember } from './asking.ts';
import { gateway, person } from './setting.ts';

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
