import { createHmac, timingSafeEqual } from 'node:crypto';
import { RequestError } from '../kernel/errors.ts';
import { parseSnapshot, readSnapshot, type Snapshot, writeSnapshot } from './snapshot.ts';
import { createReader, createWriter } from './varint.ts';

/**
 * How far somebody has read: everything that was visible in `prev`, and of what became visible between `prev` and
 * `within.next`, everything up to a position.
 */
export interface Place {
  /** A snapshot as PostgreSQL writes it: `xmin:xmax:xip,…`. */
  prev: string;
  within: { next: string; position: number } | null;
}

/** What makes cursors ours: see `feed.open()`. */
export interface CursorSeal {
  epoch: bigint;
  key: Buffer;
}

const version = 1;
const kinds = { feed: 0x46, sync: 0x53 } as const;
const tagBytes = 12;

const bad = () =>
  new RequestError(
    'BAD_CURSOR',
    'This is no cursor of the feed: take one from `cursor` of a query, a payload or an event.',
  );

/** A snapshot's list of open transactions is delta-coded: a cursor between 64 writers has some 150 characters. */
export function encodeCursor(place: Place, seal: CursorSeal): string {
  const writer = createWriter();
  writer.byte(kinds.feed);
  writer.byte(version);
  writer.number(seal.epoch);
  const prev = parseSnapshot(place.prev);
  writeSnapshot(writer, prev);
  if (place.within !== null) {
    writeSnapshot(writer, parseSnapshot(place.within.next));
    writer.number(BigInt(place.within.position));
  }
  const body = writer.bytes();
  return Buffer.concat([body, sign(body, seal.key)]).toString('base64url');
}

/**
 * @throws RequestError BAD_CURSOR for what is not a cursor of the feed or was tampered with, CURSOR_EXPIRED for one of
 * another epoch: the database was restored, copied or promoted since
 */
export function decodeCursor(cursor: string, seal: CursorSeal): Place {
  const bytes = Buffer.from(cursor, 'base64url');
  const body = bytes.subarray(0, -tagBytes);
  // Spelled otherwise it decodes to the same bytes: only one spelling is ours.
  if (body.length < 3 || bytes.toString('base64url') !== cursor) throw bad();
  if (!timingSafeEqual(bytes.subarray(-tagBytes), sign(body, seal.key))) throw bad();
  const reader = createReader(body);
  if (reader.byte() !== kinds.feed || reader.byte() !== version) throw bad();
  if (reader.number() !== seal.epoch) throw expired();
  const prev = readSnapshot(reader);
  if (reader.atEnd()) return { prev: format(prev), within: null };
  const next = readSnapshot(reader);
  return { prev: format(prev), within: { next: format(next), position: Number(reader.number()) } };
}

export function expired(): RequestError {
  return new RequestError(
    'CURSOR_EXPIRED',
    'The log no longer holds everything that came after this cursor: query again, then subscribe with the new `cursor`.',
  );
}

function format({ xmin, xmax, open }: Snapshot): string {
  return `${xmin}:${xmax}:${open.join(',')}`;
}

function sign(body: Uint8Array, key: Buffer): Buffer {
  return createHmac('sha256', key).update(body).digest().subarray(0, tagBytes);
}
