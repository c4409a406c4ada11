import fc from 'fast-check';
import { type Effect, type Json, merge, type RecordState, stateOf, unwritten } from '../../../src/sync/client/merge.ts';

/** Few enough that they meet: in fields, in times, and in deletes between them. */
const time = fc.constantFrom(
  '2026-11-21T09:30:00.000000Z',
  '2026-11-21T09:30:00.000001Z',
  '2026-11-21T09:30:00.100000Z',
  '2026-11-21T10:00:00.000000Z',
);
const fieldName = fc.constantFrom('text', 'done', '__proto__', 'constructor', '');
const value: fc.Arbitrary<Json> = fc.constantFrom<Json>(null, 1, 'x', true, [1, { a: null }]);
/** Of 64 bits: the two largest are one number where they are taken for doubles. */
const position = fc.oneof(
  fc.bigInt(1n, 40n).map(String),
  fc.constantFrom('9007199254740993', '9223372036854775806', '9223372036854775807'),
);

interface Written {
  op: 'insert' | 'update';
  fields: [name: string, value: Json, time: string][];
  extra: string | null;
  at: string;
  position: string;
}

const write: fc.Arbitrary<Written> = fc.record({
  op: fc.constantFrom('insert' as const, 'update' as const),
  fields: fc.uniqueArray(fc.tuple(fieldName, value, time), { selector: ([name]) => name, maxLength: 3 }),
  extra: fc.option(time, { nil: null }),
  at: time,
  position,
});
const removal = fc.record({
  op: fc.constant('delete' as const),
  extra: fc.option(time, { nil: null }),
  at: time,
  position,
});

/** Changes of one record, each with a position of its own. */
export const effects: fc.Arbitrary<Effect[]> = fc.uniqueArray(
  fc.oneof(
    { weight: 3, arbitrary: write.map(toWrite) },
    { weight: 1, arbitrary: removal.map(({ extra, ...rest }) => ({ ...rest, data: null, fieldMeta: timed(extra) })) },
  ),
  { selector: (effect) => effect.position, maxLength: 8 },
);

function toWrite({ op, fields, extra, at, position }: Written): Effect {
  return {
    op,
    at,
    position,
    data: Object.fromEntries(fields.map(([name, value]) => [name, value])),
    fieldMeta: Object.fromEntries([
      ...fields.map(([name, , time]) => [name, time] as const),
      // Of no field that it writes.
      ...Object.entries(timed(extra)),
    ]),
  };
}

function timed(extra: string | null): Record<string, string> {
  return extra === null ? {} : { unwritten: extra };
}

export function merged(changes: readonly Effect[]): RecordState {
  return changes.map(stateOf).reduce(merge, unwritten);
}
