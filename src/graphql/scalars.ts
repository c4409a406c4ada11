import { RequestError } from '../kernel/errors.ts';
import { isUuid } from '../kernel/ids.ts';
import type { Json } from '../kernel/json.ts';
import { builder } from './builder.ts';

function refuse(scalar: string, expected: string, value: unknown): never {
  throw new RequestError('BAD_USER_INPUT', `${scalar}: expected ${expected}, got ${JSON.stringify(value)}.`);
}

const dateTimePattern =
  /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.\d{1,9})?(?:[Zz]|[+-](?:0\d|1[0-5]):[0-5]\d)$/;

/** Days are checked against the calendar: `Date` alone would silently turn 31 February into March. */
function parseDateTime(value: unknown): string {
  const match = typeof value === 'string' ? dateTimePattern.exec(value) : null;
  if (match === null) return refuse('DateTime', 'an RFC 3339 time such as 2026-11-21T09:30:00Z', value);
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const calendar = new Date(Date.UTC(year, month - 1, day));
  const exists = year > 0 && calendar.getUTCMonth() === month - 1 && calendar.getUTCDate() === day;
  if (!exists || hour > 23 || minute > 59 || second > 59) refuse('DateTime', 'a time that exists', value);
  return value as string;
}

builder.scalarType('DateTime', {
  description: 'A moment, as RFC 3339 text. Any offset is accepted; answers are in UTC and keep microseconds.',
  parseValue: parseDateTime,
  // JSON made by the database spells UTC as +00:00.
  serialize: (value) => {
    const text = String(value);
    return text.endsWith('+00:00') ? `${text.slice(0, -6)}Z` : text;
  },
});

builder.scalarType('UUID', {
  description: 'A UUID in its hyphenated form, in lower case in answers.',
  parseValue: (value) =>
    typeof value === 'string' && isUuid(value)
      ? value.toLowerCase()
      : refuse('UUID', 'a UUID such as 0c0b2c0e-5b0a-4f5e-9d0e-3f1a52f3c001', value),
});

builder.scalarType('JSON', {
  description: 'Any JSON value. Where a field stores an object, anything else is refused with a user error.',
  parseValue: (value) => value as Json,
});

builder.scalarType('GitObjectID', {
  description: 'The name of a git object: 40 (SHA-1) or 64 (SHA-256) hexadecimal digits, in lower case in answers.',
  parseValue: (value) =>
    typeof value === 'string' && /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/i.test(value)
      ? value.toLowerCase()
      : refuse('GitObjectID', '40 or 64 hexadecimal digits', value),
});

builder.scalarType('Cursor', {
  description: 'A position in the feed of changes. Opaque; only the server can compare two of them.',
  parseValue: (value) => (typeof value === 'string' ? value : refuse('Cursor', 'text that this API gave out', value)),
});

builder.scalarType('BigInt', {
  description: 'A whole number of up to 64 bits, as text in answers; numbers are accepted while they are exact.',
  parseValue: parseBigInt,
  serialize: String,
});

function parseBigInt(value: unknown): string {
  const text = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value;
  if (typeof text !== 'string' || !/^-?\d{1,19}$/.test(text) || BigInt.asIntN(64, BigInt(text)) !== BigInt(text)) {
    return refuse('BigInt', 'a whole number of at most 64 bits, as text or an exact number', value);
  }
  return text;
}
