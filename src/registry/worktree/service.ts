import { type RawBuilder, sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import { columns } from '../../db/json-rows.ts';
import { Refusal, type RefusalCode } from '../../kernel/errors.ts';
import type { Json } from '../../kernel/json.ts';
import { actingAgent } from '../agent.ts';
import { callRegistry, callRegistryOnce } from '../call.ts';
import { type ProjectReference, toProjectKey } from '../project/model.ts';
import type { ProjectRegistration } from '../project/service.ts';
import { type AgentState, toWorktreeKey, type WorktreeReference, type WorktreeRow, worktreeColumns } from './model.ts';

/** The reference resolved within the statement that uses it: no round trip of its own. Unknown: NOT_FOUND. */
export function resolvedWorktree(reference: WorktreeReference): RawBuilder<string> {
  return sql`registry.resolve_worktree(${JSON.stringify(toWorktreeKey(reference))}::jsonb)`;
}

function answering(call: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`(select ${columns('w', worktreeColumns)} from ${call} as w) as worktree`;
}

export interface WorktreeRegistration {
  project: ProjectReference;
  type: string;
  name: string;
  branchName: string;
  baseBranch?: string | null | undefined;
  path: string;
  host?: string | null | undefined;
  agentId?: string | null | undefined;
  metadata?: Json | undefined;
}

/** @returns the worktree's id, and whether it is new */
export function registerWorktree(
  context: RequestContext,
  input: WorktreeRegistration,
): Promise<{ id: string; created: boolean }> {
  const project = sql`registry.resolve_project(${JSON.stringify(toProjectKey(input.project))}::jsonb)`;
  return callRegistryOnce(
    context,
    sql`registry.upsert_worktree(${project}, ${input.type}, ${input.name}, ${input.branchName}, ${input.path},
      ${actingAgent(context.viewer, input.agentId)}, ${toJson(input.metadata)}::jsonb, ${input.host ?? null},
      ${input.baseBranch ?? null})`,
  );
}

export interface ChangedFileReport {
  path: string;
  previousPath?: string | null | undefined;
  change: string;
  additions?: number | null | undefined;
  deletions?: number | null | undefined;
  baseLines?: readonly { start: number; count: number }[] | null | undefined;
}

/** What git says of a worktree; whatever is left out keeps its stored value. */
export interface GitStateReport {
  hasUncommittedChanges?: boolean | null | undefined;
  uncommittedFilesCount?: number | null | undefined;
  aheadOfTrunk?: number | null | undefined;
  behindTrunk?: number | null | undefined;
  headCommit?: string | null | undefined;
  mergeBase?: string | null | undefined;
  lastCommitMessage?: string | null | undefined;
  lastCommitAt?: string | null | undefined;
  changedFiles?: readonly ChangedFileReport[] | null | undefined;
}

export interface WorktreeGitStateReport extends GitStateReport {
  worktree: WorktreeReference;
  branchName?: string | null | undefined;
  observedAt?: string | null | undefined;
  expectedHead?: string | null | undefined;
  fence?: string | null | undefined;
  agentState?: AgentState | null | undefined;
}

interface ReportOutcome {
  outcome: 'changed' | 'unchanged' | 'refused';
  code: RefusalCode | null;
  message: string | null;
  details: Record<string, unknown> | null;
}

/**
 * Stores one report: one statement, which also answers the row as it then stands.
 * @throws Refusal STALE_REPORT for a report that is older than what is stored, FENCED, HEAD_MOVED, INVALID, NOT_FOUND
 */
export async function updateWorktreeGitState(
  context: RequestContext,
  report: WorktreeGitStateReport,
): Promise<{ worktree: WorktreeRow; changed: boolean }> {
  const row = await callRegistryOnce<WorktreeRow & { report: ReportOutcome }>(
    context,
    sql`(select ${columns('w', worktreeColumns)}, json_build_object(
        'outcome', r.outcome, 'code', r.code, 'message', r.message, 'details', r.details) as report
      from registry.update_worktree_git_state(${resolvedWorktree(report.worktree)}, ${report.hasUncommittedChanges ?? null},
        ${report.uncommittedFilesCount ?? null}, ${report.aheadOfTrunk ?? null}, ${report.behindTrunk ?? null},
        ${report.headCommit ?? null}, ${report.lastCommitMessage ?? null}, ${report.observedAt ?? null}::timestamptz,
        ${report.lastCommitAt ?? null}::timestamptz, ${report.branchName ?? null}, ${report.expectedHead ?? null},
        ${report.fence ?? null}::bigint, ${report.agentState ?? null}, ${toJson(report.changedFiles)}::jsonb,
        ${report.mergeBase ?? null}) as r
      cross join lateral (select (r.worktree).*) as w) as reported`,
  );
  const { report: result, ...worktree } = row;
  if (result.outcome === 'refused') throw toRefusal(result, ['input', 'observedAt']);
  return { worktree, changed: result.outcome === 'changed' };
}

export interface RepositoryReport {
  host: string;
  project: ProjectRegistration;
  repositoryPath: string;
  observedAt: string;
  worktrees: readonly {
    type?: string | null | undefined;
    name: string;
    branchName: string;
    baseBranch?: string | null | undefined;
    path: string;
    agentId?: string | null | undefined;
    state: GitStateReport;
    observedAt?: string | null | undefined;
    fence?: string | null | undefined;
  }[];
  complete: boolean;
}

export const mostWorktreesPerReport = 1000;

/**
 * Stores all worktrees of one repository on one host, in one statement.
 * @returns the project, and per item the worktree's id (null where refused) with the refusal
 */
export async function reportWorktrees(
  context: RequestContext,
  report: RepositoryReport,
): Promise<{ projectId: string; items: { worktreeId: string | null; refusal: Refusal | null }[] }> {
  if (report.worktrees.length > mostWorktreesPerReport) {
    throw new Refusal(
      'PAYLOAD_TOO_LARGE',
      `Expected at most ${mostWorktreesPerReport} worktrees at once, got ${report.worktrees.length}.`,
      { path: ['input', 'worktrees'], details: { limit: mostWorktreesPerReport } },
    );
  }
  const worktrees = report.worktrees.map((item) => ({ ...item, agentId: actingAgent(context.viewer, item.agentId) }));
  const rows = await callRegistry<
    ReportOutcome & { index: number | null; project_id: string; worktree_id: string | null }
  >(
    context,
    sql`registry.report_worktrees(${report.host}, ${JSON.stringify(report.project)}::jsonb, ${report.repositoryPath},
      ${report.observedAt}::timestamptz, ${JSON.stringify(worktrees)}::jsonb, ${report.complete})`,
  );
  return {
    projectId: rows[0]?.project_id ?? '',
    items: rows
      .filter((row) => row.index !== null)
      .map((row) => ({
        worktreeId: row.outcome === 'refused' ? null : row.worktree_id,
        refusal: row.outcome === 'refused' ? toRefusal(row, ['input', 'worktrees', String(row.index)]) : null,
      })),
  };
}

function toRefusal({ code, message, details }: ReportOutcome, path: readonly string[]): Refusal {
  return new Refusal(code ?? 'INVALID', message ?? 'The report was refused.', { path, details: details ?? undefined });
}

export function updateWorktree(
  context: RequestContext,
  input: { worktree: WorktreeReference; fence?: string | null | undefined; patch: Readonly<Record<string, unknown>> },
): Promise<WorktreeRow> {
  const { patch } = input;
  if (typeof patch.agent_id === 'string') actingAgent(context.viewer, patch.agent_id);
  return callRegistryOnce(
    context,
    answering(
      sql`registry.update_worktree(${resolvedWorktree(input.worktree)}, ${JSON.stringify(patch)}::jsonb, ${input.fence ?? null}::bigint)`,
    ),
  );
}

export function deactivateWorktree(
  context: RequestContext,
  reference: WorktreeReference,
  force: boolean,
): Promise<WorktreeRow> {
  return callRegistryOnce(
    context,
    answering(sql`registry.deactivate_worktree(${resolvedWorktree(reference)}, ${force})`),
  );
}

export function setAgentState(
  context: RequestContext,
  input: {
    worktree: WorktreeReference;
    state: AgentState;
    agentId?: string | null | undefined;
    fence?: string | null | undefined;
  },
): Promise<WorktreeRow> {
  const agent = actingAgent(context.viewer, input.agentId);
  return callRegistryOnce(
    context,
    answering(
      sql`registry.set_agent_state(${resolvedWorktree(input.worktree)}, ${input.state}, ${agent}, ${input.fence ?? null}::bigint)`,
    ),
  );
}

export function markWorktreeMerged(
  context: RequestContext,
  input: { worktree: WorktreeReference; mergedBy?: string | null | undefined; mergeCommit?: string | null | undefined },
): Promise<WorktreeRow> {
  return callRegistryOnce(
    context,
    answering(
      sql`registry.mark_worktree_merged(${resolvedWorktree(input.worktree)}, ${input.mergedBy ?? null}, ${input.mergeCommit ?? null})`,
    ),
  );
}

function toJson(value: unknown): string | null {
  return value === undefined || value === null ? null : JSON.stringify(value);
}
