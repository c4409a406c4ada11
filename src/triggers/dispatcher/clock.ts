import type { Pool } from 'pg';
import type { Feed } from '../../feed/feed.ts';
import type { Logger } from '../../kernel/logger.ts';
import { type CronPlan, planCron } from '../trigger/cron.ts';
import { type Loop, startLoop } from './loop.ts';
import { type DueCron, fireCron, listDueCrons } from './store.ts';

/**
 * Fires what is due by the clock. Every dispatcher waits for the next time; the one whose statement finds the due time still
 * there fires, the others find it moved on. All by the database's clock.
 */
export interface ClockOptions {
  pool: Pool;
  feed: Feed;
  log: Logger;
}

/** Registering is heard of, so this only mends what was lost. */
const backstopMs = 60_000;

export function startClock(options: ClockOptions): Loop {
  const { pool, feed, log } = options;
  const loop = startLoop({
    name: 'firing what is due by the clock',
    log,
    restMs: 10,
    backstopMs: () => backstopMs,
    round: async () => {
      const { due, nextInMs } = await listDueCrons(pool);
      for (const cron of due) {
        await fire(cron, options).catch((error: unknown) => {
          log.warn({ err: error, triggerId: cron.trigger_id }, 'a cron trigger could not be fired; it is tried again');
        });
      }
      // Of what was due the next time is to be found out, and there may be more of it.
      if (due.length > 0) loop.wake();
      else if (nextInMs !== null) loop.wakeIn(Math.max(1, Math.ceil(nextInMs)));
    },
  });
  const unhear = feed.onSignal('treeline_triggers', () => loop.wake());
  return {
    ...loop,
    stop: async () => {
      unhear();
      await loop.stop();
    },
  };
}

async function fire(cron: DueCron, { pool, log }: ClockOptions): Promise<void> {
  const plan = planOf(cron);
  if (plan === null) {
    const { trigger_id: triggerId, expression, timezone } = cron;
    // Written past the API, which refuses such a one. Never due, and told of, until somebody changes it.
    log.warn({ triggerId, expression, timezone }, 'a cron trigger cannot be understood and is never due');
    await fireCron(pool, cron, { nextDueAt: 'infinity', events: [] });
    return;
  }
  const events = plan.fire.map((at) => ({
    type: 'cron',
    timestamp: new Date().toISOString(),
    dueAt: at.toISOString(),
    missed: plan.missed,
  }));
  await fireCron(pool, cron, { nextDueAt: plan.next?.toISOString() ?? 'infinity', events });
}

function planOf({ expression, timezone, catch_up: catchUp, next_due_at: dueAt, now }: DueCron): CronPlan | null {
  try {
    const state = { expression, timezone, catchUp, now: new Date(now) };
    return planCron({ ...state, dueAt: dueAt === null ? null : new Date(dueAt) });
  } catch {
    return null;
  }
}
