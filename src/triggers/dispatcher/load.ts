import type { Lane } from './store.ts';

/** How much of something each registrant has. */
export function createShares() {
  const shares = new Map<string, number>();
  let total = 0;
  return {
    get total() {
      return total;
    },
    of: (principalId: string) => shares.get(principalId) ?? 0,
    take(principalId: string) {
      total += 1;
      shares.set(principalId, (shares.get(principalId) ?? 0) + 1);
    },
    free(principalId: string) {
      total -= 1;
      const left = (shares.get(principalId) ?? 0) - 1;
      if (left > 0) shares.set(principalId, left);
      else shares.delete(principalId);
    },
    entries: () => shares.entries(),
  };
}

/** What was claimed of each lane, and whose it is. */
export function createHeld() {
  const lanes = { operation: createShares(), webhook: createShares(), reply: createShares(), nested: createShares() };
  return {
    of: (lane: Lane) => lanes[lane].total,
    /** How many more whoever has some may get; none if that is fewer than is worth a claim. */
    lefts: (lane: Lane, mostEach: number, least: number) =>
      Object.fromEntries(
        [...lanes[lane].entries()].map(([principalId, share]) => {
          const left = mostEach - share;
          return [principalId, left < least ? 0 : left];
        }),
      ),
    take: (lane: Lane, principalId: string) => lanes[lane].take(principalId),
    free: (lane: Lane, principalId: string) => lanes[lane].free(principalId),
  };
}

/** Rows per second, of the last second or so. */
export function createRate() {
  const halfLifeMs = 500;
  let weight = 0;
  let at = performance.now();
  const decay = () => {
    const now = performance.now();
    weight *= 2 ** ((at - now) / halfLifeMs);
    at = now;
  };
  return {
    count() {
      decay();
      weight += 1;
    },
    perSecond() {
      decay();
      return (weight * Math.LN2 * 1_000) / halfLifeMs;
    },
  };
}
