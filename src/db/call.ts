import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { DB } from './database.generated.ts';

/** Whose hand it is: what row-level security and the functions of the schema read from the transaction's settings. */
export interface Identity {
  principalId: string;
  spaceIds: readonly string[];
  scopes: ReadonlySet<string>;
}

/**
 * Calls a set-returning function (or any FROM item) as somebody, in one statement and so in one round trip and one
 * transaction: the settings are made first and end with the statement.
 *
 * The order is forced, not hoped for: `limit` refers to the sub-select that makes the settings, so the call cannot start
 * before it (`offset 0` keeps the planner from merging the two), and the limit it yields is null, which means none.
 */
export async function callAs<Row>(db: Kysely<DB>, identity: Identity, call: RawBuilder<unknown>): Promise<Row[]> {
  const statement = sql<Row>`
    select result.*
    from (
      select case when length(
        set_config('app.current_user_id', ${identity.principalId}, true)
        || set_config('app.current_user_space_ids', ${identity.spaceIds.join(',')}, true)
        || set_config('app.current_user_scopes', ${[...identity.scopes].join(',')}, true)
      ) < 0 then 0::bigint end as unlimited
      offset 0
    ) as asking
    cross join lateral (select * from ${call} limit asking.unlimited) as result`;
  const { rows } = await statement.execute(db);
  return rows;
}
