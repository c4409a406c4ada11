import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { size } from '../../support/size.ts';
import { rows } from '../../support/sql.ts';
import { as } from '../transaction.ts';
import { change, listRecords, makeSpace, makeUsers, push, pushAs, type Row, type Sent } from './asking.ts';
import { type Expected, type Logged, logged, merge } from './merging.ts';
import { database, runtime } from './setting.ts';

const wrongRecords = () => rows(database.owner, 'select * from sync.check_records()');

// ---- random changes ---------------------------------------------------------------------------------------------------

interface Random {
  author: number;
  shared: boolean;
  record: string;
  op: string;
  data: Record<string, unknown>;
  /** Of the fields a to c, and of the record. */
  hours: number[];
}

const fieldNames = ['a', 'b', 'c'];
const timeOf = (hour: number) => `2026-01-01T${String(hour).padStart(2, '0')}:00:00.000000Z`;

const someValue = fc.json({ maxDepth: 2 }).map((text) => JSON.parse(text) as unknown);

/** @param hours few of them make ties */
const someChange = (hours: fc.Arbitrary<number>) =>
  fc.record({
    author: fc.nat(1),
    shared: fc.boolean(),
    record: fc.constantFrom('r1', 'r2'),
    op: fc.constantFrom('insert', 'update', 'update', 'update', 'delete'),
    data: fc.dictionary(fc.constantFrom(...fieldNames), fc.oneof(fc.nat(9), fc.constant(null), someValue), {
      maxKeys: 3,
    }),
    hours: fc.array(hours, { minLength: 4, maxLength: 4 }),
  });

const someSizes = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 60, maxLength: 60 });

/** A time for each field, and for the record where there are none. */
function timesOf({ op, data, hours }: Random): Record<string, string> {
  const names = op === 'delete' || Object.keys(data).length === 0 ? ['record'] : Object.keys(data);
  return Object.fromEntries(names.map((name) => [name, timeOf(hours[['record', ...fieldNames].indexOf(name)] ?? 0)]));
}

const sent = (one: Random, id: string, space: string): Sent => ({
  change_id: id,
  table_name: 'note',
  record_id: one.record,
  op: one.op,
  data: one.op === 'delete' ? null : one.data,
  field_meta: timesOf(one),
  space_id: one.shared ? space : null,
});

let named = 0;
const newName = () => {
  named += 1;
  return `n${named}`;
};

interface Place {
  users: string[];
  space: string;
}

async function newPlace(): Promise<Place> {
  const users = await makeUsers(database, 2);
  const space = newName();
  await makeSpace(
    database,
    space,
    users.map((user) => [user, 'editor'] as const),
  );
  return { users, space };
}

/** Pushes them in their order, in batches of these sizes as far as the author stays the same. */
async function pushAll(changes: readonly Random[], sizes: readonly number[], place: Place): Promise<Logged[]> {
  const pushed: Logged[] = [];
  for (let from = 0, batch = 0; from < changes.length; batch += 1) {
    const author = changes[from]?.author ?? 0;
    const ahead = changes.slice(from, from + (sizes[batch] ?? 1));
    const others = ahead.findIndex((one) => one.author !== author);
    const mine = others === -1 ? ahead : ahead.slice(0, others);
    const receipts = await pushAs(
      runtime,
      place.users[author] ?? '',
      mine.map((one) => sent(one, newName(), place.space)),
    );
    pushed.push(
      ...mine.map((one, n) =>
        logged({
          ...(sent(one, '', '') as { op: string; data: Logged['data'] }),
          times: timesOf(one),
          position: receipts[n]?.position ?? Number.NaN,
        }),
      ),
    );
    from += mine.length;
  }
  return pushed;
}

async function recordsOf(user: string): Promise<Map<string, Row>> {
  const records = await as(runtime, user, (client) => listRecords(client, 'note', 2));
  return new Map(records.map((record) => [`${record.place}/${record.record_id}`, record]));
}

function expectedOf(changes: readonly Random[], pushed: readonly Logged[], user: number, space: string) {
  const found = new Map<string, Logged[]>();
  for (const [n, one] of changes.entries()) {
    if (!one.shared && one.author !== user) continue;
    const key = `${one.shared ? space : ''}/${one.record}`;
    found.set(key, [...(found.get(key) ?? []), pushed[n] as Logged]);
  }
  return new Map([...found].map(([key, ofRecord]) => [key, merge(ofRecord)]));
}

const shapeOf = ({ data, field_meta, written_position, deleted_position }: Expected): Expected => ({
  data,
  field_meta,
  written_position,
  deleted_position,
});
const shapesOf = (records: Map<string, Expected>) =>
  Object.fromEntries([...records].sort().map(([key, record]) => [key, shapeOf(record)]));

