import type { Place } from '../../feed/cursor.ts';
import type { Json } from '../../kernel/json.ts';

export const syncOps = ['insert', 'update', 'delete'] as const;
export type SyncOp = (typeof syncOps)[number];

/** A change as its reader gets it: lifted to the newest schema version of its app. */
export interface ChangeRow {
  id: string;
  /** A 64-bit number, as text. */
  position: string;
  user_id: string;
  space_id: string | null;
  app_id: string;
  table_name: string;
  record_id: string;
  op: SyncOp;
  data: Json | null;
  /** By field, when it was written: UTC with microseconds, so that they compare as text. */
  field_meta: Readonly<Record<string, string>>;
  client_id: string;
  change_id: string;
  schema_version: number;
  actor: Json | null;
  origin: string | null;
  created_at: string;
  /** The length of data, field_meta and actor as text. */
  bytes: number;
}

/** A change with how far whoever has it has read. */
export interface PlacedChange extends ChangeRow {
  place: Place;
}

/** Some changes in their order. */
export interface ChangePage {
  changes: PlacedChange[];
  place: Place;
  hasMore: boolean;
}

/** Which changes somebody asks for, of those that it may see. */
export interface ChangeFilter {
  appId: string;
  /** Null: all. */
  tables: readonly string[] | null;
  /** Leaves out what this client wrote itself. */
  excludeClientId: string | null;
}

/** What a client wants to push. */
export interface NewChange {
  changeId: string;
  table: string;
  recordId: string;
  op: SyncOp;
  data?: Json | null | undefined;
  fieldMeta?: Json | null | undefined;
  spaceId?: string | null | undefined;
  actor?: Json | null | undefined;
  origin?: string | null | undefined;
  schemaVersion?: number | null | undefined;
}

export interface Push {
  appId: string;
  clientId: string;
  schemaVersion?: number | null | undefined;
  changes: readonly NewChange[];
}

/** What became of a change that was pushed. */
export interface Receipt {
  change_id: string;
  position: number;
  /** It was stored before, under the same id. */
  duplicate: boolean;
}

export interface PlacedReceipt extends Receipt {
  place: Place;
}

/** Each change is held against each of them. */
export const mostTables = 100;

export const pullSizes = { usual: 500, most: 1_000 } as const;

/** How much of changes one page holds at most, in bytes; with its last one it may be more. */
export const pageBytes = 8_000_000;
