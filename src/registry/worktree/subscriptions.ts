import type { RequestContext } from '../../auth/context.ts';
import type { FeedEvent } from '../../feed/hub.ts';
import { builder } from '../../graphql/builder.ts';
import { forgetLoaded } from '../../graphql/loaders.ts';
import { encodeId } from '../../kernel/ids.ts';
import { ProjectRefInput } from '../project/graphql.ts';
import type { ProjectReference } from '../project/model.ts';
import { findProjectId } from '../project/service.ts';
import { Worktree } from './graphql.ts';
import type { WorktreeReference, WorktreeRow } from './model.ts';
import { WorktreeRefInput } from './queries.ts';
import { findWorktree, listWorktreesById } from './store.ts';

const changes = { insert: 'created', update: 'updated', delete: 'deleted' } as const;
type Change = (typeof changes)[keyof typeof changes];

const ChangeEnum = builder.enumType('Change', {
  description: 'What happened to a thing.',
  values: {
    CREATED: { value: 'created', description: 'It came.' },
    UPDATED: { value: 'updated', description: 'It changed.' },
    DELETED: { value: 'deleted', description: 'It went.' },
  } as const,
});

interface WorktreeUpdateShape {
  change: Change;
  id: string;
  worktree: WorktreeRow | null;
}

const WorktreeUpdate = builder.objectRef<WorktreeUpdateShape>('WorktreeUpdate').implement({
  description: 'A worktree that changed.',
  fields: (t) => ({
    change: t.field({ type: ChangeEnum, description: 'What happened.', resolve: (update) => update.change }),
    worktreeId: t.id({ description: 'Which worktree.', resolve: (update) => encodeId('Worktree', update.id) }),
    worktree: t.field({
      type: Worktree,
      nullable: true,
      description: 'The worktree as it stands when this is sent; null once it is deleted.',
      resolve: (update) => update.worktree,
    }),
  }),
});

interface Wanted {
  worktreeId: string | null;
  projectId: string | null;
  agentId: string | null;
}

builder.subscriptionField('worktreeChanged', (t) =>
  t.field({
    type: WorktreeUpdate,
    description:
      'Worktrees as they change, live. Without arguments all of them; a change that is missed while disconnected is not sent again, so query first after a reconnect. Scope registry:read.',
    args: {
      worktree: t.arg({ type: WorktreeRefInput, description: 'Only this worktree.' }),
      project: t.arg({ type: ProjectRefInput, description: 'Only worktrees of this project.' }),
      agentId: t.arg.string({ description: 'Only while this agent works in it.' }),
    },
    subscribe: async (_root, args, context) => {
      // Subscribed before the references are looked up: a change in between is not lost.
      const events = context.feed.subscribe('worktrees');
      const wanted = await readWanted(args, context).catch(async (error) => {
        await events.return();
        throw error;
      });
      return updates(events, wanted, context);
    },
    resolve: (update) => update,
  }),
);

async function readWanted(
  args: {
    worktree?: WorktreeReference | null | undefined;
    project?: ProjectReference | null | undefined;
    agentId?: string | null | undefined;
  },
  context: RequestContext,
): Promise<Wanted> {
  const [worktree, projectId] = await Promise.all([
    args.worktree == null ? null : findWorktree(context.db, args.worktree),
    args.project == null ? null : findProjectId(context, args.project),
  ]);
  const unknown = '00000000-0000-0000-0000-000000000000';
  return {
    worktreeId: args.worktree == null ? null : (worktree?.id ?? unknown),
    projectId: args.project == null ? null : (projectId ?? unknown),
    agentId: args.agentId ?? null,
  };
}

async function* updates(
  events: AsyncIterable<FeedEvent>,
  wanted: Wanted,
  context: RequestContext,
): AsyncGenerator<WorktreeUpdateShape> {
  for await (const event of events) {
    if (wanted.worktreeId !== null && wanted.worktreeId !== event.id) continue;
    const worktree = event.op === 'delete' ? null : await currentRow(event, context);
    if (!matches(worktree, wanted)) continue;
    forgetLoaded(context);
    yield { change: changes[event.op], id: event.id, worktree };
  }
}

/** Of what is gone, only the id is known: it goes to those who watch that worktree, or everything. */
function matches(worktree: WorktreeRow | null, wanted: Wanted): boolean {
  if (worktree === null) return wanted.worktreeId !== null || (wanted.projectId === null && wanted.agentId === null);
  return (
    (wanted.projectId === null || wanted.projectId === worktree.project_id) &&
    (wanted.agentId === null || wanted.agentId === worktree.agent_id)
  );
}

const rowsOfEvents = new WeakMap<FeedEvent, Promise<WorktreeRow | null>>();

/** One query per event, however many watch: the hub hands the same event to all. */
function currentRow(event: FeedEvent, context: RequestContext): Promise<WorktreeRow | null> {
  let row = rowsOfEvents.get(event);
  if (row === undefined) {
    row = listWorktreesById(context.db, [event.id]).then(([worktree]) => worktree ?? null);
    rowsOfEvents.set(event, row);
  }
  return row;
}
