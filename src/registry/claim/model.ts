/** A claim as it is stored: a lease on a worktree. `fence` is 64 bits, as text. */
export interface ClaimRow {
  worktree_id: string;
  agent_id: string;
  session: string | null;
  fence: string;
  acquired_at: string;
  renewed_at: string;
  expires_at: string;
}

/** Why a claim changed: what its events in the feed say. */
export type ClaimReason = 'acquired' | 'renewed' | 'taken_over' | 'released' | 'lapsed' | 'deleted';
