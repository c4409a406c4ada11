import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createLineDigest, LineTooLong } from '../../src/kernel/line-digest.ts';

/** The same, all at once. */
function digestOf(text: Buffer) {
  const end = text.at(-1) === 0x0a ? text.length - 1 : text.length;
  const start = end === 0 ? 0 : text.lastIndexOf(0x0a, end - 1) + 1;
  const before = text.subarray(0, start);
  return {
    lines: before.filter((byte) => byte === 0x0a).length,
    sha256: createHash('sha256').update(before).digest('hex'),
    lastLine: text.subarray(start),
    bytes: text.length,
  };
}

function digestIn(chunks: readonly Buffer[]) {
  const digest = createLineDigest();
  for (const chunk of chunks) digest.add(chunk);
  return digest.end();
}

describe('lines that come in pieces', () => {
  test('are digested as they are, wherever they were cut', () => {
    const piece = fc.array(fc.constantFrom('\n', 'a', 'bc', '\r'), { maxLength: 8 });
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const chunks = pieces.map((parts) => Buffer.from(parts.join('')));
        expect(digestIn(chunks)).toEqual(digestOf(Buffer.concat(chunks)));
      }),
      { numRuns: 2_000 },
    );
  });

  test('one that is longer than is accepted is named before it has all come', () => {
    const digest = createLineDigest(10);
    digest.add(Buffer.from('123456789\n1\n12345'));
    expect(() => digest.add(Buffer.from('678901'))).toThrow(expect.objectContaining({ line: 3 }));
    expect(() => createLineDigest(10).add(Buffer.from('1\n1234567890\n'))).toThrow(LineTooLong);
  });
});
