import { sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import { columns } from '../../db/json-rows.ts';
import { callRegistry, callRegistryOnce } from '../call.ts';
import { worktreeColumns } from '../worktree/model.ts';
import type { PruneRow } from './model.ts';
import * as store from './store.ts';

/** @returns how many activities went */
export async function cleanupOldActivities(context: RequestContext, days: number): Promise<string> {
  const { deleted } = await callRegistryOnce<{ deleted: string }>(
    context,
    sql`registry.cleanup_old_activities(${days}) as deleted`,
  );
  return deleted;
}

export function pruneInactiveWorktrees(context: RequestContext, days: number, dryRun: boolean): Promise<PruneRow[]> {
  return callRegistry(
    context,
    sql`(select ${columns('w', worktreeColumns)}, p.spared_because
      from registry.prune_inactive_worktrees(${days}, ${dryRun}) as p cross join lateral (select (p.worktree).*) as w) as pruned`,
  );
}

export function vacuumRegistry(context: RequestContext): Promise<string[]> {
  return store.vacuumRegistry(context.database.ownerPool);
}

export async function registryHealth(context: RequestContext): Promise<unknown> {
  const { health } = await callRegistryOnce<{ health: unknown }>(context, sql`registry.health() as health`);
  return health;
}
