import type { Pool } from 'pg';
import { toStorableText } from '../../db/storable.ts';
import type { Feed } from '../../feed/feed.ts';
import type { Logger } from '../../kernel/logger.ts';
import type { Expressions } from '../expression/expressions.ts';
import { type Loop, startLoop } from './loop.ts';
import { type Candidate, letGoCandidates, settleCandidates, takeCandidates, type Verdict } from './store.ts';

/**
 * Tests the conditions of what matched, apart from the matching, and so that nobody's slow condition keeps another's waiting:
 * what is known to be quick goes first, all together; then one each of what is not known; then one of all that is slow.
 */
export interface ConditionsOptions {
  pool: Pool;
  feed: Feed;
  log: Logger;
  expressions: Pick<Expressions, 'test'>;
  maxDepth: number;
  /** Whoever takes candidates and dies keeps them for so long; where it takes longer, others test some of them as well. */
  leaseMs: number;
  onSettled: (written: number) => void;
}

const mostAtOnce = 500;
/** A condition takes a tenth of a millisecond. */
const slowMs = 100;
/** One that was slow so often in a row is not asked any more, for a while. */
const mostSlow = 10;
const restOfSlowMs = 60_000;
const backstopMs = 5_000;
const candidatesChannel = 'treeline_candidates';

/** How a trigger's condition has been. */
interface Pace {
  /** Since it was quick for the last time. */
  slowTimes: number;
  lastSlowAt: number;
}

export function startConditions(options: ConditionsOptions): Loop {
  const { pool, feed, log, leaseMs } = options;
  /** The least recently tested first. */
  const paces = new Map<string, Pace>();
  let stopping = false;
  const loop = startLoop({
    name: 'testing conditions',
    log,
    restMs: 0,
    backstopMs: () => backstopMs,
    round: async () => {
      const { quick, slow, givenUp } = sortedOut(paces);
      const taken = await takeCandidates(pool, { most: mostAtOnce, quick: [...quick, ...givenUp], slow, leaseMs });
      if (taken.length === 0) return;
      await settleInTurn(taken, { paces, quick, givenUp, isStopping: () => stopping }, options);
      loop.wake();
    },
  });
  const unhear = feed.onSignal(candidatesChannel, () => loop.wake());
  return {
    ...loop,
    stop: async () => {
      stopping = true;
      unhear();
      await loop.stop();
    },
  };
}

function sortedOut(paces: ReadonlyMap<string, Pace>) {
  const quick = new Set<string>();
  const slow: string[] = [];
  const givenUp = new Set<string>();
  for (const [triggerId, { slowTimes, lastSlowAt }] of paces) {
    if (slowTimes === 0) quick.add(triggerId);
    else if (slowTimes >= mostSlow && performance.now() - lastSlowAt < restOfSlowMs) givenUp.add(triggerId);
    else slow.push(triggerId);
  }
  return { quick, slow, givenUp };
}

async function settleInTurn(
  taken: readonly Candidate[],
  known: {
    paces: Map<string, Pace>;
    quick: ReadonlySet<string>;
    givenUp: ReadonlySet<string>;
    isStopping: () => boolean;
  },
  { pool, feed, expressions, maxDepth, onSettled }: ConditionsOptions,
): Promise<void> {
  const { paces, quick, givenUp } = known;
  const settle = async (verdicts: readonly Verdict[]) => {
    if (verdicts.length === 0) return;
    onSettled(await settleCandidates(pool, verdicts, maxDepth));
    // What could not be tested is a dead letter, which is an event.
    feed.ring();
  };
  const whose = Map.groupBy(taken, ({ trigger_id: triggerId }) => {
    if (quick.has(triggerId)) return 'quick';
    return givenUp.has(triggerId) ? 'givenUp' : 'other';
  });
  await settle((whose.get('givenUp') ?? []).map(({ id }) => ({ id, passed: false, error: notTested })));
  await settle(await timed(whose.get('quick') ?? [], expressions, paces));
  const others = whose.get('other') ?? [];
  for (const [index, candidate] of others.entries()) {
    if (known.isStopping())
      return letGoCandidates(
        pool,
        others.slice(index).map(({ id }) => id),
      );
    await settle(await timed([candidate], expressions, paces));
  }
}

const notTested = `The condition took longer than ${slowMs} ms ${mostSlow} times in a row, and is not tested for a minute. Make it simpler, then replay the letters that are wanted.`;

/** Tests candidates, and remembers how long that took; together it says of none of them that it is slow, and of all that one may be. */
async function timed(
  candidates: readonly Candidate[],
  expressions: Pick<Expressions, 'test'>,
  paces: Map<string, Pace>,
): Promise<Verdict[]> {
  if (candidates.length === 0) return [];
  // Whoever comes first would pay for the start of the process that evaluates.
  await expressions.test([{ condition: 'true', event: null }]);
  const beganAt = performance.now();
  const verdicts = await test(candidates, expressions);
  const now = performance.now();
  const isSlow = now - beganAt > slowMs;
  for (const triggerId of new Set(candidates.map(({ trigger_id }) => trigger_id))) {
    const { slowTimes, lastSlowAt } = paces.get(triggerId) ?? { slowTimes: 0, lastSlowAt: Number.NEGATIVE_INFINITY };
    // Of several it is found out one by one which it was: they are not known any more.
    if (isSlow && candidates.length > 1) paces.delete(triggerId);
    else
      remember(paces, triggerId, isSlow ? { slowTimes: slowTimes + 1, lastSlowAt: now } : { slowTimes: 0, lastSlowAt });
  }
  return verdicts;
}

const mostRemembered = 10_000;

function remember(paces: Map<string, Pace>, triggerId: string, pace: Pace): void {
  paces.delete(triggerId);
  paces.set(triggerId, pace);
  for (const oldest of paces.keys()) {
    if (paces.size <= mostRemembered) break;
    paces.delete(oldest);
  }
}

/** What cannot be tested has an error: somebody has to see to it. */
async function test(candidates: readonly Candidate[], expressions: Pick<Expressions, 'test'>): Promise<Verdict[]> {
  if (candidates.length === 0) return [];
  const jobs = candidates.map(({ condition, payload }) => ({ condition, event: payload }));
  const results = await expressions.test(jobs).catch(async (error: unknown) => {
    // One that cannot even be handed over, by its nesting, must not keep the others from being tested.
    if (!(error instanceof RangeError)) throw error;
    if (candidates.length === 1) return [{ ok: false as const, error: 'the event cannot be written as JSON' }];
    return null;
  });
  if (results === null) return (await Promise.all(candidates.map((one) => test([one], expressions)))).flat();
  return candidates.map(({ id }, index) => {
    const result = results[index];
    if (result?.ok === true) return { id, passed: result.value === true, error: null };
    return {
      id,
      passed: false,
      error: toStorableText(`The condition could not be tested: ${result?.error ?? 'no answer'}`),
    };
  });
}
