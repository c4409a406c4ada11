import type { Pool, PoolClient } from 'pg';
import { toStorableText } from '../../db/storable.ts';
import type { Feed } from '../../feed/feed.ts';
import type { Logger } from '../../kernel/logger.ts';
import type { Expressions } from '../expression/expressions.ts';
import { type Loop, startLoop } from './loop.ts';
import { beginMatch, type Candidate, enqueueMatches, type Match, type MatchedPage } from './store.ts';

/**
 * Goes through the log for what sets off triggers. Every dispatcher tries, and whoever has the one row of `triggers.state`
 * locked does it: what matches a page is written, and the place in the log moved, in one transaction.
 */
export interface MatcherOptions {
  pool: Pool;
  feed: Feed;
  log: Logger;
  expressions: Expressions;
  maxDepth: number;
  onPage: (page: MatchedPage, matched: number) => void;
}

const restMs = 10;
/** A hint that was lost costs so much; and the next to try finds out that whoever was at it is gone. */
const backstopMs = 1_000;
/** Where nothing is registered: that something is, is told. */
const idleBackstopMs = 30_000;
const pageSize = 250;
/** A transaction whose process hangs gives the turn to others. */
const longestPauseMs = 30_000;
const registeredChannel = 'treeline_triggers';

export function startMatcher(options: MatcherOptions): Loop {
  const { feed, log } = options;
  /** Nothing is registered that could match: hints are of no interest until something is. */
  let idle = false;
  const loop = startLoop({
    name: 'matching the log',
    log,
    restMs,
    backstopMs: () => (idle ? idleBackstopMs : backstopMs),
    round: async () => {
      let page: MatchedPage;
      do {
        page = await matchPage(options);
        idle = page.outcome === 'idle';
        if (page.outcome === 'gap') {
          log.error(
            'the log was dropped before triggers had been matched to it: what happened meanwhile set off nothing',
          );
        }
      } while (page.outcome === 'more');
    },
  });
  const unhint = feed.onHint(() => {
    if (!idle) loop.wake();
  });
  const unhear = feed.onSignal(registeredChannel, () => {
    // From here on, also while it looks.
    idle = false;
    loop.wake();
  });
  return {
    ...loop,
    stop: async () => {
      unhint();
      unhear();
      await loop.stop();
    },
  };
}

async function matchPage({ pool, feed, expressions, maxDepth, onPage }: MatcherOptions): Promise<MatchedPage> {
  const client = await pool.connect();
  let failure: unknown = null;
  try {
    await client.query(
      `begin; set local feed.notify = 'after_commit'; set local idle_in_transaction_session_timeout = ${longestPauseMs}`,
    );
    const page = await beginMatch(client, pageSize, maxDepth);
    const passed = await enqueuePassing(client, page.candidates ?? [], { expressions, maxDepth });
    await client.query('commit');
    // What became a dead letter at once is an event.
    if (page.event_count > 0) feed.ring();
    onPage(page, page.matched_count + passed);
    return page;
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    // With the connection goes a transaction that nobody ends.
    client.release(failure === null ? undefined : (failure as Error));
  }
}

async function enqueuePassing(
  client: PoolClient,
  candidates: readonly Candidate[],
  { expressions, maxDepth }: { expressions: Expressions; maxDepth: number },
): Promise<number> {
  if (candidates.length === 0) return 0;
  const matches = await testCandidates(candidates, expressions);
  return matches.length === 0 ? 0 : enqueueMatches(client, matches, maxDepth);
}

const chunkSize = 25;
/** How long the conditions of one trigger may take for a chunk, before the rest of its page is not asked about. */
const patienceMs = 1_000;
const tooSlow = 'The condition takes too long: nothing was tested after that.';

/** In the order in which they came. What cannot be tested is a match with an error: somebody has to see to it. */
export async function testCandidates(
  candidates: readonly Candidate[],
  expressions: Pick<Expressions, 'test'>,
): Promise<Match[]> {
  const verdicts = new Map<Candidate, boolean | string>();
  for (const own of Map.groupBy(candidates, (candidate) => candidate.trigger_id).values()) {
    let slow = false;
    for (let from = 0; from < own.length; from += chunkSize) {
      const chunk = own.slice(from, from + chunkSize);
      if (slow) {
        for (const candidate of chunk) verdicts.set(candidate, tooSlow);
        continue;
      }
      const beganAt = performance.now();
      const results = await expressions.test(chunk.map(({ condition, payload }) => ({ condition, event: payload })));
      // One trigger's slow condition must not keep everybody's waiting for long.
      slow = performance.now() - beganAt > patienceMs;
      for (const [index, candidate] of chunk.entries()) {
        const result = results[index];
        verdicts.set(candidate, result?.ok === true ? result.value === true : (result?.error ?? tooSlow));
      }
    }
  }
  return candidates.flatMap((candidate) => {
    const verdict = verdicts.get(candidate);
    if (verdict === false || verdict === undefined) return [];
    const { trigger_id, payload, depth, dead_letter_id } = candidate;
    const error = verdict === true ? null : toStorableText(`The condition could not be tested: ${verdict}`);
    return [{ trigger_id, payload, depth, dead_letter_id, error }];
  });
}
