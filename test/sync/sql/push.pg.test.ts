import { beforeAll, describe, expect, test } from 'vitest';
import { refusalOf, rows, value } from '../../support/sql.ts';
import { as, begin } from '../transaction.ts';
import {
  appId,
  change,
  idsOf,
  listRecords,
  makeSpace,
  numbered,
  push,
  pushAs,
  readAll,
  type Sent,
  untilBlocked,
} from './asking.ts';
import { database, newUser, runtime, stored } from './setting.ts';

let ada: string;

describe('a batch', () => {
  beforeAll(async () => {
    ada = await newUser();
  });

  test.each(['null', '[]', '{}', '"x"', '7'])('that is %s is refused', async (changes) => {
    const refused = as(runtime, ada, (client) =>
      client.query('select * from sync.push_changes($1, $2, null, $3)', [appId, 'phone', changes]),
    );
    expect(await refusalOf(refused)).toMatchObject({ code: 'INVALID' });
  });

  test('of 501 changes, or of more than 10 MB, is refused, and of 500 is not', async () => {
    expect(await refusalOf(pushAs(runtime, ada, numbered('n', 501)))).toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
      details: { limit: 500 },
    });
    const large = Array.from({ length: 11 }, (_, n) => change(`large-${n}`, { data: { text: 'x'.repeat(1_000_000) } }));
    expect(await refusalOf(pushAs(runtime, ada, large))).toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
    // Short here, and long where it is read.
    const expanding = [change('1e300', { data: { text: 1 } })];
    const text = JSON.stringify(expanding).replace(':1}', `:[${Array(40_000).fill('1e300').join(',')}]}`);
    const refused = as(runtime, ada, (client) =>
      client.query('select * from sync.push_changes($1, $2, null, $3)', [appId, 'phone', text]),
    );
    expect(await refusalOf(refused)).toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
    expect(await stored(ada)).toEqual([]);
    expect(await pushAs(runtime, ada, numbered('n', 500))).toHaveLength(500);
    expect(await stored(ada)).toHaveLength(500);
  });

  test('of a change that only the times of its fields make too large is refused', async () => {
    const user = await newUser();
    const data = Object.fromEntries(Array.from({ length: 300_000 }, (_, n) => [n.toString(36), 1]));
    expect(await refusalOf(pushAs(runtime, user, [change('wide', { data })]))).toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
      details: { field: 'data' },
    });
    expect(await stored(user)).toEqual([]);
  });

  test('is one event of the feed, and its changes are in the order of the batch', async () => {
    const user = await newUser();
    const receipts = await pushAs(runtime, user, numbered('n', 500, { table_name: 'tag' }));
    expect(idsOf(receipts)).toEqual(idsOf(numbered('n', 500)));
    const positions = receipts.map(({ position }) => position);
    expect(positions).toEqual(positions.toSorted((one, other) => one - other));
    expect(
      await rows(
        database.owner,
        `select op, entity_id, space_id, data from feed.events where topic = 'sync_changes' and user_id = $1`,
        [user],
      ),
    ).toEqual([
      {
        op: 'insert',
        entity_id: appId,
        space_id: null,
        data: expect.objectContaining({ app_id: appId, client_id: 'phone', count: 500, tables: ['tag'] }),
      },
    ]);
  });

  test('is told to each space on its own', async () => {
    const user = await newUser();
    await makeSpace(database, 'told', [[user, 'editor']]);
    await pushAs(runtime, user, [...numbered('own', 2), ...numbered('shared', 3, { space_id: 'told' })]);
    const events = await rows<{ space_id: string | null; count: number }>(
      database.owner,
      `select space_id, (data ->> 'count')::int as count from feed.events where topic = 'sync_changes' and user_id = $1
       order by space_id nulls first`,
      [user],
    );
    expect(events).toEqual([
      { space_id: null, count: 2 },
      { space_id: 'told', count: 3 },
    ]);
  });
});

