import { Cron } from 'croner';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CronState, checkCron, planCron } from '../../../src/triggers/trigger/cron.ts';

const minuteMs = 60_000;

function planned(state: Partial<Omit<CronState, 'dueAt' | 'now'>> & { dueAt: string | null; now: string }) {
  const { dueAt, now, ...own } = state;
  const { fire, missed, next } = planCron({
    expression: '0 * * * *',
    timezone: 'UTC',
    catchUp: 'skip',
    ...own,
    dueAt: dueAt === null ? null : new Date(dueAt),
    now: new Date(now),
  });
  return { fire: fire.map((time) => time.toISOString()), missed, next: next?.toISOString() ?? null };
}

/** The first times after one, found as the clock finds them: one after the other, each when it is due. */
function timesAfter(expression: string, timezone: string, after: string, many: number): string[] {
  const times: string[] = [];
  let { next } = planned({ expression, timezone, dueAt: null, now: after });
  while (next !== null && times.length < many) {
    const plan = planned({ expression, timezone, dueAt: next, now: next });
    times.push(...plan.fire);
    next = plan.next;
  }
  return times;
}

describe('a cron expression', () => {
  test('is refused with what was expected and what came', () => {
    const messageOf = (expression: string) => checkCron(expression, 'UTC')?.message;
    expect(messageOf('60 * * * *')).toMatch(/^Expected minute, hour, .*; Invalid value for minute: 60\.$/);
    for (const fields of ['', 'daily', '* * * *', '* * * * * * *']) {
      expect(messageOf(fields)).toMatch(/^Expected minute, hour, .*; got "/);
    }
    expect(messageOf('0 0 30 2 *')).toContain('a date that there never is');
    expect(messageOf('0 12:30 * * *')).toContain('a colon means nothing');
    expect(messageOf(`0 0 ${'1,'.repeat(100)}1 * *`)).toContain('of at most 200');
    expect(checkCron('@reboot', 'UTC')).toMatchObject({ field: 'expression' });
  });

  test('may have seconds before it, names, and a date that is rare', () => {
    for (const expression of ['*/10 * * * * *', '0 9 * * MON-FRI', '@daily', '0 0 29 2 *', '0 0 L * *']) {
      expect(checkCron(expression, 'Europe/Berlin')).toBeNull();
    }
  });

  test('is followed in a time zone that has a name', () => {
    for (const timezone of ['Mars/Olympus', '', '+01:00', 'local']) {
      expect(checkCron('0 3 * * *', timezone)).toEqual({
        field: 'timezone',
        message: `Expected the name of a time zone, such as Europe/Berlin or UTC, got "${timezone}".`,
      });
    }
  });
});

describe('due times', () => {
  test('nothing is due before it was found out when', () => {
    expect(planned({ dueAt: null, now: '2026-07-01T12:00:00.500Z' })).toEqual({
      fire: [],
      missed: 0,
      next: '2026-07-01T13:00:00.000Z',
    });
  });

  test('one that is yet to come stays as it is', () => {
    const dueAt = '2026-07-01T13:00:00.000Z';
    expect(planned({ dueAt, now: '2026-07-01T12:59:59.999Z' })).toEqual({ fire: [], missed: 0, next: dueAt });
  });

  test.each(['skip', 'once', 'all'] as const)(
    'one that is a minute old fires with %s, and one that is older is missed',
    (catchUp) => {
      const dueAt = '2026-07-01T12:00:00.000Z';
      const next = '2026-07-01T13:00:00.000Z';
      expect(planned({ catchUp, dueAt, now: '2026-07-01T12:01:00.000Z' })).toEqual({ fire: [dueAt], missed: 0, next });
      expect(planned({ catchUp, dueAt, now: '2026-07-01T12:01:00.001Z' })).toEqual({
        fire: catchUp === 'skip' ? [] : [dueAt],
        missed: catchUp === 'skip' ? 1 : 0,
        next,
      });
    },
  );

  test('of many that were missed none fires, or the oldest for all, or each', () => {
    const state = { dueAt: '2026-07-01T09:00:00.000Z', now: '2026-07-01T12:30:00.000Z' };
    const next = '2026-07-01T13:00:00.000Z';
    const all = [9, 10, 11, 12].map((hour) => `2026-07-01T${String(hour).padStart(2, '0')}:00:00.000Z`);
    expect(planned({ ...state, catchUp: 'skip' })).toEqual({ fire: [], missed: 4, next });
    expect(planned({ ...state, catchUp: 'once' })).toEqual({ fire: [state.dueAt], missed: 3, next });
    expect(planned({ ...state, catchUp: 'all' })).toEqual({ fire: all, missed: 0, next });
  });

  test('one that is on time is the run for those that were missed', () => {
    const state = { dueAt: '2026-07-01T09:00:00.000Z', now: '2026-07-01T12:00:30.000Z' };
    const due = { fire: ['2026-07-01T12:00:00.000Z'], missed: 3, next: '2026-07-01T13:00:00.000Z' };
    expect(planned({ ...state, catchUp: 'once' })).toEqual(due);
    expect(planned({ ...state, catchUp: 'skip' })).toEqual(due);
  });

  test('of a year of missed seconds no more are counted and fired than a hundred', () => {
    const state = { expression: '* * * * * *', dueAt: '2025-07-01T00:00:00.000Z', now: '2026-07-01T00:00:00.000Z' };
    const skipped = planned({ ...state, catchUp: 'skip' });
    expect(skipped).toMatchObject({ missed: 100, next: '2026-07-01T00:00:01.000Z' });
    // Those of the last minute are on time.
    expect(skipped.fire).toHaveLength(61);
    const all = planned({ ...state, catchUp: 'all' });
    expect(all.fire).toHaveLength(100);
    expect(all).toMatchObject({ missed: 0, next: '2025-07-01T00:01:40.000Z' });
  });

  test('where there will be none again there is no next one', () => {
    const state = { expression: '0 0 30 2 *', dueAt: '2026-07-01T00:00:00.000Z', now: '2026-07-01T00:00:01.000Z' };
    expect(planned(state)).toEqual({ fire: [state.dueAt], missed: 0, next: null });
  });

  test('a 29 February comes every four years', () => {
    expect(timesAfter('0 12 29 2 *', 'UTC', '2027-01-01T00:00:00Z', 2)).toEqual([
      '2028-02-29T12:00:00.000Z',
      '2032-02-29T12:00:00.000Z',
    ]);
  });

  test('in the hour that spring leaves out: once, when the hour is over', () => {
    expect(timesAfter('30 2 * * *', 'Europe/Berlin', '2026-03-28T00:00:00Z', 3)).toEqual([
      '2026-03-28T01:30:00.000Z',
      '2026-03-29T01:00:00.000Z',
      '2026-03-30T00:30:00.000Z',
    ]);
    expect(timesAfter('30 2 * * *', 'America/New_York', '2026-03-07T00:00:00Z', 3)).toEqual([
      '2026-03-07T07:30:00.000Z',
      '2026-03-08T07:00:00.000Z',
      '2026-03-09T06:30:00.000Z',
    ]);
  });

  test('in the hour that autumn has twice: a time of day once, every half hour in both', () => {
    expect(timesAfter('30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00:00Z', 2)).toEqual([
      '2026-10-25T00:30:00.000Z',
      '2026-10-26T01:30:00.000Z',
    ]);
    expect(timesAfter('30 1 * * *', 'America/New_York', '2026-10-31T12:00:00Z', 2)).toEqual([
      '2026-11-01T05:30:00.000Z',
      '2026-11-02T06:30:00.000Z',
    ]);
    expect(timesAfter('*/30 * * * *', 'Europe/Berlin', '2026-10-25T00:15:00Z', 4)).toEqual([
      '2026-10-25T00:30:00.000Z',
      '2026-10-25T01:00:00.000Z',
      '2026-10-25T01:30:00.000Z',
      '2026-10-25T02:00:00.000Z',
    ]);
  });
});

describe('however the clock is looked at', () => {
  const zones = [
    { timezone: 'UTC', from: '2026-01-01T00:00:00Z' },
    { timezone: 'Europe/Berlin', from: '2026-03-28T22:00:00Z' },
    { timezone: 'Europe/Berlin', from: '2026-10-24T22:00:00Z' },
    { timezone: 'America/New_York', from: '2026-03-08T04:00:00Z' },
    { timezone: 'America/New_York', from: '2026-11-01T03:00:00Z' },
  ];
  interface Case {
    zone: (typeof zones)[number];
    expression: string;
    steps: number[];
  }
  const cases: fc.Arbitrary<Case> = fc.record({
    zone: fc.constantFrom(...zones),
    expression: fc.constantFrom(
      '*/20 * * * *',
      '30 1-3 * * *',
      '30 2 * * *',
      '0 */7 * * * *',
      '15,45 1,2 * * *',
      '0 0 * * *',
    ),
    // In milliseconds, up to three hours: from many looks at one due time to many due times at one look.
    steps: fc.array(fc.oneof(fc.integer({ min: 1, max: 2 * minuteMs }), fc.integer({ min: 1, max: 180 * minuteMs })), {
      minLength: 1,
      maxLength: 12,
    }),
  });

  function look({ zone, expression, steps }: Case, catchUp: CronState['catchUp']) {
    const fired: { at: Date; now: Date }[] = [];
    let now = new Date(zone.from);
    let missed = 0;
    let dueAt: Date | null = null;
    const start = now;
    for (const step of [0, ...steps]) {
      now = new Date(now.getTime() + step);
      do {
        const plan = planCron({ expression, timezone: zone.timezone, catchUp, dueAt, now });
        fired.push(...plan.fire.map((at) => ({ at, now })));
        missed += plan.missed;
        dueAt = plan.next;
      } while (dueAt !== null && dueAt <= now);
    }
    const cron = new Cron(expression, { timezone: zone.timezone });
    const due: Date[] = [];
    for (let time = cron.nextRun(start); time !== null && time <= now; time = cron.nextRun(time)) due.push(time);
    return { fired, missed, due };
  }

  test('with all, each due time fires exactly once and in order', () => {
    fc.assert(
      fc.property(cases, (steps) => {
        const { fired, missed, due } = look(steps, 'all');
        expect(fired.map(({ at }) => at)).toEqual(due);
        expect(missed).toBe(0);
      }),
    );
  });

  test('with skip, exactly those fire that are at most a minute old, and the others are counted', () => {
    fc.assert(
      fc.property(cases, (steps) => {
        const { fired, missed, due } = look(steps, 'skip');
        for (const { at, now } of fired) expect(now.getTime() - at.getTime()).toBeLessThanOrEqual(minuteMs);
        expect(new Set(fired.map(({ at }) => at.getTime())).size).toBe(fired.length);
        expect(fired.length + missed).toBe(due.length);
      }),
    );
  });

  test('with once, each look fires something if something was due, and no due time is told of twice', () => {
    fc.assert(
      fc.property(cases, (steps) => {
        const { fired, missed, due } = look(steps, 'once');
        expect(fired.length > 0).toBe(due.length > 0);
        expect(new Set(fired.map(({ at }) => at.getTime())).size).toBe(fired.length);
        expect(fired.length + missed).toBe(due.length);
      }),
    );
  });

  test('every so many seconds is so many seconds', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(5, 10, 15, 30),
        fc.integer({ min: 0, max: 5_000 }),
        fc.integer({ min: 1, max: 400 }),
        (seconds, startSecond, lasting) => {
          const start = Date.UTC(2026, 0, 1) + startSecond * 1_000;
          const now = new Date(start + lasting * 1_000);
          const period = seconds * 1_000;
          const first = new Date(Math.floor(start / period) * period + period);
          const state = { expression: `*/${seconds} * * * * *`, timezone: 'UTC', catchUp: 'all' as const };
          const plan = planCron({ ...state, dueAt: first, now });
          expect(plan.fire.map((at) => at.getTime())).toEqual(
            Array.from(
              { length: Math.floor(now.getTime() / period) - Math.floor(start / period) },
              (_, index) => first.getTime() + index * period,
            ),
          );
        },
      ),
    );
  });
});
