import type { FieldColumns } from '../../graphql/selection.ts';
import type { Json } from '../../kernel/json.ts';
import type { HostRow } from '../host/model.ts';
import { type ProjectReference, type ProjectRow, requireKey, toProjectKey } from '../project/model.ts';
import type { WorktreeTypeRow } from '../worktree-type/model.ts';

export const worktreeStatuses = ['clean', 'uncommitted', 'ahead', 'behind', 'diverged', 'merged', 'inactive'] as const;
export type WorktreeStatus = (typeof worktreeStatuses)[number];

export const agentStates = ['working', 'waiting', 'idle', 'unknown'] as const;
export type AgentState = (typeof agentStates)[number];

/** A worktree as it is stored; timestamps are RFC 3339 text. */
export interface WorktreeRow {
  id: string;
  project_id: string;
  host_id: string;
  type_id: number;
  name: string;
  branch_name: string;
  base_branch: string | null;
  path: string;
  repository_path: string | null;
  agent_id: string | null;
  agent_state: AgentState;
  agent_state_at: string | null;
  has_uncommitted_changes: boolean;
  uncommitted_files_count: number;
  ahead_of_trunk: number;
  behind_trunk: number;
  head_commit: string | null;
  merge_base: string | null;
  last_commit_message: string | null;
  last_commit_at: string | null;
  git_observed_at: string | null;
  last_sync_at: string | null;
  merged_at: string | null;
  merged_by: string | null;
  merge_commit: string | null;
  metadata: unknown;
  created_at: string;
  updated_at: string;
  active: boolean;
  in_flight: boolean;
  status: WorktreeStatus;
  /** Relations that came along in the same statement, because the query selects them; see `brought.ts`. */
  project?: ProjectRow;
  host?: HostRow;
  type?: WorktreeTypeRow;
}

export const worktreeColumns = [
  'id',
  'project_id',
  'host_id',
  'type_id',
  'name',
  'branch_name',
  'base_branch',
  'path',
  'repository_path',
  'agent_id',
  'agent_state',
  'agent_state_at',
  'has_uncommitted_changes',
  'uncommitted_files_count',
  'ahead_of_trunk',
  'behind_trunk',
  'head_commit',
  'merge_base',
  'last_commit_message',
  'last_commit_at',
  'git_observed_at',
  'last_sync_at',
  'merged_at',
  'merged_by',
  'merge_commit',
  'metadata',
  'created_at',
  'updated_at',
  'active',
  'in_flight',
  'status',
] as const satisfies readonly (keyof WorktreeRow)[];

/** How people and programs name a worktree: exactly one of these. */
export interface WorktreeReference {
  id?: string | null | undefined;
  path?: { host: string; path: string } | null | undefined;
  name?: { project: ProjectReference; name: string; host: string } | null | undefined;
  /** On any host, unless one is named. */
  branch?: { project: ProjectReference; branchName: string; host?: string | null | undefined } | null | undefined;
}

/**
 * The reference as the database's `find_worktree` takes it.
 * @throws Refusal NOT_FOUND when an id in it is none that this API gave out
 */
export function toWorktreeKey(reference: WorktreeReference): object {
  if (reference.id != null) return { id: requireKey('Worktree', 'worktree', reference.id) };
  if (reference.path != null) return { host: reference.path.host, path: reference.path.path };
  if (reference.branch != null) {
    const { project, branchName, host } = reference.branch;
    return { project: toProjectKey(project), branch: branchName, ...(host == null ? {} : { host }) };
  }
  const { name } = reference;
  return { project: toProjectKey(name?.project ?? {}), name: name?.name ?? '', host: name?.host ?? 'local' };
}

export const worktreeOrderNames = ['updatedDesc', 'createdDesc', 'nameAsc', 'behindDesc'] as const;
export type WorktreeOrderName = (typeof worktreeOrderNames)[number];

export interface WorktreeFilter {
  active?: boolean | null | undefined;
  inFlight?: boolean | null | undefined;
  status?: readonly WorktreeStatus[] | null | undefined;
  agentId?: string | null | undefined;
  agentState?: readonly AgentState[] | null | undefined;
  host?: string | null | undefined;
  type?: string | null | undefined;
  project?: ProjectReference | null | undefined;
  claimed?: boolean | null | undefined;
  staleForMinutes?: number | null | undefined;
  metadata?: Json | undefined;
}

type StoredColumn = (typeof worktreeColumns)[number];

/** Which columns each field of `Worktree` reads, for queries that fetch only what is selected. */
export const worktreeFieldColumns = {
  always: ['id', 'project_id', 'host_id', 'type_id'],
  byField: {
    name: ['name'],
    branchName: ['branch_name'],
    baseBranch: ['base_branch'],
    path: ['path'],
    repositoryPath: ['repository_path'],
    agentId: ['agent_id'],
    agentState: ['agent_state'],
    agentStateAt: ['agent_state_at'],
    status: ['status'],
    inFlight: ['in_flight'],
    active: ['active'],
    mergedAt: ['merged_at'],
    mergedBy: ['merged_by'],
    mergeCommit: ['merge_commit'],
    metadata: ['metadata'],
    createdAt: ['created_at'],
    updatedAt: ['updated_at'],
  },
} as const satisfies FieldColumns<StoredColumn>;

/** The same for `GitState`, which a worktree's row holds as well. */
export const gitStateFieldColumns = {
  always: [],
  byField: {
    hasUncommittedChanges: ['has_uncommitted_changes'],
    uncommittedFilesCount: ['uncommitted_files_count'],
    aheadOfTrunk: ['ahead_of_trunk'],
    behindTrunk: ['behind_trunk'],
    headCommit: ['head_commit'],
    mergeBase: ['merge_base'],
    lastCommitMessage: ['last_commit_message'],
    lastCommitAt: ['last_commit_at'],
    observedAt: ['git_observed_at'],
    lastSyncAt: ['last_sync_at'],
  },
} as const satisfies FieldColumns<StoredColumn>;

const fieldOfColumn: ReadonlyMap<string, string> = new Map([
  ['project_id', 'project'],
  ['host_id', 'host'],
  ['type_id', 'type'],
  ['changed_files', 'changedFiles'],
  ...Object.entries(worktreeFieldColumns.byField).flatMap(([field, columns]) =>
    columns.map((column): [string, string] => [column, field]),
  ),
  ...Object.entries(gitStateFieldColumns.byField).flatMap(([field, columns]) =>
    columns.map((column): [string, string] => [column, `gitState.${field}`]),
  ),
]);

/** The fields of `Worktree` that show these columns; a column that shows nowhere is left out. */
export function changedWorktreeFields(columns: readonly string[]): string[] {
  return columns.flatMap((column) => fieldOfColumn.get(column) ?? []);
}

/** @throws Refusal NOT_FOUND when an id is none that this API gave out */
export function requireKeyOfWorktree(id: string): string {
  return requireKey('Worktree', 'worktree', id);
}
