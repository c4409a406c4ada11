import type { Scope } from '../../auth/scopes.ts';

export type ScriptKind = 'operation' | 'webhook';

/** What is run. Its document and its template are read by themselves: see `loadHeavyColumn`; its secret and headers never. */
export interface ScriptRow {
  id: string;
  /** Null: of the whole registry. */
  project_id: string | null;
  name: string;
  kind: ScriptKind;
  /** Of a webhook. */
  url: string | null;
  timeout_ms: number;
  /** Whom it runs as. */
  created_by: string;
  scopes: Scope[];
  created_at: string;
  updated_at: string;
  /** It stays while something tells of it. */
  deleted_at: string | null;
}

export const scriptColumns = [
  'id',
  'project_id',
  'name',
  'kind',
  'url',
  'timeout_ms',
  'created_by',
  'scopes',
  'created_at',
  'updated_at',
  'deleted_at',
] as const satisfies readonly (keyof ScriptRow)[];

/** How things are dispatched: whether somebody waits for the result. */
export type DispatchMode = 'async' | 'sync';

export type Backoff = 'exponential' | 'linear' | 'constant';
