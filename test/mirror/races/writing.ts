import pg from 'pg';
import type { Transaction } from './scripts.ts';

/** What PostgreSQL asks of everybody who writes: begin again. */
const isToRetry = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && (error.code === '40P01' || error.code === '40001');

export interface Retried<T> {
  value: T;
  retries: number;
}

/**
 * Does it again for as long as a deadlock or a serialization failure ends it.
 * @throws Error when it is still not through after a hundred times: somebody always loses
 */
export async function retrying<T>(action: () => Promise<T>): Promise<Retried<T>> {
  for (let retries = 0; ; retries += 1) {
    try {
      return { value: await action(), retries };
    } catch (error) {
      if (!isToRetry(error) || retries === 100) throw error;
    }
  }
}

/** Which refusals of a statement are part of the script. */
export type IsExpected = (error: pg.DatabaseError) => boolean;

/** Two of one slug or remote, and what another writer made or took away: as the gateway's callers meet it. */
export const isOurRefusal: IsExpected = ({ constraint, detail }) =>
  constraint === 'projects_slug_key' ||
  constraint === 'projects_remote_key_key' ||
  detail?.startsWith('NOT_FOUND') === true;

/** Over there nothing else is known than the table's own key. */
export const isTheirKey: IsExpected = ({ constraint, schema }) => schema === 'mai' && constraint === 'projects_pkey';

/** Runs the transactions one after the other, each as often as it takes. @returns how often one was done again */
export async function write(
  client: pg.Client,
  transactions: readonly Transaction[],
  isExpected: IsExpected,
): Promise<number> {
  let retries = 0;
  for (const transaction of transactions) {
    retries += (await retrying(() => once(client, transaction, isExpected))).retries;
  }
  return retries;
}

async function once(client: pg.Client, { isolation, statements }: Transaction, isExpected: IsExpected): Promise<void> {
  await client.query(`begin isolation level ${isolation}`);
  try {
    for (const { text, values } of statements) {
      await client.query('savepoint before');
      try {
        await client.query(text, values);
      } catch (error) {
        if (!(error instanceof pg.DatabaseError) || !isExpected(error)) throw error;
        await client.query('rollback to savepoint before');
      }
    }
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
  await client.query('commit');
}
