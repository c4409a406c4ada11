import { RequestError } from './errors.ts';

/**
 * An `ID` of the API is opaque: base64url of `Type:key`, so that `node` can find any row. Where the type is known from
 * the place, the bare key (a UUID) is accepted too, because that is what SQL users and logs have at hand.
 */

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function isUuid(text: string): boolean {
  return uuidPattern.test(text);
}

export function encodeId(type: string, key: string): string {
  return Buffer.from(`${type}:${key}`).toString('base64url');
}

/** @throws RequestError BAD_USER_INPUT when the text is no id of this API */
export function decodeId(id: string): { typename: string; id: string } {
  const text = Buffer.from(id, 'base64url').toString();
  const colon = text.indexOf(':');
  const isOurs =
    colon > 0 &&
    isUuid(text.slice(colon + 1)) &&
    encodeId(text.slice(0, colon), text.slice(colon + 1)) === id.replace(/=+$/, '');
  if (!isOurs) {
    throw new RequestError('BAD_USER_INPUT', `Expected an id that this API gave out, got ${JSON.stringify(id)}.`);
  }
  return { typename: text.slice(0, colon), id: text.slice(colon + 1) };
}

/**
 * The key of a row of a known type, from its id or the bare UUID.
 * @returns a UUID, or null when the text names no row of that type: the caller treats it as an unknown row
 */
export function keyOf(type: string, id: string): string | null {
  if (isUuid(id)) return id.toLowerCase();
  const text = Buffer.from(id, 'base64url').toString();
  const key = text.startsWith(`${type}:`) ? text.slice(type.length + 1) : '';
  return isUuid(key) ? key.toLowerCase() : null;
}