describe('a push that is sent again', () => {
  const batch = [...numbered('n', 30), change('gone', { op: 'delete', data: null, field_meta: null })];

  test('ten times stores once, and answers the same positions', async () => {
    const user = await newUser();
    const first = await pushAs(runtime, user, batch);
    for (let n = 1; n < 10; n += 1) {
      expect(await pushAs(runtime, user, batch)).toEqual(first.map((receipt) => ({ ...receipt, duplicate: true })));
    }
    expect(await stored(user)).toEqual(idsOf(batch));
  });

  test('on ten connections at once stores once, and answers the same positions', async () => {
    const user = await newUser();
    const all = await Promise.all(Array.from({ length: 10 }, () => pushAs(runtime, user, batch)));
    const [first = []] = all;
    for (const receipts of all)
      expect(receipts.map(({ position }) => position)).toEqual(first.map(({ position }) => position));
    expect(all.flat().filter(({ duplicate }) => !duplicate)).toHaveLength(batch.length);
    expect(await stored(user)).toEqual(idsOf(batch));
  });

  test('while the first is still at it waits for it, and stores what that one took back', async () => {
    for (const outcome of ['commit', 'rollback']) {
      const user = await newUser();
      const first = await runtime.connect();
      await begin(first, user);
      const before = await push(first, batch);
      const second = await runtime.connect();
      await begin(second, user);
      const pid = await value<number>(second, 'select pg_backend_pid()');
      const pushed = push(second, batch);
      await untilBlocked(database, pid);
      await first.query(outcome);
      const receipts = await pushed;
      await second.query('commit');
      for (const client of [first, second]) client.release();
      expect(receipts.map(({ duplicate }) => duplicate)).toEqual(batch.map(() => outcome === 'commit'));
      if (outcome === 'commit')
        expect(receipts.map(({ position }) => position)).toEqual(before.map(({ position }) => position));
      expect(await stored(user)).toEqual(idsOf(batch));
    }
  });

  test('with more changes stores those, and answers all', async () => {
    const user = await newUser();
    const first = await pushAs(runtime, user, numbered('n', 5));
    const second = await pushAs(runtime, user, numbered('n', 8).reverse());
    expect(second.map(({ change_id, duplicate }) => [change_id, duplicate])).toEqual(
      numbered('n', 8)
        .reverse()
        .map(({ change_id }, index) => [change_id, index > 2]),
    );
    expect(second.slice(3).map(({ position }) => position)).toEqual(first.map(({ position }) => position).reverse());
    expect(await stored(user)).toHaveLength(8);
  });

  test('under the name of another client, app or user is another push', async () => {
    const [user, other] = [await newUser(), await newUser()];
    const apart = [
      await pushAs(runtime, user, batch),
      await pushAs(runtime, user, batch, { clientId: 'laptop' }),
      await pushAs(runtime, user, batch, { app: 'other' }),
      await pushAs(runtime, other, batch),
    ];
    expect(apart.flat().filter(({ duplicate }) => duplicate)).toEqual([]);
    expect(await stored(user)).toHaveLength(2 * batch.length);
  });
});

describe('a change under an id that is known', () => {
  const original = change('known', { field_meta: { text: '2026-01-01T00:00:00Z' } });
  beforeAll(async () => {
    ada = await newUser();
    await makeSpace(database, 'known', [[ada, 'owner']]);
    await pushAs(runtime, ada, [original]);
  });

  test.each<[string, Partial<Sent>]>([
    ['data', { data: { text: 'other' } }],
    ['more data', { data: { text: 'known', more: null } }],
    ['op', { op: 'update' }],
    ['table', { table_name: 'tag' }],
    ['record', { record_id: 'other' }],
    ['space', { space_id: 'known' }],
  ])('with another %s is a CONFLICT, and nothing of the batch is stored', async (_, more) => {
    const batch = [change('new'), { ...original, ...more }, change('newer')];
    expect(await refusalOf(pushAs(runtime, ada, batch))).toMatchObject({
      code: 'CONFLICT',
      details: { index: 1, field: 'changeId' },
    });
    expect(await stored(ada)).toEqual(['known']);
  });

  test('with the same content, however written, is known', async () => {
    const again = { ...original, data: { text: 'known' }, field_meta: null, schema_version: -1, actor: null };
    expect(await pushAs(runtime, ada, [again])).toMatchObject([{ duplicate: true }]);
  });

  test('twice in a batch is stored once, and twice with other content not at all', async () => {
    const user = await newUser();
    const receipts = await pushAs(runtime, user, [change('a'), change('b'), change('a')]);
    expect(receipts.map(({ duplicate }) => duplicate)).toEqual([false, false, true]);
    expect(receipts[2]?.position).toBe(receipts[0]?.position);
    const differing = [change('c'), change('d'), change('c', { data: {} })];
    expect(await refusalOf(pushAs(runtime, user, differing))).toMatchObject({
      code: 'CONFLICT',
      details: { index: 2 },
    });
    expect(await stored(user)).toEqual(['a', 'b']);
  });
});

