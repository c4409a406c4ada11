import pLimit, { type LimitFunction } from 'p-limit';

/**
 * Lets so many at a time act on one thing, while others act on other things: for work that would wait for itself elsewhere,
 * and hold something meanwhile that others need.
 */
export function createTurns(mostAtOnce: number): <Result>(key: string, act: () => Promise<Result>) => Promise<Result> {
  const turns = new Map<string, { limit: LimitFunction; users: number }>();
  return async (key, act) => {
    const turn = turns.get(key) ?? { limit: pLimit(mostAtOnce), users: 0 };
    turns.set(key, turn);
    turn.users += 1;
    try {
      return await turn.limit(act);
    } finally {
      turn.users -= 1;
      if (turn.users === 0) turns.delete(key);
    }
  };
}
