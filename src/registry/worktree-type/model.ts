/** What a worktree is for. Built-in ones can be neither renamed nor deleted. */
export interface WorktreeTypeRow {
  id: number;
  name: string;
  branch_prefix: string;
  worktree_prefix: string;
  description: string | null;
  color: string;
  icon: string | null;
  is_builtin: boolean;
  metadata: unknown;
}

export const worktreeTypeColumns = [
  'id',
  'name',
  'branch_prefix',
  'worktree_prefix',
  'description',
  'color',
  'icon',
  'is_builtin',
  'metadata',
] as const satisfies readonly (keyof WorktreeTypeRow)[];
