import type { Replies } from './dispatcher/replies.ts';
import type { Checks } from './expression/checks.ts';

/** What a trigger or route gets that says nothing about retries; written into its row. */
export interface RetrySettings {
  maxAttempts: number;
  backoff: 'exponential' | 'linear' | 'constant';
  /** Milliseconds. */
  baseMs: number;
}

/** What the use cases of triggers need of the gateway that they run in. */
export interface TriggersContext {
  retryDefaults: RetrySettings;
  /** How many scripts may set off one another. */
  maxDepth: number;
  /** Why a document cannot be a script's; null: it can. */
  checkDocument(document: string): string | null;
  /** What is wrong with templates and conditions. */
  checks: Checks;
  /** Who waits in this gateway for a script's result. */
  replies: Replies;
}

declare module '../auth/context.ts' {
  interface RequestContext {
    triggers: TriggersContext;
  }
}
