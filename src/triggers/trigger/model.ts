import type { Scope } from '../../auth/scopes.ts';
import type { Op } from '../../feed/event.ts';
import type { ProjectReference } from '../../registry/project/model.ts';
import type { SourceKind } from '../outbox/model.ts';
import type { Backoff, DispatchMode } from '../script/model.ts';

export type TriggerKind = 'kv' | 'dead_letter' | 'cron';
export type CatchUp = 'skip' | 'once' | 'all';

/** When a script runs by itself, with the details of its kind: those of the other kinds are null. */
export interface TriggerRow {
  id: string;
  /** Null: of the whole registry. */
  project_id: string | null;
  script_id: string;
  kind: TriggerKind;
  enabled: boolean;
  /** JSONata over the event. */
  condition: string | null;
  dispatch_mode: DispatchMode;
  retry_max_attempts: number;
  retry_backoff: Backoff;
  retry_base_ms: number;
  /** Whom its script runs as. */
  registered_by_principal: string;
  scopes: Scope[];
  created_at: string;
  updated_at: string;
  collection_glob: string | null;
  /** Empty: any. */
  ops: Op[] | null;
  source_filter: SourceKind | null;
  /** A trigger's or a route's. */
  trigger_id_filter: string | null;
  script_id_filter: string | null;
  expression: string | null;
  timezone: string | null;
  /** Null also: worked out by the next dispatcher, or never again. */
  next_due_at: string | null;
  catch_up: CatchUp | null;
}

export const triggerColumns = [
  'id',
  'project_id',
  'script_id',
  'kind',
  'enabled',
  'condition',
  'dispatch_mode',
  'retry_max_attempts',
  'retry_backoff',
  'retry_base_ms',
  'registered_by_principal',
  'scopes',
  'created_at',
  'updated_at',
] as const satisfies readonly (keyof TriggerRow)[];

export interface TriggerFilter {
  project?: ProjectReference | null | undefined;
  kind?: readonly TriggerKind[] | null | undefined;
  /** The script that it runs. */
  scriptId?: string | null | undefined;
}

/** What became of what a trigger set off, as far as the viewer may see it. */
export interface TriggerStatsRow {
  id: string;
  waiting: number;
  unresolved_dead_letters: number;
  running: number;
  succeeded: number;
  failed: number;
  timed_out: number;
  lost: number;
}

/** How many of the last executions of one trigger are counted: for a page of a hundred it has to stay below a second. */
export const mostCounted = 1_000;
