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
