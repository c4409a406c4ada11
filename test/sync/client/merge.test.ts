import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dataOf, type Effect, merge, stateOf, unwritten } from '../../../src/sync/client/merge.ts';
import { effects, merged } from './states.ts';

const at = (minute: number) => `2026-11-21T09:${String(minute).padStart(2, '0')}:00.000000Z`;
const write = (position: number, minute: number, data: Record<string, string>): Effect => ({
  op: 'update',
  data,
  fieldMeta: Object.fromEntries(Object.keys(data).map((name) => [name, at(minute)])),
  at: at(minute),
  position: String(position),
});
const removal = (position: number, minute: number): Effect => ({
  op: 'delete',
  data: null,
  fieldMeta: { at: at(minute) },
  at: at(59),
  position: String(position),
});

/** Each of some of the same changes. */
const threeStates = effects.chain((changes) => {
  const state = fc.subarray(changes).map(merged);
  return fc.tuple(state, state, state);
});

describe('states of a record', () => {
  test('merge to the same in whatever order, grouped however, and again', () => {
    fc.assert(
      fc.property(threeStates, ([one, two, three]) => {
        expect(merge(one, two)).toEqual(merge(two, one));
        expect(merge(merge(one, two), three)).toEqual(merge(one, merge(two, three)));
        expect(merge(one, one)).toEqual(one);
        expect(merge(merge(one, two), two)).toEqual(merge(one, two));
        expect(merge(one, unwritten)).toEqual(one);
      }),
      { numRuns: 1_000 },
    );
  });

  test('take of each field the newest write, and of two at one time the later', () => {
    const states = [
      write(1, 5, { text: 'first', done: 'no' }),
      write(2, 3, { text: 'late and old' }),
      write(3, 5, { done: 'yes' }),
    ];
    expect(dataOf(merged(states))).toEqual({ text: 'first', done: 'yes' });
  });

  test('compare positions as numbers of 64 bits', () => {
    const low = { ...write(0, 5, { text: 'low' }), position: '9223372036854775806' };
    const high = { ...write(0, 5, { text: 'high' }), position: '9223372036854775807' };
    const short = { ...write(0, 5, { text: 'short' }), position: '9' };
    expect(dataOf(merged([high, low, short]))).toEqual({ text: 'high' });
  });

  test('lose to a newer delete what was written before it, and come back with a newer write alone', () => {
    const before = write(1, 1, { text: 'old', done: 'no' });
    expect(dataOf(merged([before, removal(2, 2)]))).toBeNull();
    expect(dataOf(merged([removal(2, 2), before]))).toBeNull();
    expect(dataOf(merged([write(3, 3, { text: 'back' }), removal(2, 2), before]))).toEqual({ text: 'back' });
  });

  test('that a delete is older than are not deleted by it', () => {
    expect(dataOf(merged([write(1, 5, { text: 'new' }), removal(2, 4)]))).toEqual({ text: 'new' });
  });

  test('are there when a write without fields says so', () => {
    const made = stateOf({ ...write(1, 5, {}), fieldMeta: { at: at(5) } });
    expect(dataOf(made)).toEqual({});
    expect(dataOf(unwritten)).toBeNull();
  });
});
