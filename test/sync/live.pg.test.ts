import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type GatewayProcess, makeToken, spawnGateway } from '../support/gateway-process.ts';
import { makePerson } from '../support/people.ts';
import { size } from '../support/size.ts';
import { value } from '../support/sql.ts';
import {
  appId,
  follow,
  idsOf,
  listRecords,
  makeSpace,
  numbered,
  pull,
  pullAll,
  push,
  setSpaceMember,
  take,
} from './asking.ts';
import { gateway, person } from './setting.ts';

const idsOfAll = (prefix: string, howMany: number, from = 0) =>
  numbered(prefix, howMany, from).map(({ changeId }) => changeId);

describe('what is pushed', () => {
  test("is told to the author's other clients, as one page, and not to the client that pushed it", async () => {
    const ada = await person();
    const [laptop, phone] = [
      await follow(gateway, ada, { excludeClientId: 'laptop' }),
      await follow(gateway, ada, { excludeClientId: 'phone' }),
    ];
    await push(gateway, ada, 'phone', numbered('a', 3));
    await push(gateway, ada, 'laptop', numbered('b', 2));
    const told = await laptop.next();
    expect([idsOf(told), told.hasMore]).toEqual([['a0', 'a1', 'a2'], false]);
    expect(await take(phone, 2)).toEqual(['b0', 'b1']);
    await Promise.all([laptop.close(), phone.close()]);
  });

  test('into a space is told to its members, and to nobody else', async () => {
    const [ada, bob, eve] = [await person(), await person(), await person()];
    await makeSpace(gateway, ada, 'crew');
    await setSpaceMember(gateway, ada, 'crew', bob, 'VIEWER');
    const [ofBob, ofEve, ofAda] = [
      await follow(gateway, bob),
      await follow(gateway, eve),
      await follow(gateway, ada, { excludeClientId: 'phone' }),
    ];
    await push(gateway, ada, 'phone', [{ changeId: 'own' }, { changeId: 'shared', spaceId: 'crew' }]);
    await push(gateway, ada, 'laptop', [{ changeId: 'other', spaceId: 'crew' }]);
    await push(gateway, eve, 'e', [{ changeId: 'of eve' }]);
    expect(await take(ofBob, 2)).toEqual(['shared', 'other']);
    // The first that she hears of is her own.
    expect(await take(ofEve, 1)).toEqual(['of eve']);
    expect(await take(ofAda, 1)).toEqual(['other']);
    await Promise.all([ofBob.close(), ofEve.close(), ofAda.close()]);
  });

  test('into other tables or other apps is not told', async () => {
    const ada = await person();
    const watching = await follow(gateway, ada, { tables: ['note'] });
    await push(gateway, ada, 'phone', [{ changeId: 'a', table: 'list' }]);
    await push(gateway, ada, 'phone', [{ changeId: 'b' }], { appId: 'other' });
    await push(gateway, ada, 'phone', [
      { changeId: 'c', table: 'list' },
      { changeId: 'd', table: 'note' },
    ]);
    expect(await take(watching, 1)).toEqual(['d']);
    await watching.close();
  });

  test('in SQL is told as well', async () => {
    const ada = await person();
    const watching = await follow(gateway, ada);
    const client = await gateway.database.runtime.connect();
    await client.query('begin');
    await client.query(`select set_config('app.current_user_id', $1, true)`, [ada.uuid]);
    await client.query(`select sync.push_changes($1, 'psql', null, $2)`, [
      appId,
      JSON.stringify([{ change_id: 'sql', table_name: 'note', record_id: 'r', op: 'insert', data: {} }]),
    ]);
    await client.query('commit');
    client.release();
    expect(await take(watching, 1)).toEqual(['sql']);
    await watching.close();
  });

  test('costs one statement for all who watch the same', async () => {
    const ada = await person();
    const watching: Awaited<ReturnType<typeof follow>>[] = [];
    // One after the other: each waits until one more stands.
    for (let n = 0; n < 5; n += 1) watching.push(await follow(gateway, ada));
    await push(gateway, ada, 'phone', numbered('warm', 1));
    for (const one of watching) await one.next();
    gateway.takeStatements();
    await push(gateway, ada, 'phone', numbered('c', 10));
    for (const one of watching) expect(idsOf(await one.next())).toHaveLength(10);
    const reads = gateway.takeStatements().filter(({ query }) => query.sql.includes('sync.read_changes'));
    expect(reads).toHaveLength(1);
    for (const one of watching) await one.close();
  });
});

