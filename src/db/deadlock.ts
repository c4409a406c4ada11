import pRetry from 'p-retry';
import pg from 'pg';

/** Two who wait for each other, one of whom PostgreSQL ended; and whoever saw what has changed since. */
const contended: readonly (string | undefined)[] = ['40P01', '40001'];

export function isContended(error: unknown): boolean {
  return error instanceof pg.DatabaseError && contended.includes(error.code);
}

/**
 * Does a transaction again that PostgreSQL ended because others were at the same rows: nothing of it was stored. At once the first
 * time, because the other one has gone through; then later and later, not all at the same moment.
 * @param transact one whole transaction
 * @param attempts how often at most
 * @throws the error of the last attempt
 */
export async function retryContended<T>(transact: () => Promise<T>, attempts = 6): Promise<T> {
  try {
    return await transact();
  } catch (error) {
    // Nearly all that is called is not, and should not pay for it.
    if (!isContended(error)) throw error;
    return pRetry(transact, {
      retries: attempts - 2,
      minTimeout: 10,
      maxTimeout: 500,
      randomize: true,
      shouldRetry: (failure) => isContended(failure.error),
    });
  }
}
