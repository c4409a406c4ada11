import type { WorktreeRow } from '../worktree/model.ts';

/** Counts of everything; 64-bit ones as text. */
export interface RegistryStatsRow {
  total_projects: number;
  active_projects: number;
  total_worktrees: number;
  active_worktrees: number;
  in_flight_worktrees: number;
  total_activities: string;
  activities_last_24h: string;
  schema_version: string;
}

/** An inactive worktree that pruning looked at, and why it was spared; null: it goes. */
export interface PruneRow extends WorktreeRow {
  spared_because: string | null;
}
