import type { ProjectReference } from '../../registry/project/model.ts';
import type { SourceKind } from '../outbox/model.ts';

export type Resolution = 'replayed' | 'ignored' | 'handled_by_script' | 'handler_failed';

/** What was to be delivered and could not be. Its payload is read by itself: see `loadHeavyColumn`. */
export interface DeadLetterRow {
  id: string;
  /** What a receiver knows the delivery by. */
  message_id: string;
  project_id: string | null;
  source_kind: SourceKind;
  /** The trigger's; of http, the route's; of replay, of either. */
  trigger_id: string | null;
  script_id: string | null;
  principal_id: string;
  attempts: number;
  first_error: string;
  last_error: string;
  depth: number;
  created_at: string;
  /** Null: it waits for somebody to see to it. */
  resolved_at: string | null;
  resolution: Resolution | null;
}

export const deadLetterColumns = [
  'id',
  'message_id',
  'project_id',
  'source_kind',
  'trigger_id',
  'script_id',
  'principal_id',
  'attempts',
  'first_error',
  'last_error',
  'depth',
  'created_at',
  'resolved_at',
  'resolution',
] as const satisfies readonly (keyof DeadLetterRow)[];

export interface DeadLetterFilter {
  /** Null: both. */
  unresolved?: boolean | null | undefined;
  source?: readonly SourceKind[] | null | undefined;
  /** An id of a trigger or a route. */
  trigger?: string | null | undefined;
  script?: string | null | undefined;
  project?: ProjectReference | null | undefined;
  since?: string | null | undefined;
}

/** How many are resolved in one go: they are locked until all of them are. */
export const mostResolved = 1_000;