describe('a subscriber that comes back', () => {
  test('goes on from the cursor of an update, a pull, a change, a push or a record', async () => {
    const ada = await person();
    const first = await push(gateway, ada, 'phone', numbered('a', 2));
    const pulled = await pull(gateway, ada);
    const [record] = await listRecords(gateway, ada);
    const watching = await follow(gateway, ada, { after: first.cursor ?? '' });
    const told = await watching.next();
    expect(idsOf(told)).toEqual(['a0', 'a1']);
    await watching.close();
    await push(gateway, ada, 'phone', numbered('b', 2));
    for (const [after, missed] of [
      [told.cursor, ['b0', 'b1']],
      [pulled.cursor, ['b0', 'b1']],
      [record?.cursor, ['b0', 'b1']],
      [pulled.changes[0]?.cursor, ['a1', 'b0', 'b1']],
      [first.accepted?.[0]?.cursor, ['a1', 'b0', 'b1']],
    ] as const) {
      const again = await follow(gateway, ada, { after: after ?? '' });
      expect(await take(again, missed.length)).toEqual(missed);
      await again.close();
    }
    const live = await follow(gateway, ada, { after: (await pull(gateway, ada)).cursor });
    await push(gateway, ada, 'phone', numbered('c', 1));
    expect(await take(live, 1)).toEqual(['c0']);
    await live.close();
  });

  test('may change between telling and pulling as it likes, and sees no gap and no double', async () => {
    const ada = await person();
    const total = size(2_000);
    const writers = 4;
    const writing = Promise.all(
      Array.from({ length: writers }, async (_, writer) => {
        for (let n = 0; n < total / writers; n += 1)
          await push(gateway, ada, `w${writer}`, numbered(`w${writer}-`, 1, n));
      }),
    );
    const begun = await pull(gateway, ada, { first: 1 });
    const told = idsOf(begun);
    let { cursor } = begun;
    for (let round = 0; told.length < total; round += 1) {
      if (round % 2 === 0) {
        const page = await pull(gateway, ada, { since: cursor, first: 1 + (round % 7) });
        told.push(...idsOf(page));
        cursor = page.cursor;
        continue;
      }
      const watching = await follow(gateway, ada, { after: cursor });
      for (let n = 0; n <= round % 5 && told.length < total; n += 1) {
        const page = await watching.next();
        told.push(...idsOf(page));
        cursor = page.cursor;
      }
      if (round % 3 === 0) watching.socket.socket.terminate();
      await watching.close();
    }
    await writing;
    expect((await pull(gateway, ada, { since: cursor })).changes).toEqual([]);
    expect(told.toSorted()).toEqual(idsOf(await pullAll(gateway, ada)).toSorted());
    expect(new Set(told).size).toBe(total);
  });

  test('after long is told from the log of sync, which the feed no longer reaches back to', async () => {
    const ada = await person();
    await push(gateway, ada, 'phone', numbered('a', 400));
    await push(gateway, ada, 'phone', numbered('a', 300, 400));
    const { cursor } = await pull(gateway, ada, { first: 1 });
    await gateway.database.owner.query('truncate feed.events');
    const watching = await follow(gateway, ada, { after: cursor });
    expect(await take(watching, 699)).toEqual(idsOfAll('a', 699, 1));
    await push(gateway, ada, 'phone', numbered('b', 1));
    expect(await take(watching, 1)).toEqual(['b0']);
    await watching.close();
  });

  test('with a cursor of the feed, or one that is none, is refused', async () => {
    const ada = await person();
    const { cursor } = await gateway.ask<{ cursor: string }>('{ cursor }');
    for (const after of [cursor, 'nonsense']) {
      const watching = await follow(gateway, ada, { after });
      expect((await watching.failure()).extensions.code).toBe('BAD_CURSOR');
      await watching.close();
    }
  });
});

