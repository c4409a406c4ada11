import type { FieldColumns } from '../../graphql/selection.ts';

/** A machine that has checkouts; `last_seen_at` is when it last reported. */
export interface HostRow {
  id: string;
  name: string;
  platform: string | null;
  labels: unknown;
  last_seen_at: string | null;
}

export const hostColumns = [
  'id',
  'name',
  'platform',
  'labels',
  'last_seen_at',
] as const satisfies readonly (keyof HostRow)[];

/** Which columns each field of `Host` reads, for queries that fetch only what is selected. */
export const hostFieldColumns = {
  always: ['id', 'last_seen_at'],
  byField: { name: ['name'], platform: ['platform'], labels: ['labels'] },
} as const satisfies FieldColumns<keyof HostRow>;
