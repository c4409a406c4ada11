import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findUnstorable } from '../../src/db/storable.ts';

const half = '\ud83d';

describe('what cannot be stored as JSON', () => {
  test('is found where it comes first, however deep', () => {
    expect(findUnstorable('a\0b')).toMatchObject({ path: [], problem: expect.stringContaining('U+0000') });
    expect(findUnstorable({ a: [1, { b: half }], c: '\0' })).toMatchObject({ path: ['a', '1', 'b'] });
    expect(findUnstorable({ a: { [`x${half}`]: 1 } })).toMatchObject({
      path: ['a'],
      problem: expect.stringContaining('key'),
    });
    expect(findUnstorable([Number.POSITIVE_INFINITY])).toMatchObject({ path: ['0'] });
    expect(findUnstorable(JSON.parse(`${'['.repeat(100_000)}${']'.repeat(100_000)}`))).toMatchObject({
      problem: expect.stringContaining('500 levels'),
    });
  });

  test('is exactly what JSON.stringify escapes, of any value', () => {
    fc.assert(
      fc.property(fc.jsonValue({ depthSize: 'medium', stringUnit: 'binary' }), (value) => {
        const text = JSON.stringify(value).replaceAll('\\\\', '');
        expect(findUnstorable(value) !== null).toBe(/\\u0000|\\ud[89a-f]/.test(text));
      }),
    );
  });

  test('nothing else is', () => {
    for (const value of [null, true, '', '\\u0000', '\u{1f600}', [], {}, { a: undefined }, 1e308, undefined]) {
      expect(findUnstorable(value)).toBeNull();
    }
  });
});
