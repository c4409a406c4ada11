import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { size } from '../../support/size.ts';
import { rows, value } from '../../support/sql.ts';
import { as } from '../transaction.ts';
import { appId, beginning, makeSpace, makeUsers, numbered, pushAs, readAll } from './asking.ts';

const total = size(1_000_000);
const space = 'crowded';

/** Buffers are counted, not milliseconds: what looks at more than its page slows down as the log grows. */
describe('in a log of many users', () => {
  let database: TestDatabase;
  let runtime: pg.Pool;
  /** Whoever wrote a tenth of it. */
  let busy: string;
  /** Whoever wrote as much besides, and all that is in the space. */
  let other: string;

  beforeAll(async () => {
    database = await createTestDatabase();
    runtime = database.runtime;
    const users = await makeUsers(database, 800);
    [busy = '', other = ''] = users;
    await makeSpace(database, space, [
      [busy, 'owner'],
      [other, 'editor'],
    ]);
    await fill(database.owner, users);
  }, 600_000);
  afterAll(() => database.close());

  /** What a call by somebody touches; planned before, as it is on a connection in use. */
  async function buffers(user: string, call: string, values: unknown[]): Promise<number> {
    return as(runtime, user, async (client) => {
      for (let n = 0; n < 2; n += 1) await client.query(`select * from ${call}`, values);
      const [row] = await rows<{ 'QUERY PLAN': [{ Plan: Record<string, number> }] }>(
        client,
        `explain (analyze, buffers, format json) select * from ${call}`,
        values,
      );
      const plan = row?.['QUERY PLAN'][0].Plan;
      return (plan?.['Shared Hit Blocks'] ?? 0) + (plan?.['Shared Read Blocks'] ?? 0);
    });
  }

  const read = 'sync.read_changes($1, null, null, $2, $3, $4, $5)';
  const snapshot = () => value<string>(runtime, 'select pg_current_snapshot()::text');
  const lastPosition = () => value<string>(database.owner, 'select last_value::text from sync.change_position');

  test('a pull of nothing new looks at next to nothing', async () => {
    const now = await snapshot();
    for (const user of [busy, other]) expect(await buffers(user, read, [appId, now, null, null, 500])).toBeLessThan(40);
  });

  test('a pull of what is new looks at that, and not at the history', async () => {
    const before = await snapshot();
    await pushAs(runtime, busy, [...numbered('new', 3), ...numbered('shared', 2, { space_id: space })]);
    for (const [user, count] of [
      [busy, 5],
      [other, 2],
    ] as const) {
      const page = await as(runtime, user, (client) => readAll(client, { ...beginning, prev: before }));
      expect(page.changes).toHaveLength(count);
      expect(await buffers(user, read, [appId, before, null, null, 500])).toBeLessThan(100);
    }
  });

  test('a page of all there is costs the same at the beginning, in the middle and at the end', async () => {
    const next = await snapshot();
    const middle = Math.round(Number(await lastPosition()) / 2);
    for (const user of [busy, other]) {
      for (const after of [null, middle, 2 * middle - 1_000])
        expect(await buffers(user, read, [appId, null, next, after, 100])).toBeLessThan(1_000);
    }
  });

  test('a page of records is read off their key', async () => {
    const call = 'sync.list_records($1, $2, $3, $4, $5)';
    for (const user of [busy, other]) {
      for (const [place, after] of [
        [null, null],
        ['', 'r5'],
        [space, 'r5'],
      ])
        expect(await buffers(user, call, [appId, 'note', place, after, 100])).toBeLessThan(800);
    }
  });

  test('a page of the export is read off its index', async () => {
    const next = await snapshot();
    const middle = Math.round(Number(await lastPosition()) / 2);
    const call = 'sync.export_changes($1, $2, $3, $4, 100, 8000000)';
    for (const apps of [null, [appId]]) {
      for (const user of [busy, other])
        expect(await buffers(user, call, [apps, next, appId, middle])).toBeLessThan(120);
    }
  });

  test('a push looks at its own changes and records, and finds what is known by its key', async () => {
    const call = `sync.push_changes('${appId}', 'client', null, $1)`;
    const fresh = (prefix: string, count: number) => JSON.stringify(numbered(prefix, count, { op: 'update' }));
    // Called twice before it is explained.
    expect(await buffers(busy, call, [fresh('once', 1)])).toBeLessThan(60);
    expect(await buffers(busy, call, [fresh('again', 100)])).toBeLessThan(1_500);
  });
});

/**
 * A tenth of the first user's, a tenth of the second's, a tenth of its in the space, the rest of all; in many transactions. Without the trigger
 * and the policies of each row, which the tests are not about, and records of its own.
 */
async function fill(owner: pg.Pool, users: readonly string[]): Promise<void> {
  await owner.query(`alter table sync.sync_changes no force row level security, disable trigger sync_changes_appended`);
  await owner.query('alter table sync.records no force row level security, disable trigger records_kept');
  const transactions = 50;
  for (let n = 0; n < transactions; n += 1) {
    await owner.query(
      `insert into sync.sync_changes (user_id, space_id, app_id, table_name, record_id, op, data, field_meta, client_id, change_id)
       select case when n % 5 = 0 or n % 10 = 1 then u.ids[1 + n % 2] else u.ids[1 + n % cardinality(u.ids)] end,
         case when n % 10 = 1 then $3 end, case when n % 7 = 0 then 'other' else $4 end, 'note', 'r' || n % 50000, 'update',
         jsonb_build_object('text', 'value ' || n), '{"text": "2026-01-01T00:00:00.000000Z"}', 'client', 'c' || n
       from generate_series($1::int, $2::int) n, (select $5::uuid[] as ids) u`,
      [Math.round((n * total) / transactions) + 1, Math.round(((n + 1) * total) / transactions), space, appId, users],
    );
  }
  await owner.query(
    `insert into sync.records (space_id, user_id, app_id, table_name, record_id, schema_version, data, field_meta,
       field_positions, written_at, written_position, position)
     select distinct on (c.space_id, o.user_id, c.app_id, c.table_name, c.record_id) c.space_id, o.user_id, c.app_id,
       c.table_name, c.record_id, 1, c.data, c.field_meta, jsonb_build_object('text', c.position), '2026-01-01Z'::timestamptz,
       c.position, c.position
     from sync.sync_changes c
     cross join lateral (select case when c.space_id is null then c.user_id end as user_id) o
     order by c.space_id, o.user_id, c.app_id, c.table_name, c.record_id, c.position desc`,
  );
  await owner.query('alter table sync.records force row level security, enable trigger records_kept');
  await owner.query('alter table sync.sync_changes force row level security, enable trigger sync_changes_appended');
  await owner.query('vacuum (analyze) sync.sync_changes, sync.records');
}
