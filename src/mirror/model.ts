import type { Order } from '../db/keyset.ts';
import type { PageSizes } from '../graphql/connection.ts';
import type { RefusalCode } from '../kernel/errors.ts';

/** Which side is made to follow the other. */
export type Direction = 'to_mai' | 'from_mai';

/** One place where the two sides do not say the same. */
export interface DriftRow {
  /** Null for a row that is no project here. */
  project_id: string | null;
  /** Null for a project that never had a row. */
  mai_id: string | null;
  field: string;
  ours: unknown;
  theirs: unknown;
}

/** Something that an operator has to grant or mend, and the statement that does. */
export interface MirrorProblem {
  problem: string;
  statement: string;
}

export interface MirrorStatusRow {
  attached: boolean;
  project_count: number;
  /** Null where the other side cannot be read. */
  row_count: number | null;
  unclassified_count: number;
  problems: MirrorProblem[];
}

/** What one batch of reconciling did. */
export interface Batch {
  examined_count: number;
  changed_count: number;
  /** Where it ended; null when there was nothing to look at. */
  last_key: string | null;
  has_more: boolean;
  /** By slug towards mai, by the row's id from it; a code only where a rule of ours refused. */
  refused: { name: string; message: string; code: RefusalCode | null }[];
}

export const driftSizes: PageSizes = { usual: 100, most: 1_000 };

/** How many a batch looks at, in a transaction of its own: long enough to pay, short enough for others to wait. */
export const batchSize = 500;

/** How many refusals of one reconciling are told; the others are counted. */
export const mostRefusals = 100;

/** A place in a reconciling, as a cursor: projects by their id, rows over there by theirs. */
export const placeOrders: Readonly<Record<Direction, Order>> = {
  to_mai: { tag: 'mirror.to_mai', descending: false, keys: [{ column: 'last_key', type: 'uuid' }] },
  from_mai: { tag: 'mirror.from_mai', descending: false, keys: [{ column: 'last_key', type: 'text' }] },
};

/** What the database calls them, as the API does. */
const fieldNames: Readonly<Record<string, string>> = {
  remote_origin: 'remoteOrigin',
  trunk_path: 'trunkPath',
  memory_group: 'memoryGroup',
  mai_id: 'maiId',
};

export function fieldName(column: string): string {
  return fieldNames[column] ?? column;
}
