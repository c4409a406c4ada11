import type { SourceKind } from '../outbox/model.ts';

/** How an attempt ended, before anybody decided what follows from it. */
export type Outcome =
  | { status: 'succeeded'; result: unknown }
  | {
      status: 'failed';
      /** What went wrong, for whoever registered the script; never a secret. */
      error: string;
      result?: unknown;
      /** Trying again cannot help. */
      permanent: boolean;
      /** How long the other side wants to be left alone, in milliseconds; null: it did not say. */
      retryAfterMs: number | null;
    }
  | { status: 'timed_out'; error: string };

/** How an attempt stands. `lost`: its worker stopped answering while it was at it. */
export type ExecutionStatus = 'running' | 'succeeded' | 'failed' | 'timed_out' | 'lost';

/** One attempt. Its result is read by itself: see `loadHeavyColumn`. */
export interface ExecutionRow {
  id: string;
  project_id: string | null;
  source_kind: SourceKind;
  /** The trigger's; of http, the route's; of replay, of either. */
  trigger_id: string | null;
  script_id: string;
  principal_id: string;
  attempt: number;
  worker: string;
  status: ExecutionStatus;
  started_at: string;
  finished_at: string | null;
  error: string | null;
}

export const executionColumns = [
  'id',
  'project_id',
  'source_kind',
  'trigger_id',
  'script_id',
  'principal_id',
  'attempt',
  'worker',
  'status',
  'started_at',
  'finished_at',
  'error',
] as const satisfies readonly (keyof ExecutionRow)[];

/** Which executions; what is left out does not matter. */
export interface ExecutionFilter {
  /** A trigger's or a route's. */
  triggerId?: string | null | undefined;
  scriptId?: string | null | undefined;
}

/** A result that came when nobody was waiting any more. */
export interface AbandonedRow {
  id: string;
  reply_to: string;
  execution_id: string;
  script_id: string | null;
  error: string | null;
  created_at: string;
}

export const abandonedColumns = [
  'id',
  'reply_to',
  'execution_id',
  'script_id',
  'error',
  'created_at',
] as const satisfies readonly (keyof AbandonedRow)[];
