/**
 * Records by field, as the gateway merges them (`sync.merge_states`): of each field the newest write, of the record the
 * newest delete. States can be merged in any order and any number of times, so it does not matter in which order changes
 * arrive, nor whether one arrives twice.
 */

/** Any JSON value, as parsed. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
export type Data = Readonly<Record<string, Json>>;

export type Op = 'insert' | 'update' | 'delete';

/** When something was done: of two at the same time the one with the greater position is newer. */
export interface Moment {
  /** UTC with microseconds, always `YYYY-MM-DDTHH:MM:SS.ffffffZ`: so these compare as text. */
  at: string;
  /** A 64-bit number, as text. */
  position: string;
}

export interface Field extends Moment {
  value: Json;
}

/** A record as some changes make it. */
export interface RecordState {
  /** Without those that the newest delete is newer than. */
  fields: Readonly<Record<string, Field>>;
  /** The newest write of any field; null: it was only ever deleted. */
  written: Moment | null;
  /** The newest delete, also of a record that a newer write brought back. */
  deleted: Moment | null;
}

/** What a change does to its record. */
export interface Effect {
  op: Op;
  /** The fields that it writes; of no meaning to a delete. */
  data: Data | null;
  /** When each field was written; the newest time is that of the change as a whole. */
  fieldMeta: Readonly<Record<string, string>>;
  /** When it happened, where `fieldMeta` says nothing of it. */
  at: string;
  position: string;
}

export const unwritten: RecordState = { fields: {}, written: null, deleted: null };

export function isNewer(one: Moment, other: Moment | null): boolean {
  if (other === null) return true;
  return one.at === other.at ? BigInt(one.position) > BigInt(other.position) : one.at > other.at;
}

/** The record as this one change makes it. */
export function stateOf({ op, data, fieldMeta, at, position }: Effect): RecordState {
  const times = new Map(Object.entries(fieldMeta));
  const whole = { at: newest([...times.values()]) ?? at, position };
  if (op === 'delete') return { fields: {}, written: null, deleted: whole };
  const fields = Object.entries(data ?? {}).map(([name, value]): [string, Field] => [
    name,
    { value, at: times.get(name) ?? at, position },
  ]);
  return { fields: Object.fromEntries(fields), written: whole, deleted: null };
}

export function merge(one: RecordState, other: RecordState): RecordState {
  const deleted = newer(one.deleted, other.deleted);
  // A map, because a field may have the name of something that every object inherits.
  const fields = new Map(Object.entries(one.fields));
  for (const [name, field] of Object.entries(other.fields)) {
    if (isNewer(field, fields.get(name) ?? null)) fields.set(name, field);
  }
  return {
    fields: Object.fromEntries([...fields].filter(([, field]) => isNewer(field, deleted))),
    written: newer(one.written, other.written),
    deleted,
  };
}

/** The record's fields, or null where it is not there: never written, or deleted since. */
export function dataOf({ fields, written, deleted }: RecordState): Data | null {
  if (written === null || !isNewer(written, deleted)) return null;
  return Object.fromEntries(Object.entries(fields).map(([name, { value }]) => [name, value]));
}

function newer(one: Moment | null, other: Moment | null): Moment | null {
  if (one === null || other === null) return one ?? other;
  return isNewer(other, one) ? other : one;
}

function newest(times: readonly string[]): string | undefined {
  return times.reduce<string | undefined>((most, time) => (most === undefined || time > most ? time : most), undefined);
}
