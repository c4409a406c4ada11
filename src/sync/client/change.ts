import type { Data, Effect, Json, Op } from './merge.ts';

/** Which record; `spaceId` null: the user's own. */
export interface RecordKey {
  table: string;
  recordId: string;
  spaceId: string | null;
}

/** What to write to a record. */
export interface Write {
  table: string;
  recordId: string;
  op: Op;
  /** The fields to write; an insert's are all that there are. Not needed to delete. */
  data?: Data | null;
  /** The space whose members share it; the user's own when left out. */
  spaceId?: string | null;
  /** Who does it, whatever that means to the app. */
  actor?: Json;
  /** `user`, `agent`, `system` or `migration`. */
  origin?: string;
}

/** Why the gateway does not take a change. */
export interface ChangeRefusal {
  /** As in the API's `UserError`. */
  code: string;
  message: string;
}

/** A change that was made here and that the gateway has not said yes to. */
export interface PendingChange extends RecordKey {
  changeId: string;
  op: Op;
  data: Data | null;
  fieldMeta: Readonly<Record<string, string>>;
  /** When it was made; `fieldMeta` says the same of each field. */
  at: string;
  schemaVersion: number;
  actor: Json;
  origin: string | null;
  /** Null: it is still to be pushed. Otherwise it waits until it is dropped or revised. */
  refusal: ChangeRefusal | null;
}

/** For writes that name no field: the gateway takes the newest time, whatever it stands under. */
const timeOfWhole = 'at';

/** @param facts what is not the caller's to say */
export function toChange(write: Write, facts: { changeId: string; at: string; schemaVersion: number }): PendingChange {
  // As JSON would have it, and no longer the caller's: what is pushed is what was written.
  const data = write.data == null ? null : (JSON.parse(JSON.stringify(write.data)) as Data);
  const fields = write.op === 'delete' ? [] : Object.keys(data ?? {});
  const timed = fields.length === 0 ? [timeOfWhole] : fields;
  return {
    ...keyOf(write),
    ...facts,
    op: write.op,
    data: write.op === 'delete' ? null : (data ?? {}),
    fieldMeta: Object.fromEntries(timed.map((name) => [name, facts.at])),
    actor: write.actor ?? null,
    origin: write.origin ?? null,
    refusal: null,
  };
}

export function keyOf({
  table,
  recordId,
  spaceId,
}: {
  table: string;
  recordId: string;
  spaceId?: string | null;
}): RecordKey {
  return { table, recordId, spaceId: spaceId ?? null };
}

/** The one name of a record among all tables and spaces. */
export function nameOf({ table, recordId, spaceId }: RecordKey): string {
  return JSON.stringify([spaceId, table, recordId]);
}

export function keyNamed(name: string): RecordKey {
  const [spaceId, table, recordId] = JSON.parse(name) as [string | null, string, string];
  return { table, recordId, spaceId };
}

export function effectOf({ op, data, fieldMeta, at }: PendingChange, position: string): Effect {
  return { op, data, fieldMeta, at, position };
}
