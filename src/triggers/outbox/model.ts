/** What set a script off. */
export const sourceKinds = ['kv', 'cron', 'http', 'invoke', 'dead_letter', 'replay'] as const;
export type SourceKind = (typeof sourceKinds)[number];

/** Something that waits to be run or is run just now. */
export interface OutboxRow {
  id: string;
  /** What a receiver knows the delivery by. */
  message_id: string;
  project_id: string | null;
  source_kind: SourceKind;
  /** The trigger's; of http, the route's; of replay, of either. */
  trigger_id: string | null;
  script_id: string;
  principal_id: string;
  /** What it handles. */
  dead_letter_id: string | null;
  attempt: number;
  failures: number;
  first_error: string | null;
  retry_max_attempts: number;
  due_at: string;
  claimed_by: string | null;
  claim_expires_at: string | null;
  depth: number;
  created_at: string;
  /** Read along where it is asked for: a moment later the row may be gone. */
  payload?: unknown;
  /** Of the payload, as text. */
  bytes?: number;
  /** False where there was no room for the payload. */
  fits?: boolean;
}

export const outboxColumns = [
  'id',
  'message_id',
  'project_id',
  'source_kind',
  'trigger_id',
  'script_id',
  'principal_id',
  'dead_letter_id',
  'attempt',
  'failures',
  'first_error',
  'retry_max_attempts',
  'due_at',
  'claimed_by',
  'claim_expires_at',
  'depth',
  'created_at',
] as const satisfies readonly (keyof OutboxRow)[];

/** How much the outbox holds, of what the viewer may see. */
export interface OutboxStatsRow {
  due: number;
  claimed: number;
  waiting: number;
  oldest_due_at: string | null;
  unresolved_dead_letters: number;
}
