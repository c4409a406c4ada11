import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { DB } from './database.generated.ts';

/**
 * Runs a query and takes all of its rows as one JSON document. For wide rows this costs the gateway less than half of
 * what the wire protocol does, which is read value by value; nested rows and lists come along in the same statement.
 * Timestamps arrive as RFC 3339 with +00:00; 64-bit integers must be cast to text by the query.
 */
export async function jsonRows<Row>(db: Kysely<DB>, query: RawBuilder<unknown>): Promise<Row[]> {
  const { rows } = await sql<{
    rows: Row[];
  }>`select coalesce(json_agg(row), '[]') as rows from (${query}) as row`.execute(db);
  return rows[0]?.rows ?? [];
}

/** A sub-select of one row as a JSON object, for a column of `jsonRows`. */
export function jsonObject(query: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`(select row_to_json(object) from (${query}) as object)`;
}

/** A sub-select of rows as a JSON array, in its order, for a column of `jsonRows`. */
export function jsonArray(query: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`(select coalesce(json_agg(item), '[]') from (${query}) as item)`;
}

/** `alias.column` for each name: a list of columns, since no statement says `*`. */
export function columns(alias: string, names: readonly string[]): RawBuilder<unknown> {
  return sql.join(names.map((name) => sql.ref(`${alias}.${name}`)));
}
