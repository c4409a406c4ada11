import type pg from 'pg';
import { afterAll, beforeAll } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { as } from '../transaction.ts';
import { idsOf, makeUsers, readAll } from './asking.ts';

/** A database of the test file's own. What is imported from here is there once the tests run. */
export let database: TestDatabase;
/** As request work. */
export let runtime: pg.Pool;
beforeAll(async () => {
  database = await createTestDatabase();
  runtime = database.runtime;
});
afterAll(() => database.close());

/** Somebody who has changed nothing yet. */
export async function newUser(): Promise<string> {
  const [user = ''] = await makeUsers(database, 1);
  return user;
}

/** The ids of all that somebody sees. */
export const stored = async (user: string): Promise<string[]> =>
  idsOf((await as(runtime, user, (client) => readAll(client))).changes);
