import type { GraphQLObjectType } from 'graphql';
import { sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import { Principal, principalLoader } from '../../auth/principal/graphql.ts';
import type { Page } from '../../db/keyset.ts';
import { builder } from '../../graphql/builder.ts';
import { readPage, toConnection } from '../../graphql/connection.ts';
import { byKey, groupedBy, loader } from '../../graphql/loaders.ts';
import { addMutation, toUserError } from '../../graphql/payload.ts';
import { type Selected, selectedColumns } from '../../graphql/selection.ts';
import { Project, ProjectRefInput } from '../project/graphql.ts';
import { addBringable } from '../worktree/brought.ts';
import { Worktree, worktreeLoader } from '../worktree/graphql.ts';
import type { WorktreeRow } from '../worktree/model.ts';
import { WorktreeRefInput } from '../worktree/queries.ts';
import { type ActivityFilter, type ActivityRow, activityFieldColumns } from './model.ts';
import { logActivities, type NewActivity } from './service.ts';
import {
  activityOrder,
  listActivities,
  listActivitiesById,
  listActivitiesOfProjects,
  listActivitiesOfWorktrees,
  listLastActivityTimes,
  newestActivitiesColumn,
} from './store.ts';

const ActivityType = builder.enumType('ActivityType', {
  description: 'What kind of thing an agent did.',
  values: {
    CREATED: { value: 'created', description: 'Made something.' },
    MODIFIED: { value: 'modified', description: 'Changed something.' },
    DELETED: { value: 'deleted', description: 'Removed something.' },
    COMMITTED: { value: 'committed', description: 'Committed.' },
    PUSHED: { value: 'pushed', description: 'Pushed.' },
    MERGED: { value: 'merged', description: 'Merged.' },
    SYNCED: { value: 'synced', description: 'Brought a worktree up to date.' },
    OTHER: { value: 'other', description: 'Anything else.' },
  } as const,
});

export const ActivityFilterInput = builder.inputRef<ActivityFilter>('ActivityFilter').implement({
  description: 'Which activities; all that is given must hold.',
  fields: (t) => ({
    agentId: t.string({ description: 'Of this agent.' }),
    type: t.field({ type: [ActivityType], description: 'One of these.' }),
    project: t.field({ type: ProjectRefInput, description: 'In any worktree of this project.' }),
    worktree: t.field({ type: WorktreeRefInput, description: 'In this worktree.' }),
    since: t.field({ type: 'DateTime', description: 'At this moment or after it.' }),
    until: t.field({ type: 'DateTime', description: 'Before this moment.' }),
    metadata: t.field({ type: 'JSON', description: 'Metadata contains this.' }),
  }),
});

function activityLoader(context: RequestContext) {
  return loader<ActivityRow | null>(
    context,
    'activity',
    async (ids) => byKey(await listActivitiesById(context.db, ids), (activity) => activity.id),
    null,
  );
}

export const Activity = builder.objectRef<ActivityRow>('Activity');

builder.node(Activity, {
  description: 'Something that an agent did in a worktree. Kept for the retention period, never changed.',
  id: { resolve: (activity) => activity.id },
  loadWithoutCache: (id, context) => activityLoader(context).load(id),
  isTypeOf: (value) => typeof value === 'object' && value !== null && 'activity_type' in value,
  fields: (t) => ({
    uuid: t.field({ type: 'UUID', description: 'The key of the row, as SQL users know it.', resolve: (a) => a.id }),
    agentId: t.exposeString('agent_id', { description: 'The agent that did it.' }),
    principal: t.field({
      type: Principal,
      nullable: true,
      description: 'Whose token logged it; null when it was logged in SQL.',
      resolve: (a, _args, context) => (a.principal_id === null ? null : principalLoader(context).load(a.principal_id)),
    }),
    type: t.field({ type: ActivityType, description: 'What kind of thing it was.', resolve: (a) => a.activity_type }),
    filePath: t.exposeString('file_path', { nullable: true, description: 'The file that it was about, if one.' }),
    description: t.exposeString('description', { description: 'What it was, in words.' }),
    metadata: t.field({ type: 'JSON', description: 'Anything else, an object.', resolve: (a) => a.metadata }),
    createdAt: t.field({ type: 'DateTime', description: 'When it was done.', resolve: (a) => a.created_at }),
    worktree: t.field({
      type: Worktree,
      description: 'Where it was done.',
      resolve: async (a, _args, context) => {
        const worktree = await worktreeLoader(context).load(a.worktree_id);
        if (worktree === null) throw new Error('a worktree is missing although a foreign key refers to it');
        return worktree;
      },
    }),
  }),
});

const ActivityConnection = builder.connectionObject(
  { type: Activity, name: 'ActivityConnection', description: 'One page of activities.' },
  { name: 'ActivityEdge', description: 'An activity with its cursor.' },
);

const filterArgument = 'Which ones; all when left out.';

builder.queryField('activities', (t) =>
  t.connection(
    {
      type: Activity,
      description: 'What agents did, the latest first. Scope registry:read.',
      args: { filter: t.arg({ type: ActivityFilterInput, description: filterArgument }) },
      resolve: async (_root, args, context) => {
        const page = readPage(args, activityOrder);
        return toConnection(await listActivities(context.db, args.filter ?? {}, page), page, activityOrder);
      },
    },
    ActivityConnection,
  ),
);

/** Activities that came along with their worktree, for exactly this page size and no filter; see `brought.ts`. */
type WithNewest = WorktreeRow & { newest_activities?: { limit: number; rows: ActivityRow[] } };

/** Brought along where every selection of `activities` wants the same number of the newest, unfiltered. */
addBringable({
  fields: ['activities'],
  column: (selected, type) => {
    const limits = new Set(selected.map((selection) => newestLimit(selection, type)));
    const [limit] = limits;
    if (limits.size !== 1 || limit === null || limit === undefined) return null;
    const names = selectedColumns(
      new Map(selected.flatMap((selection) => [...selection.belowNodes()])),
      activityFieldColumns,
    );
    // One more than asked for says whether there is a next page, if anybody wants to know.
    const count = selected.some((selection) => selection.below().has('pageInfo')) ? limit + 1 : limit;
    const rows = newestActivitiesColumn(names, count);
    return sql`json_build_object('limit', ${sql.lit(limit)}::int, 'rows', ${rows}) as newest_activities`;
  },
});

function newestLimit(selection: Selected, type: GraphQLObjectType): number | null {
  const { first, ...others } = selection.args(type) ?? { first: null, filter: 'unreadable' };
  const plain = Object.values(others).every((value) => value == null) && typeof first === 'number';
  return plain && first >= 1 && first <= 100 ? first : null;
}

function broughtAlong(worktree: WithNewest, page: Page, filter: ActivityFilter): ActivityRow[] | null {
  const newest = worktree.newest_activities;
  const same = newest?.limit === page.limit && page.after === null && page.before === null && !page.backwards;
  return same && Object.values(filter).every((value) => value == null) ? newest.rows : null;
}

builder.objectField(Worktree, 'activities', (t) =>
  t.connection(
    {
      type: Activity,
      description: 'What agents did in it, the latest first.',
      args: { filter: t.arg({ type: ActivityFilterInput, description: filterArgument }) },
      resolve: (worktree, args, context) => {
        const page = readPage(args, activityOrder);
        const filter = args.filter ?? {};
        const along = broughtAlong(worktree, page, filter);
        if (along !== null) return toConnection(along, page, activityOrder);
        return loader<ActivityRow[]>(
          context,
          `worktree.activities:${JSON.stringify([filter, page])}`,
          async (ids) =>
            groupedBy(
              await listActivitiesOfWorktrees(context.db, ids, filter, page),
              (activity) => activity.worktree_id,
            ),
          [],
        )
          .load(worktree.id)
          .then((rows) => toConnection(rows, page, activityOrder));
      },
    },
    ActivityConnection,
  ),
);

builder.objectField(Worktree, 'lastActivityAt', (t) =>
  t.field({
    type: 'DateTime',
    nullable: true,
    description: 'When an agent last did something in it.',
    resolve: (worktree, _args, context) =>
      loader<string | null>(
        context,
        'worktree.lastActivityAt',
        async (ids) =>
          new Map((await listLastActivityTimes(context.db, ids)).map((last) => [last.worktree_id, last.at])),
        null,
      ).load(worktree.id),
  }),
);

builder.objectField(Project, 'activities', (t) =>
  t.connection(
    {
      type: Activity,
      description: 'What agents did in its worktrees, the latest first.',
      args: { filter: t.arg({ type: ActivityFilterInput, description: filterArgument }) },
      resolve: async (project, args, context) => {
        const page = readPage(args, activityOrder);
        const filter = args.filter ?? {};
        const rows = await loader<ActivityRow[]>(
          context,
          `project.activities:${JSON.stringify([filter, page])}`,
          async (ids) =>
            groupedBy(await listActivitiesOfProjects(context.db, ids, filter, page), (activity) => activity.project_id),
          [],
        ).load(project.id);
        return toConnection(rows, page, activityOrder);
      },
    },
    ActivityConnection,
  ),
);

const ActivityInput = builder.inputRef<NewActivity>('ActivityInput').implement({
  description: 'Something that an agent did.',
  fields: (t) => ({
    agentId: t.string({ required: true, description: 'The agent; an agent may only name itself.' }),
    worktree: t.field({ type: WorktreeRefInput, required: true, description: 'Where.' }),
    type: t.field({ type: ActivityType, required: true, description: 'What kind of thing.' }),
    description: t.string({ required: true, description: 'What, in words; at most 20,000 bytes.' }),
    filePath: t.string({ description: 'The file that it was about, if one.' }),
    metadata: t.field({ type: 'JSON', description: 'Anything else, an object.' }),
    id: t.field({
      type: 'UUID',
      description: "The client's own id, with `createdAt`: sent again, it is not logged twice.",
    }),
    createdAt: t.field({
      type: 'DateTime',
      description: 'When it was done, with `id`: within the last 90 days, at most 5 minutes ahead. Else now.',
    }),
  }),
});

addMutation<{ activities: readonly NewActivity[] }, { activities: (ActivityRow | null)[] }>({
  name: 'logActivities',
  description:
    'Logs up to 500 activities at once. Each refused item has its own user error, with its index in the path. Scope registry:write.',
  input: builder.inputRef<{ activities: readonly NewActivity[] }>('LogActivitiesInput').implement({
    description: 'What agents did.',
    fields: (t) => ({ activities: t.field({ type: [ActivityInput], required: true, description: 'At most 500.' }) }),
  }),
  fields: (t) => ({
    activities: t.field({
      type: [Activity],
      nullable: { list: true, items: true },
      description: 'The activities in the order of the input, null where one was refused.',
      resolve: (outcome) => outcome.activities,
    }),
  }),
  resolve: async (input, context) => {
    const items = await logActivities(context, input.activities);
    return {
      activities: await Promise.all(items.map(({ id }) => (id === null ? null : activityLoader(context).load(id)))),
      userErrors: items.flatMap(({ refusal }) => (refusal === null ? [] : toUserError(refusal))),
    };
  },
});
