import type { Order, Page } from '../db/keyset.ts';
import { RequestError } from '../kernel/errors.ts';

/** Relay's arguments, as GraphQL hands them over. */
export interface PageArguments {
  first?: number | null | undefined;
  after?: string | null | undefined;
  last?: number | null | undefined;
  before?: string | null | undefined;
}

/** How many items a page has, unless it is asked for otherwise, and at most. */
export interface PageSizes {
  usual: number;
  most: number;
}

/** Where a list says nothing else, in its field's extension `page`. */
export const usualSizes: PageSizes = { usual: 20, most: 100 };

/**
 * @throws RequestError BAD_USER_INPUT for a page size outside 1 to the largest, or `first` and `last` together
 * @throws RequestError BAD_CURSOR for a cursor that is forged or belongs to a list in another order
 */
export function readPage(args: PageArguments, order: Order, sizes: PageSizes = usualSizes): Page {
  if (args.first != null && args.last != null) {
    throw new RequestError('BAD_USER_INPUT', 'Expected first or last, got both: say from which end to count.');
  }
  return {
    limit: readSize('first', args.first, sizes) ?? readSize('last', args.last, sizes) ?? sizes.usual,
    after: args.after == null ? null : readCursor(args.after, order),
    before: args.before == null ? null : readCursor(args.before, order),
    backwards: args.last != null,
  };
}

export function readSize(name: string, size: number | null | undefined, { most }: PageSizes): number | null {
  if (size == null) return null;
  if (size < 1 || size > most) {
    throw new RequestError('BAD_USER_INPUT', `Expected ${name} from 1 to ${most}, got ${size}.`);
  }
  return size;
}

export function makeCursor<Row extends object>(row: Row, order: Order): string {
  const keys = order.keys.map((key) => String((row as Record<string, unknown>)[key.column]));
  return Buffer.from(JSON.stringify([order.tag, ...keys])).toString('base64url');
}

const keyPatterns: Record<string, RegExp> = {
  uuid: /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
  timestamptz: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|\+00:00)$/,
  int4: /^-?\d{1,10}$/,
  text: /^[^\0]*$/s,
};

/** Checked value by value: what a cursor holds ends up in a comparison with a typed column. */
function readCursor(cursor: string, order: Order): string[] {
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(cursor, 'base64url').toString());
  } catch {
    parts = null;
  }
  const [tag, ...keys]: unknown[] = Array.isArray(parts) ? parts : [];
  const fits =
    tag === order.tag &&
    keys.length === order.keys.length &&
    order.keys.every((key, index) => {
      const value = keys[index];
      return typeof value === 'string' && (keyPatterns[key.type]?.test(value) ?? false);
    });
  if (!fits) {
    throw new RequestError('BAD_CURSOR', 'This cursor is not of this list in this order: begin without a cursor.');
  }
  return keys as string[];
}

class Edge<Row extends object> {
  readonly node: Row;
  readonly #order: Order;
  constructor(node: Row, order: Order) {
    this.node = node;
    this.#order = order;
  }
  /** Made only when asked for: most clients read `nodes`. */
  get cursor(): string {
    return makeCursor(this.node, this.#order);
  }
}

export interface Connection<Row extends object> {
  edges: Edge<Row>[];
  pageInfo: { hasNextPage: boolean; hasPreviousPage: boolean; startCursor: string | null; endCursor: string | null };
}

/** @param rows what `pageTail` yields: in reading order from the end it counts from, with one row more if there is one */
export function toConnection<Row extends object>(rows: readonly Row[], page: Page, order: Order): Connection<Row> {
  const more = rows.length > page.limit;
  const kept = rows.slice(0, page.limit);
  if (page.backwards) kept.reverse();
  const edges = kept.map((row) => new Edge(row, order));
  return {
    edges,
    pageInfo: {
      hasNextPage: page.backwards ? page.before !== null : more,
      hasPreviousPage: page.backwards ? more : page.after !== null,
      get startCursor() {
        return edges[0]?.cursor ?? null;
      },
      get endCursor() {
        return edges.at(-1)?.cursor ?? null;
      },
    },
  };
}
