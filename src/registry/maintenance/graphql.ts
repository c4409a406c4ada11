import { builder } from '../../graphql/builder.ts';
import { addMutation } from '../../graphql/payload.ts';
import { Worktree } from '../worktree/graphql.ts';
import type { WorktreeRow } from '../worktree/model.ts';
import type { PruneRow, RegistryStatsRow } from './model.ts';
import { cleanupOldActivities, pruneInactiveWorktrees, registryHealth, vacuumRegistry } from './service.ts';
import { getRegistryStats } from './store.ts';

const RegistryStats = builder.objectRef<RegistryStatsRow>('RegistryStats').implement({
  description: 'Counts of everything in the registry.',
  fields: (t) => ({
    totalProjects: t.exposeInt('total_projects', { description: 'All projects.' }),
    activeProjects: t.exposeInt('active_projects', { description: 'Projects that are not deactivated.' }),
    totalWorktrees: t.exposeInt('total_worktrees', { description: 'All worktrees.' }),
    activeWorktrees: t.exposeInt('active_worktrees', { description: 'Worktrees that are there.' }),
    inFlightWorktrees: t.exposeInt('in_flight_worktrees', { description: 'Worktrees with work in flight.' }),
    totalActivities: t.field({
      type: 'BigInt',
      description: 'Activities retained.',
      resolve: (s) => s.total_activities,
    }),
    activitiesLast24h: t.field({
      type: 'BigInt',
      description: 'Activities of the last 24 hours.',
      resolve: (s) => s.activities_last_24h,
    }),
    schemaVersion: t.exposeString('schema_version', { description: "The version of the registry's schema." }),
  }),
});

builder.queryFields((t) => ({
  registryStats: t.field({
    type: RegistryStats,
    description: 'Counts of everything. Scope registry:read.',
    resolve: (_root, _args, context) => getRegistryStats(context.db),
  }),
  registryHealth: t.field({
    type: 'JSON',
    description:
      'What an operator asks first: version, sizes, dead rows, unused indexes, slowest statements, oldest transaction. Scope maintenance.',
    resolve: (_root, _args, context) => registryHealth(context),
  }),
}));

addMutation<{ days: number }, { deletedCount: string }>({
  name: 'cleanupOldActivities',
  description: 'Deletes activities that are older than so many days, for good. Scope maintenance.',
  input: builder.inputRef<{ days: number }>('CleanupOldActivitiesInput').implement({
    description: 'How much to keep.',
    fields: (t) => ({ days: t.int({ required: true, defaultValue: 90, description: 'At least 1.' }) }),
  }),
  fields: (t) => ({
    deletedCount: t.field({
      type: 'BigInt',
      nullable: true,
      description: 'How many went.',
      resolve: (outcome) => outcome.deletedCount,
    }),
  }),
  resolve: async (input, context) => ({ deletedCount: await cleanupOldActivities(context, input.days) }),
});

const SparedWorktree = builder.objectRef<PruneRow>('SparedWorktree').implement({
  description: 'A worktree that pruning left alone.',
  fields: (t) => ({
    worktree: t.field({ type: Worktree, description: 'The worktree.', resolve: (row) => row }),
    reason: t.string({ description: 'Why.', resolve: (row) => row.spared_because ?? '' }),
  }),
});

addMutation<{ days: number; dryRun: boolean }, { pruned: WorktreeRow[]; spared: PruneRow[] }>({
  name: 'pruneInactiveWorktrees',
  description:
    'Deletes worktrees that have been inactive for so many days; never one with uncommitted or unmerged work or with retained activities. Scope maintenance.',
  input: builder.inputRef<{ days: number; dryRun: boolean }>('PruneInactiveWorktreesInput').implement({
    description: 'What to prune.',
    fields: (t) => ({
      days: t.int({ required: true, defaultValue: 30, description: '0 or more.' }),
      dryRun: t.boolean({ required: true, defaultValue: false, description: 'Only say what would go.' }),
    }),
  }),
  fields: (t) => ({
    pruned: t.field({
      type: [Worktree],
      nullable: true,
      description: 'What went, or would go.',
      resolve: (outcome) => outcome.pruned,
    }),
    spared: t.field({
      type: [SparedWorktree],
      nullable: true,
      description: 'What was inactive long enough and stays all the same.',
      resolve: (outcome) => outcome.spared,
    }),
  }),
  resolve: async (input, context) => {
    const rows = await pruneInactiveWorktrees(context, input.days, input.dryRun);
    return {
      pruned: rows.filter((row) => row.spared_because === null),
      spared: rows.filter((row) => row.spared_because !== null),
    };
  },
});

addMutation<void, { statements: string[] }>({
  name: 'vacuumRegistry',
  description: "Vacuums and analyses the registry's tables. Scope maintenance.",
  fields: (t) => ({
    statements: t.stringList({
      nullable: true,
      description: 'What was run.',
      resolve: (outcome) => outcome.statements ?? null,
    }),
  }),
  resolve: async (_input, context) => ({ statements: await vacuumRegistry(context) }),
});
