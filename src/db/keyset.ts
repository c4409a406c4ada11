import { type RawBuilder, sql } from 'kysely';

/**
 * Pages by key, not by offset: a page costs the same wherever it lies, and rows that come or go meanwhile neither
 * repeat nor hide others. Every order ends in a unique column.
 */
export interface Order {
  /** Marks the order's cursors, so that one of another order is refused instead of misread. */
  tag: string;
  descending: boolean;
  /** Columns with their PostgreSQL types; all run in one direction, so that one row comparison finds the place. */
  keys: readonly { column: string; type: string }[];
}

export interface Page {
  limit: number;
  /** Keys of the row that the page follows, in the order's terms. */
  after: readonly string[] | null;
  before: readonly string[] | null;
  /** Counted from the end: `last` was given. */
  backwards: boolean;
}

/** The conditions of a page; `true` where it begins at an end of the list. */
export function pageCondition(alias: string, order: Order, page: Page): RawBuilder<boolean> {
  const bounds: RawBuilder<unknown>[] = [];
  if (page.after !== null) bounds.push(bound(alias, order, page.after, order.descending ? '<' : '>'));
  if (page.before !== null) bounds.push(bound(alias, order, page.before, order.descending ? '>' : '<'));
  return bounds.length === 0 ? sql<boolean>`true` : sql<boolean>`${sql.join(bounds, sql` and `)}`;
}

function bound(alias: string, order: Order, keys: readonly string[], operator: '<' | '>'): RawBuilder<unknown> {
  const columns = sql.join(order.keys.map((key) => sql.ref(`${alias}.${key.column}`)));
  const values = sql.join(order.keys.map((key, index) => sql`${keys[index]}::${sql.raw(key.type)}`));
  return sql`(${columns}) ${sql.raw(operator)} (${values})`;
}

/**
 * `order by … limit …`, with one row more than the page holds: it says whether there is a next page. The limit is a literal,
 * because the planner takes a parameter for a tenth of the table and would plan anew each time.
 */
export function pageTail(alias: string, order: Order, page: Page): RawBuilder<unknown> {
  const direction = sql.raw(order.descending === page.backwards ? 'asc' : 'desc');
  const terms = order.keys.map((key) => sql`${sql.ref(`${alias}.${key.column}`)} ${direction}`);
  return sql`order by ${sql.join(terms)} limit ${sql.lit(page.limit + 1)}`;
}
