import type { GraphQLResolveInfo } from 'graphql';
import type { RequestContext } from '../../auth/context.ts';
import { builder } from '../../graphql/builder.ts';
import { type PageArguments, readPage, toConnection } from '../../graphql/connection.ts';
import { byKey, groupedBy, loader } from '../../graphql/loaders.ts';
import { Host } from '../host/graphql.ts';
import { Project, ProjectRefInput } from '../project/graphql.ts';
import { wantedOnNodes, wantedOnOne } from './brought.ts';
import { AgentState, Worktree, WorktreeConnection, WorktreeStatus } from './graphql.ts';
import type { WorktreeFilter, WorktreeOrderName, WorktreeReference, WorktreeRow } from './model.ts';
import {
  findWorktree,
  listProjectStats,
  listWorktrees,
  listWorktreesOf,
  type ProjectStatsRow,
  worktreeOrders,
} from './store.ts';

const WorktreePathInput = builder.inputType('WorktreePath', {
  description: 'A worktree by where it lies; only an active one has its path to itself.',
  fields: (t) => ({
    host: t.string({ required: true, defaultValue: 'local', description: 'The host, by name.' }),
    path: t.string({ required: true, description: 'The directory on that host.' }),
  }),
});

const WorktreeNameInput = builder.inputType('WorktreeName', {
  description: 'A worktree by its name in a project on a host.',
  fields: (t) => ({
    project: t.field({ type: ProjectRefInput, required: true, description: 'The project.' }),
    name: t.string({ required: true, description: "The worktree's name." }),
    host: t.string({ required: true, defaultValue: 'local', description: 'The host, by name.' }),
  }),
});

const WorktreeBranchInput = builder.inputType('WorktreeBranch', {
  description:
    'A worktree by the branch that it is on: what a forge knows of it. An active one, or else the last that merged; refused with CONFLICT where several are active.',
  fields: (t) => ({
    project: t.field({ type: ProjectRefInput, required: true, description: 'The project.' }),
    branchName: t.string({ required: true, description: 'The branch, without `refs/heads/`.' }),
    host: t.string({ description: 'The host, by name; any when left out.' }),
  }),
});

export const WorktreeRefInput = builder.inputRef<WorktreeReference>('WorktreeRef').implement({
  description: 'How a worktree is named: exactly one of these.',
  isOneOf: true,
  fields: (t) => ({
    id: t.id({ description: 'Its `id`, or the bare UUID.' }),
    path: t.field({ type: WorktreePathInput, description: 'Its host and directory.' }),
    name: t.field({ type: WorktreeNameInput, description: 'Its project, host and name.' }),
    branch: t.field({ type: WorktreeBranchInput, description: 'Its project and branch.' }),
  }),
});

export const WorktreeFilterInput = builder.inputRef<WorktreeFilter>('WorktreeFilter').implement({
  description: 'Which worktrees; all that is given must hold.',
  fields: (t) => ({
    active: t.boolean({ description: 'Active or not.' }),
    inFlight: t.boolean({ description: 'In flight or not.' }),
    status: t.field({ type: [WorktreeStatus], description: 'One of these.' }),
    agentId: t.string({ description: 'This agent works in it.' }),
    agentState: t.field({ type: [AgentState], description: 'Its agent is doing one of these.' }),
    host: t.string({ description: 'On this host, by name.' }),
    type: t.string({ description: 'Of this type, by name.' }),
    project: t.field({ type: ProjectRefInput, description: 'Of this project.' }),
    claimed: t.boolean({ description: 'Somebody holds a claim that has not lapsed, or nobody does.' }),
    staleForMinutes: t.int({ description: 'No report for so many minutes, or none ever.' }),
    metadata: t.field({ type: 'JSON', description: 'Metadata contains this.' }),
  }),
});

const WorktreeOrder = builder.enumType('WorktreeOrder', {
  description: 'In which order worktrees are listed.',
  values: {
    UPDATED_DESC: { value: 'updatedDesc', description: 'The latest change first.' },
    CREATED_DESC: { value: 'createdDesc', description: 'The newest first.' },
    NAME_ASC: { value: 'nameAsc', description: 'By name.' },
    BEHIND_DESC: { value: 'behindDesc', description: 'The furthest behind first.' },
  } as const,
});

interface ListArguments extends PageArguments {
  filter?: WorktreeFilter | null | undefined;
  orderBy?: WorktreeOrderName | null | undefined;
}

async function worktreePage(
  args: ListArguments,
  context: RequestContext,
  info: GraphQLResolveInfo,
  always: WorktreeFilter = {},
) {
  const order = worktreeOrders[args.orderBy ?? 'updatedDesc'];
  const page = readPage(args, order);
  const filter = { ...args.filter, ...always };
  return toConnection(
    await listWorktrees(context.db, { filter, order, page, selection: wantedOnNodes(info, order) }),
    page,
    order,
  );
}

