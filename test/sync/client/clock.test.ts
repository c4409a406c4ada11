import { describe, expect, test } from 'vitest';
import { canonicalTime, createClock } from '../../../src/sync/client/clock.ts';

const noon = Date.parse('2026-11-21T12:00:00.000Z');

describe('the times of writes', () => {
  test('never tie, however fast they come, and whether or not the clock goes back', () => {
    let now = noon;
    const clock = createClock(() => now, null);
    const times = [clock.next([]), clock.next([])];
    now -= 3_600_000;
    times.push(clock.next([]));
    now = noon + 1;
    times.push(clock.next([]));
    expect(times).toEqual([
      '2026-11-21T12:00:00.000000Z',
      '2026-11-21T12:00:00.000001Z',
      '2026-11-21T12:00:00.000002Z',
      '2026-11-21T12:00:00.001000Z',
    ]);
  });

  test('go on after the last one of an earlier start', () => {
    expect(createClock(() => noon, '2026-11-21T12:30:00.999999Z').next([])).toBe('2026-11-21T12:30:01.000000Z');
  });

  test('come after what they are written on top of, by whatever clock', () => {
    const clock = createClock(() => noon, null);
    expect(clock.next(['2026-11-21T11:00:00.000000Z', '2026-11-21T17:00:00.000000Z'])).toBe(
      '2026-11-21T17:00:00.000001Z',
    );
  });

  test('do not follow a clock that was days ahead', () => {
    const clock = createClock(() => noon, '2026-11-24T12:00:00.000000Z');
    expect(clock.next(['2027-01-01T00:00:00.000000Z'])).toBe('2026-11-21T12:00:00.000000Z');
  });

  test('of the gateway are spelled in one length', () => {
    expect(canonicalTime('2026-11-21T12:00:00Z')).toBe('2026-11-21T12:00:00.000000Z');
    expect(canonicalTime('2026-11-21T12:00:00.12Z')).toBe('2026-11-21T12:00:00.120000Z');
    expect(() => canonicalTime('2026-11-21T12:00:00+02:00')).toThrow();
  });
});
