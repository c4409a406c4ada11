import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { size } from '../../support/size.ts';
import { rows, value } from '../../support/sql.ts';
import { as, begin } from '../transaction.ts';
import { change, listRecords, makeUsers, push, pushAs, readAll, untilBlocked } from './asking.ts';
import { type Lift, type Logged, lift, logged, merge } from './merging.ts';
import { database, runtime } from './setting.ts';

let ada: string;
beforeAll(async () => {
  [ada = ''] = await makeUsers(database, 1);
});

const lifts: Lift[] = [
  { version: 2, rename: { a: 'b' }, drop: [] },
  { version: 3, rename: { b: 'd' }, drop: ['c'] },
  // A name that was dropped is used anew.
  { version: 4, rename: { e: 'a' }, drop: [] },
];

async function register(app: string, { version, rename, drop }: Lift): Promise<void> {
  await database.owner.query('select sync.register_version($1, $2, $3)', [
    app,
    version,
    JSON.stringify([{ table: 'note', rename, drop }]),
  ]);
}

const wrongRecords = () => rows(database.owner, 'select * from sync.check_records()');

let apps = 0;
const newApp = () => {
  apps += 1;
  return `app-${apps}`;
};

const timeOf = (hour: number) => `2026-01-01T${String(hour).padStart(2, '0')}:00:00.000000Z`;
type Step =
  | { kind: 'register' }
  | { kind: 'push'; behind: number; table: string; op: string; data: Record<string, number>; hours: number[] };
const someSteps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('register' as const) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('push' as const),
        behind: fc.nat(3),
        table: fc.constantFrom('note', 'note', 'tag'),
        op: fc.constantFrom('insert', 'update', 'update', 'delete'),
        data: fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd', 'e'), fc.nat(9), { minKeys: 1, maxKeys: 5 }),
        hours: fc.array(fc.nat(4), { minLength: 5, maxLength: 5 }),
      }),
    },
  ),
  { minLength: 4, maxLength: 30, size: 'max' },
);

interface Pushed {
  table: string;
  version: number;
  logged: Logged;
}

/** @returns what was pushed, and the newest version */
async function play(steps: readonly Step[], app: string): Promise<{ pushed: Pushed[]; latest: number }> {
  let latest = 1;
  const pushed: Pushed[] = [];
  for (const [n, step] of steps.entries()) {
    if (step.kind === 'push') {
      pushed.push(await pushOne(app, `c${n}`, Math.max(1, latest - step.behind), step));
    } else if (latest <= lifts.length) {
      await register(app, lifts[latest - 1] as Lift);
      latest += 1;
    }
  }
  return { pushed, latest };
}

async function pushOne(
  app: string,
  id: string,
  version: number,
  { table, op, hours, ...step }: Extract<Step, { kind: 'push' }>,
): Promise<Pushed> {
  const data = op === 'delete' ? null : step.data;
  const times = Object.fromEntries(
    Object.keys(data ?? { a: 0 }).map((name) => [name, timeOf(hours['abcde'.indexOf(name)] ?? 0)]),
  );
  const one = change(id, { table_name: table, record_id: 'r', op, data, field_meta: times });
  const [receipt] = await pushAs(runtime, ada, [one], { app, schemaVersion: version });
  return { table, version, logged: logged({ op, data, times, position: receipt?.position ?? Number.NaN }) };
}

