import pg from 'pg';
import { describe, expect, test } from 'vitest';
import { retryContended } from '../../src/db/deadlock.ts';

function databaseError(code: string): pg.DatabaseError {
  return Object.assign(new pg.DatabaseError('ended', 5, 'error'), { code });
}

/** A transaction that ends so often with such errors, and then goes through. */
function failing(...errors: Error[]): { transact: () => Promise<string>; attempts: () => number } {
  let attempts = 0;
  return {
    transact: async () => {
      const error = errors[attempts];
      attempts += 1;
      if (error !== undefined) throw error;
      return 'through';
    },
    attempts: () => attempts,
  };
}

describe('a transaction that others were in the way of', () => {
  test('is done again until it goes through', async () => {
    const { transact, attempts } = failing(databaseError('40P01'), databaseError('40001'), databaseError('40P01'));
    expect(await retryContended(transact)).toBe('through');
    expect(attempts()).toBe(4);
  });

  test('is given up after six attempts, with the error of the last one', async () => {
    const errors = Array.from({ length: 7 }, () => databaseError('40P01'));
    const { transact, attempts } = failing(...errors);
    await expect(retryContended(transact)).rejects.toBe(errors[5]);
    expect(attempts()).toBe(6);
  });

  test('is tried as often as is said', async () => {
    const { transact, attempts } = failing(databaseError('40P01'), databaseError('40P01'));
    await expect(retryContended(transact, 2)).rejects.toThrow('ended');
    expect(attempts()).toBe(2);
  });
});

test('what fails for another reason is not done again, be it the first time or later', async () => {
  const once = failing(databaseError('23505'));
  await expect(retryContended(once.transact)).rejects.toMatchObject({ code: '23505' });
  expect(once.attempts()).toBe(1);
  const later = failing(databaseError('40P01'), new Error('lost'));
  await expect(retryContended(later.transact)).rejects.toThrow('lost');
  expect(later.attempts()).toBe(2);
});
