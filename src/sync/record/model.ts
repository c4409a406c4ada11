import type { Json } from '../../kernel/json.ts';

/** A record as all changes together make it, deleted ones too. */
export interface RecordRow {
  /** Where it stands in the list: empty for one's own, else the space. */
  place: string;
  space_id: string | null;
  table_name: string;
  record_id: string;
  /** The newest of its app. */
  schema_version: number;
  data: Readonly<Record<string, Json>>;
  /** By field, when it was written. */
  field_meta: Readonly<Record<string, string>>;
  /** By field, the position of the change that wrote it. */
  field_positions: Readonly<Record<string, number>>;
  written_at: string | null;
  written_position: string | null;
  /** The newest delete, also of a record that was brought back. */
  deleted_at: string | null;
  deleted_position: string | null;
  /** The length of data, field_meta and field_positions as text. */
  bytes: number;
}

/** A record in a list, with the cursor from which changes go on. */
export interface ListedRecord extends RecordRow {
  /** From before the first page. */
  since: string;
}

export interface Moment {
  at: string;
  position: string;
}

export function writeOf({ written_at: at, written_position: position }: RecordRow): Moment | null {
  return at === null || position === null ? null : { at, position };
}

export function deletionOf({ deleted_at: at, deleted_position: position }: RecordRow): Moment | null {
  return at === null || position === null ? null : { at, position };
}

/** When it was deleted, unless something newer brought it back. */
export function deletedAt(record: RecordRow): string | null {
  const deletion = deletionOf(record);
  const write = writeOf(record);
  if (deletion === null) return null;
  return write !== null && isNewer(write, deletion) ? null : deletion.at;
}

function isNewer(one: Moment, other: Moment): boolean {
  const [oneAt, otherAt] = [microseconds(one.at), microseconds(other.at)];
  return oneAt === otherAt ? BigInt(one.position) > BigInt(other.position) : oneAt > otherAt;
}

/** Of a time as the database writes it in JSON, without trailing zeros: text of two lengths does not compare. */
function microseconds(time: string): bigint {
  const fraction = /\.(\d{1,6})/.exec(time)?.[1] ?? '';
  const seconds = Math.floor(Date.parse(time) / 1_000);
  return BigInt(seconds) * 1_000_000n + BigInt(fraction.padEnd(6, '0'));
}

export const listSizes = { usual: 100, most: 1_000 } as const;

/** How much of records one page holds at most, in bytes; with its last one it may be more. */
export const pageBytes = 8_000_000;