describe('what a client leaves out', () => {
  test('is filled in: who, when, and which version', async () => {
    const user = await newUser();
    const times = { given: '2026-01-01T00:00:00Z', nothing: null };
    await pushAs(runtime, user, [
      change('a', { data: { given: 1, nothing: 2, missing: 3 }, field_meta: times }),
      change('b', { data: {} }),
    ]);
    const found = await as(runtime, user, async (client) => {
      await readAll(client);
      return rows<{ field_meta: Record<string, string>; at: string }>(
        client,
        `select field_meta, schema_version, actor, origin,
           to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
         from sync.sync_changes order by position`,
      );
    });
    const [a, b] = found;
    expect(a).toMatchObject({ schema_version: 1, actor: null, origin: null });
    expect(a?.field_meta).toEqual({ given: '2026-01-01T00:00:00.000000Z', nothing: a?.at, missing: a?.at });
    expect(b?.field_meta).toEqual({});
  });

  test.each([
    [0, 1],
    [-5, 1],
    [-999_999_999, 1],
    [null, 1],
    [2, 2],
  ])('a schema version of %s is %s', async (given, kept) => {
    const user = await newUser();
    await database.owner.query(`select sync.register_version('versioned', 2)`);
    await pushAs(runtime, user, [change('own', { schema_version: given })], { app: 'versioned' });
    await pushAs(runtime, user, [change('of-batch')], { app: 'versioned', schemaVersion: given });
    await as(runtime, user, async (client) => {
      await listRecords(client);
      const versions = await rows(client, 'select schema_version as version from sync.sync_changes');
      expect(versions).toEqual([{ version: kept }, { version: kept }]);
    });
  });

  test("is not its own version where the batch says another: each change's own comes first", async () => {
    const user = await newUser();
    await pushAs(runtime, user, [change('a', { schema_version: 1 })], { schemaVersion: 7 });
    expect(await refusalOf(pushAs(runtime, user, [change('b')], { schemaVersion: 7 }))).toMatchObject({
      code: 'UNSUPPORTED_VERSION',
      details: { index: 0, known: 1 },
    });
  });
});

describe('a time', () => {
  test.each([
    ['2026-01-01T00:00:00Z', '2026-01-01T00:00:00.000000Z'],
    ['2026-01-01t00:00:00.5z', '2026-01-01T00:00:00.500000Z'],
    ['2026-01-01T00:00:00.123456Z', '2026-01-01T00:00:00.123456Z'],
    ['2026-01-01T00:00:00.123456789Z', '2026-01-01T00:00:00.123457Z'],
    ['2025-12-31T23:59:59.999999999Z', '2026-01-01T00:00:00.000000Z'],
    ['2026-01-01T02:30:00+02:30', '2026-01-01T00:00:00.000000Z'],
    ['2025-12-31T16:00:00-08:00', '2026-01-01T00:00:00.000000Z'],
    ['2024-02-29T12:00:00Z', '2024-02-29T12:00:00.000000Z'],
    ['2024-02-29T23:30:00-01:00', '2024-03-01T00:30:00.000000Z'],
    ['2026-01-30T00:00:00Z', '2026-01-30T00:00:00.000000Z'],
    ['2026-01-31T00:00:00Z', '2026-01-31T00:00:00.000000Z'],
    ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000000Z'],
    ['1969-12-31T23:59:59.999Z', '1969-12-31T23:59:59.999000Z'],
  ])('%s is kept as %s, whatever the time zone of the session', async (given, kept) => {
    const user = await newUser();
    const { field_meta } = await as(runtime, user, async (client) => {
      await client.query(`set local timezone = 'Pacific/Chatham'; set local datestyle = 'German, DMY'`);
      await push(client, [change('a', { field_meta: { text: given } })]);
      const [row] = await rows<{ field_meta: object }>(client, 'select field_meta from sync.sync_changes');
      return row ?? { field_meta: {} };
    });
    expect(field_meta).toEqual({ text: kept });
  });

  test('of a clock that is somewhat ahead is taken', async () => {
    const user = await newUser();
    await pushAs(runtime, user, [
      change('a', { field_meta: { text: new Date(Date.now() + 0.9 * 86_400_000).toISOString() } }),
    ]);
    expect(await stored(user)).toEqual(['a']);
  });
});
