import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { value } from '../../support/sql.ts';
import { as } from '../transaction.ts';
import { beginning, idsOf, makeUsers, numbered, type Place, pushAs, readAll } from './asking.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());

test('a log that was restored where transactions are counted anew is told whole, and goes on', async () => {
  const [ada = ''] = await makeUsers(database, 1);
  const read = (place: Place) => as(database.runtime, ada, (client) => readAll(client, place));
  const epoch = () => value<string>(database.owner, 'select epoch::text from feed.open()');
  await pushAs(database.runtime, ada, numbered('old', 3));
  const before = await epoch();
  // As it is after a restore: its rows name transactions that are yet to come here.
  await database.owner.query(`
    alter table sync.sync_changes no force row level security;
    update sync.sync_changes set xid = '4000000000';
    alter table sync.sync_changes force row level security;
    update feed.state set identity = 'another cluster'`);
  expect((await read(beginning)).changes).toEqual([]);
  expect(await epoch()).not.toBe(before);
  const all = await read(beginning);
  expect(idsOf(all.changes)).toEqual(['old0', 'old1', 'old2']);
  await pushAs(database.runtime, ada, numbered('new', 2));
  expect(idsOf((await read(all.place)).changes)).toEqual(['new0', 'new1']);
  // Once is enough, and the policies bind the owner again.
  expect(await epoch()).toBe(await epoch());
  expect(await value(database.owner, 'select count(*)::int from sync.sync_changes')).toBe(0);
});