builder.queryFields((t) => ({
  worktree: t.field({
    type: Worktree,
    nullable: true,
    description: 'One worktree, by id, path or name. Scope registry:read.',
    args: { by: t.arg({ type: WorktreeRefInput, required: true, description: 'Which one.' }) },
    resolve: (_root, args, context, info) => findWorktree(context.db, args.by, wantedOnOne(info)),
  }),
  worktrees: t.connection(
    {
      type: Worktree,
      description: 'Worktrees of the whole fleet. Scope registry:read.',
      args: {
        filter: t.arg({ type: WorktreeFilterInput, description: 'Which ones; all when left out.' }),
        orderBy: t.arg({ type: WorktreeOrder, defaultValue: 'updatedDesc', description: 'In which order.' }),
      },
      resolve: (_root, args, context, info) => worktreePage(args, context, info),
    },
    WorktreeConnection,
  ),
  inFlightWork: t.connection(
    {
      type: Worktree,
      description: 'The work of the whole fleet that is uncommitted or not merged yet. Scope registry:read.',
      args: {
        filter: t.arg({ type: WorktreeFilterInput, description: 'Which of it; all when left out.' }),
        orderBy: t.arg({ type: WorktreeOrder, defaultValue: 'updatedDesc', description: 'In which order.' }),
      },
      resolve: (_root, args, context, info) => worktreePage(args, context, info, { inFlight: true }),
    },
    WorktreeConnection,
  ),
}));

/** One page for each parent, all in one statement: the loader's name holds everything that decides what is fetched. */
async function worktreePageOf(
  parent: { column: 'project_id' | 'host_id'; id: string },
  args: ListArguments,
  context: RequestContext,
  info: GraphQLResolveInfo,
) {
  const order = worktreeOrders.updatedDesc;
  const page = readPage(args, order);
  const listing = { filter: args.filter ?? {}, order, page, selection: wantedOnNodes(info, order) };
  const selection = info.fieldNodes.map((node) => node.loc?.start).join();
  const rows = await loader<WorktreeRow[]>(
    context,
    `${parent.column}.worktrees:${selection}:${JSON.stringify([listing.filter, page])}`,
    async (ids) =>
      groupedBy(await listWorktreesOf(context.db, { column: parent.column, ids }, listing), (w) => w[parent.column]),
    [],
  ).load(parent.id);
  return toConnection(rows, page, order);
}

builder.objectField(Project, 'worktrees', (t) =>
  t.connection(
    {
      type: Worktree,
      description: 'Its worktrees on all hosts, the latest change first.',
      args: { filter: t.arg({ type: WorktreeFilterInput, description: 'Which ones; all when left out.' }) },
      resolve: (project, args, context, info) =>
        worktreePageOf({ column: 'project_id', id: project.id }, args, context, info),
    },
    WorktreeConnection,
  ),
);

builder.objectField(Host, 'worktrees', (t) =>
  t.connection(
    {
      type: Worktree,
      description: 'The worktrees on it, the latest change first.',
      args: { filter: t.arg({ type: WorktreeFilterInput, description: 'Which ones; all when left out.' }) },
      resolve: (host, args, context, info) => worktreePageOf({ column: 'host_id', id: host.id }, args, context, info),
    },
    WorktreeConnection,
  ),
);

const noWorktrees: Omit<ProjectStatsRow, 'project_id'> = {
  active_worktrees: 0,
  in_flight_worktrees: 0,
  uncommitted_worktrees: 0,
  unmerged_worktrees: 0,
  last_worktree_activity_at: null,
};

const ProjectStats = builder.objectRef<Omit<ProjectStatsRow, 'project_id'>>('ProjectStats').implement({
  description: "Counts of a project's worktrees.",
  fields: (t) => ({
    activeWorktrees: t.exposeInt('active_worktrees', { description: 'How many are active.' }),
    inFlightWorktrees: t.exposeInt('in_flight_worktrees', { description: 'How many are in flight.' }),
    uncommittedWorktrees: t.exposeInt('uncommitted_worktrees', {
      description: 'How many active ones have uncommitted files.',
    }),
    unmergedWorktrees: t.exposeInt('unmerged_worktrees', {
      description: 'How many active ones are ahead of their base.',
    }),
    lastWorktreeActivityAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When any of them last changed; null when there is none.',
      resolve: (stats) => stats.last_worktree_activity_at,
    }),
  }),
});

builder.objectField(Project, 'stats', (t) =>
  t.field({
    type: ProjectStats,
    description: 'Counts of its worktrees.',
    resolve: (project, _args, context) =>
      loader<Omit<ProjectStatsRow, 'project_id'>>(
        context,
        'project.stats',
        async (ids) => byKey(await listProjectStats(context.db, ids), (stats) => stats.project_id),
        noWorktrees,
      ).load(project.id),
  }),
);
