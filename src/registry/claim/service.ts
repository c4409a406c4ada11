import { type RawBuilder, sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import { columns } from '../../db/json-rows.ts';
import { actingAgent } from '../agent.ts';
import { callRegistryOnce } from '../call.ts';
import { type WorktreeReference, type WorktreeRow, worktreeColumns } from '../worktree/model.ts';
import { resolvedWorktree } from '../worktree/service.ts';
import type { ClaimRow } from './model.ts';
import { claimSelect } from './store.ts';

/** Ids of what a claim is on come back with it, so that the payload's worktree is loaded only when it is selected. */
function answering(call: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`(select ${claimSelect('c')} from ${call} as c) as claim`;
}

export interface ClaimRequest {
  worktree: WorktreeReference;
  agentId: string;
  session?: string | null | undefined;
  ttlSeconds?: number | null | undefined;
  takeover?: boolean | null | undefined;
}

const defaultTtlSeconds = 300;

/** @throws Refusal CLAIMED with the holder and the expiry, unless it is taken over */
export function claimWorktree(context: RequestContext, request: ClaimRequest): Promise<ClaimRow> {
  return callRegistryOnce(
    context,
    answering(
      sql`registry.claim_worktree(${resolvedWorktree(request.worktree)}, ${actingAgent(context.viewer, request.agentId)},
        ${request.session ?? null}, make_interval(secs => ${request.ttlSeconds ?? defaultTtlSeconds}::int), ${request.takeover ?? false})`,
    ),
  );
}

/** @throws Refusal FENCED when the claim lapsed, was released or was taken over */
export function renewClaim(
  context: RequestContext,
  request: { worktree: WorktreeReference; fence: string; ttlSeconds?: number | null | undefined },
): Promise<ClaimRow> {
  return callRegistryOnce(
    context,
    answering(
      sql`registry.renew_claim(${resolvedWorktree(request.worktree)}, ${request.fence}::bigint,
        make_interval(secs => ${request.ttlSeconds ?? defaultTtlSeconds}::int))`,
    ),
  );
}

/** @throws Refusal FENCED unless the fence is the holder's */
export function releaseWorktree(
  context: RequestContext,
  request: { worktree: WorktreeReference; fence: string },
): Promise<WorktreeRow> {
  return callRegistryOnce(
    context,
    sql`(select ${columns('w', worktreeColumns)}
      from registry.release_worktree(${resolvedWorktree(request.worktree)}, ${request.fence}::bigint) as w) as worktree`,
  );
}
