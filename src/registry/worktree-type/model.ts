import type { FieldColumns } from '../../graphql/selection.ts';

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

/** Which columns each field of `WorktreeType` reads, for queries that fetch only what is selected. */
export const worktreeTypeFieldColumns = {
  always: ['id'],
  byField: {
    name: ['name'],
    branchPrefix: ['branch_prefix'],
    worktreePrefix: ['worktree_prefix'],
    description: ['description'],
    color: ['color'],
    icon: ['icon'],
    isBuiltin: ['is_builtin'],
    metadata: ['metadata'],
  },
} as const satisfies FieldColumns<keyof WorktreeTypeRow>;
