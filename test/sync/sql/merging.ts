import type { Row } from './asking.ts';

/** When something was written: by the client's clock, and of two at one time by the log. */
export interface Moment {
  time: string;
  position: number;
}

/** A change as the log has it, every time given. */
export interface Logged extends Moment {
  /** The newest of all that it says; also of fields that were dropped since. */
  time: string;
  op: string;
  data: Record<string, unknown> | null;
  times: Record<string, string>;
}

export function logged(change: Omit<Logged, 'time'>): Logged {
  return { ...change, time: Object.values(change.times).sort().at(-1) ?? '' };
}

interface Field extends Moment {
  value: unknown;
}

/** What `sync.list_records` should say of a record. */
export type Expected = Pick<Row, 'data' | 'field_meta' | 'written_position' | 'deleted_position'>;

function newer<T extends Moment>(one: T, other: T | undefined): T {
  return other === undefined || isNewer(one, other) ? one : other;
}

const isNewer = (one: Moment, other: Moment | undefined): boolean =>
  other === undefined || one.time > other.time || (one.time === other.time && one.position > other.position);

/**
 * The rules in the simplest way that there is, to compare with: of each field the newest write, of the record the newest
 * delete, and no field that is older than that.
 * @param times all in one spelling, so that they compare as they are
 */
export function merge(changes: readonly Logged[]): Expected {
  const fields = new Map<string, Field>();
  let written: Moment | undefined;
  let deleted: Moment | undefined;
  for (const { op, data, times, time, position } of changes) {
    if (op === 'delete') {
      deleted = newer({ time, position }, deleted);
      continue;
    }
    written = newer({ time, position }, written);
    for (const [name, value] of Object.entries(data ?? {})) {
      const field = { time: times[name] ?? '', position, value };
      fields.set(name, newer(field, fields.get(name)));
    }
  }
  const kept = [...fields].filter(([, field]) => isNewer(field, deleted));
  return {
    data: Object.fromEntries(kept.map(([name, { value }]) => [name, value])),
    field_meta: Object.fromEntries(kept.map(([name, { time }]) => [name, time])),
    written_position: written === undefined ? null : String(written.position),
    deleted_position: deleted === undefined ? null : String(deleted.position),
  };
}

export interface Lift {
  version: number;
  rename: Record<string, string>;
  drop: string[];
}

/** A change of an older schema version, as one of the newest. */
export function lift(change: Logged, version: number, lifts: readonly Lift[]): Logged {
  if (change.data === null) return change;
  const data = { ...change.data };
  const times = { ...change.times };
  for (const { rename, drop } of lifts.filter((one) => one.version > version)) {
    for (const [from, to] of Object.entries(rename)) {
      if (!(from in data)) continue;
      if (!(to in data) || (times[from] ?? '') > (times[to] ?? '')) {
        data[to] = data[from];
        times[to] = times[from] ?? '';
      }
      delete data[from];
      delete times[from];
    }
    for (const name of drop) {
      delete data[name];
      delete times[name];
    }
  }
  return { ...change, data, times };
}
