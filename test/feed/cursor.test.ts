import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CursorSeal, decodeCursor, encodeCursor, type Place } from '../../src/feed/cursor.ts';

const seal: CursorSeal = { epoch: 123_456_789_012n, key: Buffer.alloc(30, 7) };

const snapshot = fc
  .record({
    xmin: fc.bigInt({ min: 1n, max: 2n ** 63n }),
    gaps: fc.array(fc.bigInt({ min: 1n, max: 10_000n }), { maxLength: 80 }),
  })
  .map(({ xmin, gaps }) => {
    let xid = xmin - 1n;
    const open = gaps.map((gap) => {
      xid += gap;
      return xid;
    });
    return `${open[0] ?? xmin}:${(open.at(-1) ?? xmin) + 1n}:${open.join(',')}`;
  });
const place: fc.Arbitrary<Place> = fc.record(
  {
    prev: snapshot,
    within: fc.option(fc.record({ next: snapshot, position: fc.nat() })),
    inOrder: fc.record({ of: fc.uuid(), number: fc.integer({ min: -2, max: 2 ** 32 }) }),
  },
  { requiredKeys: ['prev', 'within'] },
);

describe('cursors', () => {
  test('any place comes back as it went', () => {
    fc.assert(
      fc.property(place, (given) => {
        expect(decodeCursor(encodeCursor(given, seal), seal, 'feed')).toEqual(given);
      }),
    );
  });

  test('one changed character anywhere, or another key, is BAD_CURSOR', () => {
    fc.assert(
      fc.property(place, fc.nat(), fc.constantFrom(...'AZaz09-_'), (given, at, character) => {
        const cursor = encodeCursor(given, seal);
        const index = at % cursor.length;
        const forged = cursor.slice(0, index) + character + cursor.slice(index + 1);
        if (forged === cursor) return;
        expect(() => decodeCursor(forged, seal, 'feed')).toThrow(expect.objectContaining({ code: 'BAD_CURSOR' }));
      }),
    );
    const cursor = encodeCursor({ prev: '5:9:5,7', within: null }, seal);
    expect(() => decodeCursor(cursor, { ...seal, key: Buffer.alloc(30, 8) }, 'feed')).toThrow(
      expect.objectContaining({ code: 'BAD_CURSOR' }),
    );
  });

  test('what never was a cursor is BAD_CURSOR', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(() => decodeCursor(text, seal, 'feed')).toThrow(expect.objectContaining({ code: 'BAD_CURSOR' }));
      }),
    );
  });

  test('one of another epoch is CURSOR_EXPIRED: it was good once', () => {
    const cursor = encodeCursor({ prev: '5:9:5,7', within: null }, { ...seal, epoch: 5n });
    expect(() => decodeCursor(cursor, seal, 'feed')).toThrow(expect.objectContaining({ code: 'CURSOR_EXPIRED' }));
  });

  test('those of sync say what their reader sees, and are told from those of the feed', () => {
    fc.assert(
      fc.property(place, fc.bigInt({ min: 0n, max: 2n ** 48n - 1n }), ({ prev, within }, sees) => {
        const cursor = encodeCursor({ prev, within, sees }, seal);
        expect(decodeCursor(cursor, seal, 'sync')).toEqual({ prev, within, sees });
        expect(() => decodeCursor(cursor, seal, 'feed')).toThrow(expect.objectContaining({ code: 'BAD_CURSOR' }));
      }),
    );
    const cursor = encodeCursor({ prev: '5:9:5,7', within: null }, seal);
    expect(() => decodeCursor(cursor, seal, 'sync')).toThrow(expect.objectContaining({ code: 'BAD_CURSOR' }));
  });

  test('between 64 writers it has few characters', () => {
    const open = Array.from({ length: 64 }, (_, n) => 9_000_000n + BigInt(n) * 3n);
    const busy = `9000000:9000200:${open.join(',')}`;
    const cursor = encodeCursor({ prev: busy, within: { next: busy, position: 12_345_678 } }, seal);
    expect(cursor.length).toBeLessThan(230);
  });
});
