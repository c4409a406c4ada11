import pg, { type Pool } from 'pg';
import type { Feed } from '../../feed/feed.ts';
import type { Logger } from '../../kernel/logger.ts';
import { type Loop, startLoop } from './loop.ts';
import { type MatchedPage, matchPage } from './store.ts';

/**
 * Goes through the log for what sets off triggers. Every dispatcher tries, and whoever has the one row of `triggers.state`
 * locked does it: what matches a page is written, and the place in the log moved, in one statement that waits for nobody.
 */
export interface MatcherOptions {
  pool: Pool;
  feed: Feed;
  log: Logger;
  maxDepth: number;
  onPage: (page: MatchedPage) => void;
}

const restMs = 10;
/** A hint that was lost costs so much; and the next to try finds out that whoever was at it is gone. */
const backstopMs = 1_000;
/** Where nothing is registered: that something is, is told. */
const idleBackstopMs = 30_000;
const mostAtOnce = 250;
const registeredChannel = 'treeline_triggers';

export function startMatcher({ pool, feed, log, maxDepth, onPage }: MatcherOptions): Loop {
  /** Nothing is registered that could match: hints are of no interest until something is. */
  let idle = false;
  let pageSize = mostAtOnce;
  const loop = startLoop({
    name: 'matching the log',
    log,
    restMs,
    backstopMs: () => (idle ? idleBackstopMs : backstopMs),
    round: async () => {
      let page: MatchedPage;
      do {
        page = await matchSome();
        onPage(page);
        idle = page.outcome === 'idle';
        // What became a dead letter at once is an event.
        if (page.has_buried) feed.ring();
        if (page.outcome === 'gap') {
          log.error(
            'the log was dropped before triggers had been matched to it: what happened meanwhile set off nothing',
          );
        }
      } while (page.outcome === 'more');
    },
  });
  /** What fails as a page is tried in smaller ones, and one event that fails by itself is passed over: else nothing would match any more. */
  async function matchSome(): Promise<MatchedPage> {
    try {
      const page = await matchPage(pool, { pageSize, maxDepth, skip: false });
      pageSize = Math.min(pageSize * 2, mostAtOnce);
      return page;
    } catch (error) {
      if (!isOfTheData(error)) throw error;
      if (pageSize === 1) {
        log.error({ err: error }, 'an event cannot be matched, and sets off nothing');
        return await matchPage(pool, { pageSize, maxDepth, skip: true });
      }
      log.warn({ err: error, pageSize }, 'a page of the log cannot be matched; trying less at once');
      pageSize = Math.ceil(pageSize / 4);
      return matchSome();
    }
  }

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

/** Not that the server went away, that somebody else was at the same rows, or that it took too long. */
function isOfTheData(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code !== undefined && !/^(08|40|55|57|58)/.test(error.code);
}