describe('rows of older schema versions', () => {
  test('make the same records, whenever the versions are registered', async () => {
    await fc.assert(
      fc.asyncProperty(someSteps, async (steps) => {
        const app = newApp();
        const { pushed, latest } = await play(steps, app);
        for (const table of ['note', 'tag']) {
          const ofTable = pushed.filter((one) => one.table === table);
          const known = table === 'note' ? lifts.filter(({ version }) => version <= latest) : [];
          const expected = ofTable.map((one) => lift(one.logged, one.version, known));
          const found = await as(runtime, ada, (client) => listRecords(client, table, 500, app));
          expect(found).toEqual(
            ofTable.length === 0 ? [] : [expect.objectContaining({ schema_version: latest, ...merge(expected) })],
          );
          const told = await as(runtime, ada, (client) => readAll(client, undefined, { app, tables: [table] }));
          // As each is pulled, it is lifted as well.
          expect(told.changes.map(({ data, schema_version }) => ({ data, schema_version }))).toEqual(
            expected.map(({ data }) => ({ data, schema_version: latest })),
          );
        }
      }),
      { numRuns: size(200), endOnFailure: true },
    );
    expect(await wrongRecords()).toEqual([]);
  }, 600_000);

  test('that write no field any more still say when they were written', async () => {
    const app = newApp();
    const at = timeOf(1);
    await register(app, lifts[0] as Lift);
    await pushAs(runtime, ada, [change('dropped', { data: { c: 1 }, field_meta: { c: at } })], { app });
    await register(app, lifts[1] as Lift);
    const { changes } = await as(runtime, ada, (client) => readAll(client, undefined, { app }));
    expect(changes).toMatchObject([{ data: {}, field_meta: { c: at } }]);
  });

  test('are lifted onto a field that is there by what is newer, and by the new name where both are as old', async () => {
    const app = newApp();
    const [early, late] = [timeOf(1), timeOf(2)];
    const records = {
      older: { a: early, b: late },
      newer: { a: late, b: early },
      tie: { a: early, b: early },
      alone: { a: early },
    };
    await pushAs(
      runtime,
      ada,
      Object.entries(records).map(([record_id, times]) =>
        change(record_id, {
          record_id,
          data: Object.fromEntries(Object.keys(times).map((name) => [name, name])),
          field_meta: times,
        }),
      ),
      { app },
    );
    await register(app, lifts[0] as Lift);
    const found = await as(runtime, ada, (client) => listRecords(client, 'note', 500, app));
    expect(found.map(({ record_id, data, field_meta }) => [record_id, data, field_meta])).toEqual([
      ['alone', { b: 'a' }, { b: early }],
      ['newer', { b: 'a' }, { b: late }],
      ['older', { b: 'b' }, { b: late }],
      ['tie', { b: 'b' }, { b: early }],
    ]);
  });

  test('are stored and exported as they came', async () => {
    const app = newApp();
    await pushAs(runtime, ada, [change('old', { data: { a: 1, c: 2 } })], { app });
    await register(app, lifts[0] as Lift);
    const line = await as(runtime, ada, (client) =>
      value<string>(client, `select lines from sync.export_changes(array[$1], null, '', 0, 10, 100000)`, [app]),
    );
    expect(JSON.parse(line)).toMatchObject({ schema_version: 1, data: { a: 1, c: 2 } });
  });

  test('meet versions that were registered while they waited for the record, and are lifted once', async () => {
    const app = newApp();
    const record = { record_id: 'r', op: 'update' };
    const first = await runtime.connect();
    await begin(first, ada);
    await push(first, [change('before', { ...record, data: { n: 0 } })], { app });
    const second = await runtime.connect();
    await begin(second, ada);
    const pid = await value<number>(second, 'select pg_backend_pid()');
    const pushed = push(second, [change('waiting', { ...record, data: { a: 'of a', x: 'of x' } })], { app });
    await untilBlocked(database, pid);
    await register(app, { version: 2, rename: { a: 'b' }, drop: [] });
    await push(first, [change('after', { ...record, data: { m: 1 } })], { app, schemaVersion: 2 });
    // The record is of version 2, whatever else there is by now.
    await register(app, { version: 3, rename: { b: 'c' }, drop: [] });
    await register(app, { version: 4, rename: { x: 'b' }, drop: [] });
    await first.query('commit');
    await pushed;
    await second.query('commit');
    for (const client of [first, second]) client.release();
    const found = await as(runtime, ada, (client) => listRecords(client, 'note', 500, app));
    expect(found.map(({ data }) => data)).toEqual([{ n: 0, m: 1, c: 'of a', b: 'of x' }]);
    expect(await wrongRecords()).toEqual([]);
  });
});

describe('a version', () => {
  test('that two register at once is registered once', async () => {
    const app = newApp();
    await Promise.all(Array.from({ length: 5 }, () => register(app, lifts[0] as Lift)));
    expect(await value(database.owner, 'select sync.latest_version($1)', [app])).toBe(2);
  });

  test('of another app is not known here', async () => {
    const [one, other] = [newApp(), newApp()];
    await register(one, lifts[0] as Lift);
    await pushAs(runtime, ada, [change('a')], { app: one, schemaVersion: 2 });
    await expect(pushAs(runtime, ada, [change('a')], { app: other, schemaVersion: 2 })).rejects.toThrow(/up to 1/);
  });
});
