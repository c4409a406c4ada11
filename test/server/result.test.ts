import { describe, expect, test } from 'vitest';
import { framesOf, Handed, SharedResult } from '../../src/server/live/result.ts';

/** As graphql-ws makes a frame. */
const frame = (id: string, payload: unknown) => JSON.stringify({ id, type: 'next', payload });
const none = () => null;

describe('a shared result', () => {
  test('is serialised once for all subscribers, on every transport', () => {
    let serialised = 0;
    const counted = {
      toJSON: () => {
        serialised += 1;
        return 'x';
      },
    };
    const shared = new SharedResult({ data: { counted } }, 'cursor');
    const frames = ['a', 'b', 'c'].map((id) => framesOf(frame(id, new Handed(shared, none))));
    expect(frames.map((text) => JSON.parse(String(text)))).toEqual(
      ['a', 'b', 'c'].map((id) => ({ id, type: 'next', payload: { data: { counted: 'x' } } })),
    );
    const handed = new Handed(shared, none);
    expect(handed.stringify(handed)).toBe('{"data":{"counted":"x"}}');
    expect(serialised).toBe(1);
  });

  test('takes along what waits behind it, each in a frame of its own and in order', () => {
    const waiting = [1, 2].map((n) => new SharedResult({ data: { n } }, String(n)));
    const handed = new Handed(new SharedResult({ data: { n: 0 } }, '0'), () => waiting.shift() ?? null);
    const frames = framesOf(frame('id', handed)) as Buffer[];
    expect(frames.map((text) => JSON.parse(String(text)).payload.data.n)).toEqual([0, 1, 2]);
  });

  test('takes along no more than makes a write worth while', () => {
    const big = () => new SharedResult({ data: { text: 'x'.repeat(40_000) } }, '');
    const handed = new Handed(big(), big);
    expect(framesOf(frame('id', handed))).toHaveLength(2);
  });

  test('no text of a client is taken for one', () => {
    const text = frame('id', 'treeline:shared-result');
    expect(framesOf(text)).toBe(text);
    const shared = new SharedResult({ data: { n: 0 } }, '');
    const odd = frame('"payload":"treeline:shared-result"}', new Handed(shared, none));
    expect(JSON.parse(String(framesOf(odd)))).toMatchObject({ payload: { data: { n: 0 } } });
  });
});
