import fc from 'fast-check';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { full } from '../../support/size.ts';
import { openSides, type Sides } from '../setting.ts';
import { expectAgreement } from './agreement.ts';
import { type Script, scripts } from './scripts.ts';
import { othersTriggers } from './triggers.ts';
import { isOurRefusal, isTheirKey, write } from './writing.ts';

const writers = 4;

describe('writers on both sides at once', () => {
  let sides: Sides;
  let ours: pg.Client[];
  let theirs: pg.Client[];
  /** What the mirror could not follow: nothing of what the scripts write. */
  let warnings: string[];
  beforeAll(async () => {
    sides = await openSides();
    await sides.ours.query(othersTriggers);
    const each = Array.from({ length: writers });
    ours = await Promise.all(each.map(() => sides.database.connect()));
    theirs = await Promise.all(each.map(() => sides.connectTheirs()));
    for (const client of [...ours, ...theirs]) {
      client.on('notice', ({ severity, message }) => {
        if (severity === 'WARNING') warnings.push(message ?? '');
      });
    }
  });
  afterAll(async () => {
    await Promise.all([...ours, ...theirs].map((client) => client.end()));
    await sides.close();
  });

  async function empty(): Promise<void> {
    warnings = [];
    await sides.ours.query('truncate mai.projects; delete from registry.projects');
    await sides.ours.query('truncate mirror.pairs, feed.events');
  }

  /** @returns how often a transaction was done again */
  async function play(script: Script): Promise<number> {
    const outcomes = await Promise.allSettled([
      ...script.ours.map((transactions, n) => write(ours[n] as pg.Client, transactions, isOurRefusal)),
      ...script.theirs.map((transactions, n) => write(theirs[n] as pg.Client, transactions, isTheirKey)),
    ]);
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    return outcomes.reduce((sum, outcome) => sum + (outcome.status === 'fulfilled' ? outcome.value : 0), 0);
  }

  test('leave no drift, whatever they do; and over there nothing fails but what has to be retried', async () => {
    let retries = 0;
    await fc.assert(
      fc.asyncProperty(scripts(writers, full ? 10 : 3), async (script) => {
        await empty();
        retries += await play(script);
        await expectAgreement(sides);
        expect(warnings).toEqual([]);
      }),
      // What happens depends on who comes first, so a smaller script of the same failure is not to be found.
      { numRuns: full ? 20 : 3, endOnFailure: true },
    );
    // Or they did not meet, and nothing was shown.
    expect(retries).toBeGreaterThan(0);
  }, 1_800_000);
});
