import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { rows } from '../support/sql.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());

test('no function of ours finds what its caller made: its path ends with the temporary schema', async () => {
  const careless = await rows(
    database.owner,
    `select p.oid::regprocedure::text as name from pg_proc p
     where pronamespace in ('auth'::regnamespace, 'registry'::regnamespace, 'feed'::regnamespace, 'chat'::regnamespace,
         'sync'::regnamespace, 'mirror'::regnamespace, 'triggers'::regnamespace)
       and (prosecdef or proconfig::text like '%search_path%')
       and not exists (select from unnest(proconfig) setting where setting ~ '^search_path=.*pg_temp$')`,
  );
  expect(careless).toEqual([]);
});
