import DataLoader from 'dataloader';
import type { RequestContext } from '../auth/context.ts';

const caches = new WeakMap<RequestContext, Map<string, DataLoader<string, unknown>>>();

/**
 * A loader that lives as long as its request: everything that one execution asks for by key is fetched in one statement.
 * @param name tells loaders apart; includes the arguments where they decide what is fetched
 * @param fetchMany gets distinct keys, and answers with a map: a key that is not in it loads as `missing`
 */
export function loader<Value>(
  context: RequestContext,
  name: string,
  fetchMany: (keys: readonly string[]) => Promise<ReadonlyMap<string, Value>>,
  missing: NoInfer<Value>,
): DataLoader<string, Value> {
  let cache = caches.get(context);
  if (cache === undefined) {
    cache = new Map();
    caches.set(context, cache);
  }
  let found = cache.get(name) as DataLoader<string, Value> | undefined;
  if (found === undefined) {
    found = new DataLoader<string, Value>(async (keys) => {
      const values = await fetchMany(keys);
      return keys.map((key) => values.get(key) ?? missing);
    });
    cache.set(name, found as DataLoader<string, unknown>);
  }
  return found;
}

/** Everything is fetched anew from here on: a subscription's context outlives its events, and none may see another's rows. */
export function forgetLoaded(context: RequestContext): void {
  caches.delete(context);
}

export function byKey<Row>(rows: readonly Row[], key: (row: Row) => string): Map<string, Row> {
  return new Map(rows.map((row) => [key(row), row]));
}

export function groupedBy<Row>(rows: readonly Row[], key: (row: Row) => string): Map<string, Row[]> {
  return Map.groupBy(rows, key);
}
