import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { DB } from './database.generated.ts';
import { retryContended } from './deadlock.ts';

/** Whose hand it is: what row-level security and the functions of the schema read from the transaction's settings. */
export interface Identity {
  principalId: string;
  spaceIds: readonly string[];
  scopes: ReadonlySet<string>;
  /** How many scripts stand between this call and somebody: what it changes says so in the log. */
  depth: number;
}

/**
 * Calls a set-returning function (or any FROM item) as somebody, in one statement and so in one round trip and one
 * transaction: the settings are made first and end with the statement.
 *
 * The order is forced, not hoped for: `limit` refers to the sub-select that makes the settings, so the call cannot start
 * before it (`offset 0` keeps the planner from merging the two), and the limit it yields is null, which means none.
 *
 * Changes made by the call do not notify: whoever calls rings the feed afterwards. A call that was ended because it and
 * another waited for each other is made again.
 * @returns the rows, and the snapshot that the call read with: its own changes come after it in the feed; null without rows
 */
export async function callAs<Row>(
  db: Kysely<DB>,
  identity: Identity,
  call: RawBuilder<unknown>,
): Promise<{ rows: Row[]; snapshot: string | null }> {
  const statement = sql<Row & { __snapshot: string }>`
    select result.*, pg_current_snapshot()::text as __snapshot
    from (
      select case when length(
        set_config('app.current_user_id', ${identity.principalId}, true)
        || set_config('app.current_user_space_ids', ${identity.spaceIds.join(',')}, true)
        || set_config('app.current_user_scopes', ${[...identity.scopes].join(',')}, true)
        || set_config('feed.depth', ${String(identity.depth)}, true)
        || set_config('feed.notify', 'after_commit', true)
      ) < 0 then 0::bigint end as unlimited
      offset 0
    ) as asking
    cross join lateral (select * from ${call} limit asking.unlimited) as result`;
  const { rows } = await retryContended(() => statement.execute(db));
  const snapshot = rows[0]?.__snapshot ?? null;
  return { rows: rows.map(({ __snapshot, ...row }) => row as Row), snapshot };
}
