import { builder } from '../graphql/builder.ts';
import { addSubscription, cursorDescription, type WithCursor } from '../graphql/live.ts';
import { RequestError } from '../kernel/errors.ts';
import { encodeId } from '../kernel/ids.ts';
import { ProjectRefInput } from '../registry/project/graphql.ts';
import { requireProjectId } from '../registry/project/service.ts';
import { belongsTo, type FeedEvent, isPublicTopic, type PublicTopic, publicTopics } from './event.ts';

/** The log itself, for programs that follow everything. */

export const ChangeOp = builder.enumType('ChangeOp', {
  description: 'What was done to a row.',
  values: {
    INSERT: { value: 'insert', description: 'It came.' },
    UPDATE: { value: 'update', description: 'It changed.' },
    DELETE: { value: 'delete', description: 'It went.' },
  } as const,
});

/** Whose id an event's `entityId` is; worktree types have numbers. */
const nodeOfTopic: Readonly<Record<PublicTopic, string | null>> = {
  projects: 'Project',
  worktrees: 'Worktree',
  claims: 'Worktree',
  activities: 'Activity',
  hosts: 'Host',
  worktree_types: null,
  mirror: 'Project',
};

type FeedEventShape = FeedEvent & WithCursor;

const FeedEventType = builder.objectRef<FeedEventShape>('FeedEvent').implement({
  description: 'One row of the log of changes.',
  fields: (t) => ({
    cursor: t.field({ type: 'Cursor', description: cursorDescription, resolve: (event) => event.cursor ?? '' }),
    topic: t.exposeString('topic', {
      description: `What kind of thing it is: ${publicTopics.map((topic) => `\`${topic}\``).join(', ')}.`,
    }),
    op: t.field({ type: ChangeOp, description: 'What was done to it.', resolve: (event) => event.op }),
    entityId: t.id({
      description:
        "The thing's `id`; of a claim, its worktree's; of what was mirrored, its project's; of a worktree type, its number.",
      resolve: (event) => {
        const typename = isPublicTopic(event.topic) ? nodeOfTopic[event.topic] : null;
        return typename === null ? event.entity_id : encodeId(typename, event.entity_id);
      },
    }),
    projectId: t.id({
      nullable: true,
      description: 'The project that it belongs to, if any.',
      resolve: (event) => (event.project_id === null ? null : encodeId('Project', event.project_id)),
    }),
    changed: t.stringList({
      description: 'The columns that an update changed, as SQL users know them.',
      resolve: (event) => [...event.changed],
    }),
    agentId: t.exposeString('agent_id', { nullable: true, description: 'The agent that it concerns, if any.' }),
    principalId: t.id({
      nullable: true,
      description: 'Who did it; null for what was done in SQL or by itself.',
      resolve: (event) => (event.principal_id === null ? null : encodeId('Principal', event.principal_id)),
    }),
    depth: t.exposeInt('depth', {
      description: 'How many scripts stand between this change and one that somebody made: 0 for people and agents.',
    }),
    at: t.field({
      type: 'DateTime',
      description: 'When it was written; it was committed after that.',
      resolve: (e) => e.at,
    }),
    data: t.field({ type: 'JSON', description: 'A few facts, as they were before and after.', resolve: (e) => e.data }),
  }),
});

addSubscription({
  name: 'events',
  description:
    'The log of changes itself, each event exactly once, for programs that follow everything. Events are never merged: a client that lags too far behind loses its stream with RESYNC_REQUIRED. Scope registry:read.',
  type: FeedEventType,
  args: (arg) => ({
    topics: arg.stringList({ description: 'Only these kinds of things; all when left out.' }),
    project: arg({ type: ProjectRefInput, description: 'Only what belongs to this project.' }),
  }),
  live: async (args, context) => {
    const topics = args.topics == null ? publicTopics : args.topics.map(requireTopic);
    const project = args.project == null ? null : await requireProjectId(context, args.project);
    return {
      topics,
      coalesce: false,
      open: async () => ({
        follow: async (events) =>
          events
            .filter((event) => project === null || belongsTo(event, project))
            .map((event) => ({ event, key: '', shape: event as FeedEventShape })),
      }),
    };
  },
});

function requireTopic(name: string): PublicTopic {
  if (isPublicTopic(name)) return name;
  throw new RequestError(
    'BAD_USER_INPUT',
    `Expected topics of ${publicTopics.join(', ')}, got ${JSON.stringify(name)}.`,
  );
}

builder.queryField('cursor', (t) =>
  t.field({
    type: 'Cursor',
    description:
      'Where the log of changes stands, taken before any other field of this query is read: query with it, then subscribe with `after`, and nothing is missed in between. Scope registry:read.',
    resolve: (_root, _args, context) => context.readFrom ?? context.feed.now(),
  }),
);
