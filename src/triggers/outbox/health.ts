import type { Pool } from 'pg';

/** How the outbox of the whole fleet stands. */
export interface OutboxHealth {
  due: number;
  claimed: number;
  waiting: number;
  /** For how long the oldest row has been due, in milliseconds; 0: none is. */
  oldestDueMs: number;
  unresolved: number;
  /** Of how much a condition is still to be tested. */
  untested: number;
}

export async function outboxHealth(pool: Pool): Promise<OutboxHealth> {
  const { rows } = await pool.query<OutboxHealth>(
    `select due::int as due, claimed::int as claimed, waiting::int as waiting, unresolved_dead_letters::int as unresolved, untested::int as untested,
      coalesce(extract(epoch from clock_timestamp() - oldest_due_at) * 1000, 0)::float8 as "oldestDueMs"
    from triggers.health()`,
  );
  const [row] = rows;
  if (row === undefined) throw new Error('triggers.health answers one row');
  return row;
}