describe('more than can be told', () => {
  test('in one go ends the stream with its cursor, from which all of it is told', async () => {
    const ada = await person();
    const watching = await follow(gateway, ada);
    await push(gateway, ada, 'phone', numbered('a', 1));
    const { cursor } = await watching.next();
    const client = await gateway.database.runtime.connect();
    await client.query('begin');
    await client.query(`select set_config('app.current_user_id', $1, true)`, [ada.uuid]);
    const total = 1_600;
    for (let from = 0; from < total; from += 400) {
      await client.query(`select sync.push_changes($1, 'psql', null, $2)`, [
        appId,
        JSON.stringify(
          numbered('m', 400, from).map(({ changeId }) => ({
            change_id: changeId,
            table_name: 'note',
            record_id: changeId,
            op: 'insert',
            data: {},
          })),
        ),
      ]);
    }
    await client.query('commit');
    client.release();
    expect((await watching.failure()).extensions).toEqual({ code: 'RESYNC_REQUIRED', cursor });
    await watching.close();
    const again = await follow(gateway, ada, { after: cursor });
    expect(await take(again, total)).toEqual(idsOfAll('m', total));
    await again.close();
  });

  test('to a client that reads too slowly ends its stream, and from its cursor it misses nothing', async () => {
    const ada = await person();
    const slow = await follow(gateway, ada);
    slow.socket.socket.pause();
    const large = 2_000_000;
    const total = 30;
    for (let n = 0; n < total; n += 1)
      await push(gateway, ada, 'phone', [{ changeId: `l${n}`, data: { text: 'x'.repeat(large) } }]);
    slow.socket.socket.resume();
    const told: string[] = [];
    let cursor = '';
    for (let message = await slow.message(); message.type === 'next'; message = await slow.message()) {
      const page = message.payload.data.syncChanged;
      told.push(...idsOf(page));
      ({ cursor } = page);
    }
    expect(told.length).toBeLessThan(total);
    await slow.close();
    const again = await follow(gateway, ada, { after: cursor });
    expect([...told, ...(await take(again, total - told.length))]).toEqual(idsOfAll('l', total));
    await again.close();
  });
});

describe('who may see other spaces than before', () => {
  test('because it came into one loses the stream, and finds it in the records', async () => {
    const [ada, bob] = [await person(), await person()];
    await makeSpace(gateway, ada, 'den');
    await push(gateway, ada, 'phone', [{ changeId: 'old', recordId: 'r', spaceId: 'den' }]);
    const watching = await follow(gateway, bob);
    await setSpaceMember(gateway, ada, 'den', bob, 'EDITOR');
    expect((await watching.failure()).extensions.code).toBe('CURSOR_EXPIRED');
    await watching.close();
    const [record] = await listRecords(gateway, bob);
    expect(record?.data).toEqual({ text: 'old' });
    const again = await follow(gateway, bob, { after: record?.cursor ?? '' });
    await push(gateway, ada, 'phone', [{ changeId: 'new', recordId: 'r', spaceId: 'den' }]);
    expect(await take(again, 1)).toEqual(['new']);
    await again.close();
  });

  test('because it was taken out is told nothing more of it', async () => {
    const [ada, bob] = [await person(), await person()];
    await makeSpace(gateway, ada, 'lair');
    await setSpaceMember(gateway, ada, 'lair', bob, 'EDITOR');
    const watching = await follow(gateway, bob);
    await push(gateway, ada, 'phone', [{ changeId: 'before', spaceId: 'lair' }]);
    expect(await take(watching, 1)).toEqual(['before']);
    const { cursor } = await pull(gateway, bob);
    await setSpaceMember(gateway, ada, 'lair', bob, null);
    await push(gateway, ada, 'phone', [{ changeId: 'after', spaceId: 'lair' }]);
    // What it was opened with is over.
    expect((await watching.socket.closed).code).toBe(4403);
    const again = await follow(gateway, bob, { after: cursor });
    expect((await again.failure()).extensions.code).toBe('CURSOR_EXPIRED');
    await again.close();
  });
});

describe('several gateways', () => {
  let database: TestDatabase;
  let first: GatewayProcess;
  let second: GatewayProcess;
  beforeAll(async () => {
    database = await createTestDatabase();
    const token = makeToken();
    first = await spawnGateway({ databaseUrl: database.ownerUrl, token });
    second = await spawnGateway({ databaseUrl: database.ownerUrl, token });
  });
  afterAll(async () => {
    await Promise.all([first.stop(), second.stop()]);
    await database.close();
  });

  test('tell what was pushed through another, and go on for the clients of one that was killed', async () => {
    const ada = await makePerson(first, 'ada', ['REGISTRY_READ', 'SYNC']);
    const watching = await follow(second, ada);
    await push(first, ada, 'phone', numbered('a', 2));
    const told = await watching.next();
    expect(idsOf(told)).toEqual(['a0', 'a1']);
    await second.kill();
    await push(first, ada, 'phone', numbered('b', 2));
    const again = await follow(first, ada, { after: told.cursor });
    expect(await take(again, 2)).toEqual(['b0', 'b1']);
    await again.close();
    expect(await value(database.owner, 'select count(*)::int from sync.check_records()')).toBe(0);
  });
});