describe('the records', () => {
  test('are as a simple model merges the log, and as they are made again from it', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(someChange(fc.nat(3)), { minLength: 1, maxLength: 40, size: 'max' }),
        someSizes,
        async (changes, sizes) => {
          const place = await newPlace();
          const pushed = await pushAll(changes, sizes, place);
          for (const [n, user] of place.users.entries()) {
            expect(shapesOf(await recordsOf(user))).toEqual(shapesOf(expectedOf(changes, pushed, n, place.space)));
          }
        },
      ),
      { numRuns: size(200), endOnFailure: true },
    );
    expect(await wrongRecords()).toEqual([]);
  }, 600_000);

  test('are the same in whatever order and batches the changes come, where their times differ', async () => {
    const hours = fc.uniqueArray(fc.nat(23), { minLength: 24, maxLength: 24 });
    const some = fc.tuple(fc.array(someChange(fc.nat(23)), { minLength: 2, maxLength: 5 }), hours);
    await fc.assert(
      fc.asyncProperty(some, someSizes, someSizes, fc.infiniteStream(fc.nat()), async ([drawn, unique], ...rest) => {
        const [one, other, random] = rest;
        // No two writes of anything are at one time.
        const changes = drawn.map((change, n) => ({
          ...change,
          author: 0,
          hours: change.hours.map((_, m) => unique[4 * n + m] ?? 0),
        }));
        const shuffled = changes
          .map((change) => ({ change, place: random.next().value as number }))
          .sort((a, b) => a.place - b.place)
          .map(({ change }) => change);
        const found = [];
        for (const [order, sizes] of [
          [changes, one],
          [shuffled, other],
        ] as const) {
          const place = await newPlace();
          await pushAll(order, sizes, place);
          const records = await recordsOf(place.users[0] ?? '');
          found.push(
            [...records].map(([key, { data, field_meta }]) => [key.replace(place.space, 'space'), data, field_meta]),
          );
        }
        expect(found[0]).toEqual(found[1]);
      }),
      { numRuns: size(100), endOnFailure: true },
    );
  }, 600_000);

  test('lose no field of those who write them at once, and nobody waits for nobody', async () => {
    const [ada = '', bea = ''] = await makeUsers(database, 2);
    const space = newName();
    await makeSpace(database, space, [
      [ada, 'owner'],
      [bea, 'editor'],
    ]);
    const records = Array.from({ length: 12 }, (_, n) => `r${n}`);
    const rounds = size(100);
    const writers = 8;
    await Promise.all(
      Array.from({ length: writers }, async (_, writer) => {
        for (let round = 0; round < rounds; round += 1) {
          // Each begins elsewhere: the order of a batch is not the order of locks.
          const order = records
            .toSpliced(0, (writer * 5 + round) % 12)
            .concat(records.slice(0, (writer * 5 + round) % 12));
          const changes = order.map((record) =>
            change(`${writer}-${round}-${record}`, {
              record_id: record,
              op: 'update',
              data: { [`of${writer}`]: round },
              space_id: space,
            }),
          );
          await pushAs(runtime, writer % 2 === 0 ? ada : bea, changes);
        }
      }),
    );
    const found = await as(runtime, ada, (client) => listRecords(client));
    const all = Object.fromEntries(Array.from({ length: writers }, (_, n) => [`of${n}`, rounds - 1]));
    expect(found.map(({ data }) => data)).toEqual(records.map(() => all));
    expect(await wrongRecords()).toEqual([]);
  }, 120_000);

  test('of a user are not those of its spaces, under the same names', async () => {
    const { users, space } = await newPlace();
    const [ada = '', bea = ''] = users;
    const same = { record_id: 'same', field_meta: { text: '2026-01-01T00:00:00Z' } };
    await pushAs(runtime, ada, [change(newName(), { ...same, data: { text: 'of ada' } })]);
    await pushAs(runtime, bea, [
      change(newName(), { ...same, data: { text: 'of bea' } }),
      change(newName(), { ...same, data: { text: 'of the space' }, space_id: space }),
    ]);
    const texts = async (user: string) => [...(await recordsOf(user)).values()].map(({ data }) => data.text);
    expect(await texts(ada)).toEqual(['of ada', 'of the space']);
    expect(await texts(bea)).toEqual(['of bea', 'of the space']);
  });

  test('of very many fields, or of very large values, take no more than that much longer', async () => {
    const [ada = ''] = await makeUsers(database, 1);
    const many = <T>(of: (n: number) => T) => Array.from({ length: 20_000 }, (_, n) => of(n));
    const wide = Object.fromEntries(many((n) => [`f${n}`, `${n}`]));
    const times = Object.fromEntries(many((n) => [`f${n}`, '2026-01-01T00:00:00Z']));
    const large = { large: many((n) => `text ${n}`), small: 1 };
    await as(runtime, ada, async (client) => {
      // A minute and more, where each field or text cost a look at all the others.
      await client.query(`set local statement_timeout = '20s'`);
      for (const tie of ['first', 'second']) {
        await push(client, [
          change(`wide ${tie}`, { record_id: 'wide', data: wide, field_meta: times }),
          change(`large ${tie}`, {
            record_id: 'large',
            data: large,
            field_meta: { large: timeOf(1), small: timeOf(1) },
          }),
        ]);
      }
      expect((await listRecords(client)).map(({ data }) => data)).toEqual([large, wide]);
    });
    expect(await wrongRecords()).toEqual([]);
  });
});
