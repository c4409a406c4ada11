import { createHash } from 'node:crypto';

const newline = 0x0a;

/** A line is longer than is accepted. */
export class LineTooLong extends Error {
  override readonly name = 'LineTooLong';
  /** Counted from 1. */
  readonly line: number;

  constructor(line: number) {
    super(`line ${line} is too long`);
    this.line = line;
  }
}

/** What lines that came in pieces were: many, of which the last tells of those before it. */
export interface DigestedLines {
  /** Lines before the last one. */
  lines: number;
  /** SHA-256 of all bytes before the last line, as hex. */
  sha256: string;
  /** With its newline, which is missing where the text was cut short. */
  lastLine: Buffer;
  bytes: number;
}

export interface LineDigest {
  /** @throws LineTooLong */
  add(chunk: Buffer): void;
  end(): DigestedLines;
}

/**
 * Hashes lines as they come, all but the last: which one that is turns out at the end, so each is held until the next one
 * has ended. That, and the limit on their length, bounds what is held.
 */
export function createLineDigest(mostLineBytes = Number.POSITIVE_INFINITY): LineDigest {
  const hash = createHash('sha256');
  let bytes = 0;
  let ended = 0;
  /** The last whole line, and what has come of the next. */
  let whole: Buffer[] = [];
  let begun: Buffer[] = [];
  let begunBytes = 0;

  function count(chunk: Buffer): void {
    let from = 0;
    for (let at = chunk.indexOf(newline); at !== -1; at = chunk.indexOf(newline, from)) {
      begunBytes += at + 1 - from;
      if (begunBytes > mostLineBytes) break;
      ended += 1;
      begunBytes = 0;
      from = at + 1;
    }
    if (begunBytes <= mostLineBytes) begunBytes += chunk.length - from;
    if (begunBytes > mostLineBytes) throw new LineTooLong(ended + 1);
  }

  return {
    add(chunk) {
      bytes += chunk.length;
      count(chunk);
      const end = chunk.lastIndexOf(newline) + 1;
      if (end > 0) {
        const start = end === 1 ? 0 : chunk.lastIndexOf(newline, end - 2) + 1;
        for (const part of whole) hash.update(part);
        if (start === 0) {
          whole = [...begun, chunk.subarray(0, end)];
        } else {
          for (const part of begun) hash.update(part);
          hash.update(chunk.subarray(0, start));
          whole = [chunk.subarray(start, end)];
        }
        begun = [];
      }
      if (end < chunk.length) begun.push(chunk.subarray(end));
    },
    end() {
      const cut = begun.length > 0;
      if (cut) for (const part of whole) hash.update(part);
      return {
        lines: cut ? ended : Math.max(0, ended - 1),
        sha256: hash.digest('hex'),
        lastLine: Buffer.concat(cut ? begun : whole),
        bytes,
      };
    },
  };
}
