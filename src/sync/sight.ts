import { createHash } from 'node:crypto';
import type { Place } from '../feed/cursor.ts';
import { RequestError } from '../kernel/errors.ts';

/**
 * What somebody may see of sync besides its own: the spaces that it is a member of, as a number for cursors. Whoever comes
 * into a space was never told what is in it, and a cursor from before would not bring it.
 */
export function sightOf(spaceIds: readonly string[]): bigint {
  const digest = createHash('sha256').update(JSON.stringify(spaceIds)).digest();
  return BigInt(digest.readUIntBE(0, 6));
}

/** @throws RequestError CURSOR_EXPIRED when whoever has the cursor may see other spaces now than when it was made */
export function requireSameSight(place: Place | null, spaceIds: readonly string[]): void {
  if (place !== null && place.sees !== sightOf(spaceIds)) throw otherSight();
}

export function otherSight(): RequestError {
  return new RequestError(
    'CURSOR_EXPIRED',
    'You are a member of other spaces than when this cursor was made: read syncRecords anew, then go on from its `cursor`.',
  );
}

export function notOfThisLog(): RequestError {
  return new RequestError(
    'CURSOR_EXPIRED',
    'The log has not come as far as this cursor: read syncRecords anew, then go on from its `cursor`.',
  );
}
