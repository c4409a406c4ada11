import { createHmac, timingSafeEqual } from 'node:crypto';
import { RequestError } from '../kernel/errors.ts';
import { formatSnapshot, parseSnapshot, readSnapshot, writeSnapshot } from './snapshot.ts';
import { createReader, createWriter } from './varint.ts';

/**
 * How far somebody has read: everything that was visible in `prev`, and of what became visible between `prev` and
 * `within.next`, everything up to a position.
 */
export interface Place {
  /** A snapshot as PostgreSQL writes it: `xmin:xmax:xip,…`. */
  prev: string;
  within: { next: string; position: number } | null;
  /** How far in something that keeps an order of its own (a chat), by its UUID: for its followers that counts, not the rest. */
  inOrder?: { of: string; number: number };
  /** A digest of what whoever reads may see: among other things, other ones may have been missed. Of cursors of sync. */
  sees?: bigint;
}

/** The log of changes, or that of sync: what is behind a place in one of them may be before it in the other. */
export type CursorKind = keyof typeof kinds;

/** What makes cursors ours: see `feed.open()`. */
export interface CursorSeal {
  epoch: bigint;
  key: Buffer;
}

/** The second carries an `inOrder` besides, the third what its reader sees. */
const versions = { plain: 1, inOrder: 2, sees: 3 } as const;
const kinds = { feed: 0x46, sync: 0x53 } as const;
const tagBytes = 12;
const lowest = 2;

const origins = {
  feed: 'This is no cursor of the feed: take one from `cursor` of a query, a payload or an event.',
  sync: 'This is no cursor of sync: take one from `cursor` of syncRecords, syncChanges, syncChanged or pushChanges.',
} as const satisfies Record<CursorKind, string>;

const bad = (kind: CursorKind) => new RequestError('BAD_CURSOR', origins[kind]);

/** A snapshot's list of open transactions is delta-coded: a cursor between 64 writers has some 150 characters. */
export function encodeCursor(place: Place, seal: CursorSeal): string {
  const writer = createWriter();
  writer.byte(place.sees === undefined ? kinds.feed : kinds.sync);
  writer.byte(versionOf(place));
  writer.number(seal.epoch);
  if (place.sees !== undefined) writer.number(place.sees);
  if (place.inOrder !== undefined) {
    writer.number(BigInt(`0x${place.inOrder.of.replaceAll('-', '')}`));
    // From 0 on, whatever comes before the first.
    writer.number(BigInt(place.inOrder.number + lowest));
  }
  const prev = parseSnapshot(place.prev);
  writeSnapshot(writer, prev);
  if (place.within !== null) {
    writeSnapshot(writer, parseSnapshot(place.within.next));
    writer.number(BigInt(place.within.position));
  }
  const body = writer.bytes();
  return Buffer.concat([body, sign(body, seal.key)]).toString('base64url');
}

function versionOf({ sees, inOrder }: Place): number {
  if (sees !== undefined) return versions.sees;
  return inOrder === undefined ? versions.plain : versions.inOrder;
}

/**
 * @throws RequestError BAD_CURSOR for what is not a cursor of this kind or was tampered with, CURSOR_EXPIRED for one of
 * another epoch: the database was restored, copied or promoted since
 */
export function decodeCursor(cursor: string, seal: CursorSeal, kind: CursorKind): Place {
  const bytes = Buffer.from(cursor, 'base64url');
  const body = bytes.subarray(0, -tagBytes);
  // Spelled otherwise it decodes to the same bytes: only one spelling is ours.
  if (body.length < 3 || bytes.toString('base64url') !== cursor) throw bad(kind);
  if (!timingSafeEqual(bytes.subarray(-tagBytes), sign(body, seal.key))) throw bad(kind);
  const reader = createReader(body);
  if (reader.byte() !== kinds[kind]) throw bad(kind);
  const version = reader.byte();
  if (!(kind === 'sync' ? [versions.sees] : [versions.plain, versions.inOrder]).includes(version as never))
    throw bad(kind);
  if (reader.number() !== seal.epoch) throw expired();
  const sees = version === versions.sees ? { sees: reader.number() } : {};
  const order =
    version === versions.inOrder
      ? { ...sees, inOrder: { of: toUuid(reader.number()), number: Number(reader.number()) - lowest } }
      : sees;
  const prev = readSnapshot(reader);
  if (reader.atEnd()) return { prev: formatSnapshot(prev), within: null, ...order };
  const next = readSnapshot(reader);
  return {
    prev: formatSnapshot(prev),
    within: { next: formatSnapshot(next), position: Number(reader.number()) },
    ...order,
  };
}

function toUuid(number: bigint): string {
  return number
    .toString(16)
    .padStart(32, '0')
    .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

export function expired(): RequestError {
  return new RequestError(
    'CURSOR_EXPIRED',
    'The log no longer holds everything that came after this cursor: query again, then subscribe with the new `cursor`.',
  );
}

function sign(body: Uint8Array, key: Buffer): Buffer {
  return createHmac('sha256', key).update(body).digest().subarray(0, tagBytes);
}
