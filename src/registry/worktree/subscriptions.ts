import type { RequestContext } from '../../auth/context.ts';
import { belongsTo, type FeedEvent } from '../../feed/event.ts';
import { builder } from '../../graphql/builder.ts';
import { Change, changeOf } from '../../graphql/change.ts';
import { addSubscription, cursorDescription, type Follower, followRows, type WithCursor } from '../../graphql/live.ts';
import { RequestError } from '../../kernel/errors.ts';
import { encodeId } from '../../kernel/ids.ts';
import { ProjectRefInput } from '../project/graphql.ts';
import { requireProjectId } from '../project/service.ts';
import { Worktree } from './graphql.ts';
import { followInFlight, type InFlightShape } from './in-flight.ts';
import { changedWorktreeFields, requireKeyOfWorktree, type WorktreeReference, type WorktreeRow } from './model.ts';
import { WorktreeFilterInput, WorktreeRefInput } from './queries.ts';
import { findWorktree, listWorktreesById } from './store.ts';

interface WorktreeUpdateShape extends WithCursor {
  change: 'created' | 'updated' | 'deleted';
  changedFields: readonly string[];
  id: string;
  worktree: WorktreeRow | null;
}

const WorktreeUpdate = builder.objectRef<WorktreeUpdateShape>('WorktreeUpdate').implement({
  description: 'A worktree that changed.',
  fields: (t) => ({
    cursor: t.field({ type: 'Cursor', description: cursorDescription, resolve: (update) => update.cursor ?? '' }),
    change: t.field({ type: Change, description: 'What happened.', resolve: (update) => update.change }),
    changedFields: t.stringList({
      description: 'Which fields of `Worktree` an update changed, those of `gitState` as `gitState.…`.',
      resolve: (update) => [...update.changedFields],
    }),
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

addSubscription({
  name: 'worktreeChanged',
  description:
    'Worktrees as they change, claims on them included; all of them without arguments. Changes of one worktree that a client has not been sent yet become one. Scope registry:read.',
  type: WorktreeUpdate,
  args: (arg) => ({
    worktree: arg({ type: WorktreeRefInput, description: 'Only this worktree.' }),
    project: arg({ type: ProjectRefInput, description: 'Only worktrees of this project.' }),
    agentId: arg.string({ description: 'Only where this agent works, or did until the change.' }),
  }),
  live: async ({ worktree, project, agentId }, context) => {
    const [worktreeId, projectId] = await Promise.all([
      worktree == null ? null : requireWorktreeId(context, worktree),
      project == null ? null : requireProjectId(context, project),
    ]);
    const wanted = { worktreeId, projectId, agentId: agentId ?? null };
    return { topics: ['worktrees', 'claims'], coalesce: true, open: async () => followChanges(wanted) };
  },
});

/** @throws RequestError BAD_USER_INPUT for a path or a name that no worktree has; one that an id names may be gone */
async function requireWorktreeId(context: RequestContext, reference: WorktreeReference): Promise<string> {
  if (reference.id != null) return requireKeyOfWorktree(reference.id);
  const worktree = await findWorktree(context.db, reference);
  if (worktree !== null) return worktree.id;
  throw new RequestError('BAD_USER_INPUT', 'No worktree has that path or name: register it, then watch it.');
}

function followChanges(wanted: Wanted): Follower<WorktreeUpdateShape> {
  return followRows({
    concerns: (event) => concerns(event, wanted),
    isDeletion: (event) => event.topic === 'worktrees' && event.op === 'delete',
    load: (context, ids) => listWorktreesById(context.db, ids),
    shape: (event, worktree): WorktreeUpdateShape => ({
      change: event.topic === 'worktrees' ? changeOf(event.op) : 'updated',
      changedFields: event.topic === 'claims' ? ['claim'] : changedWorktreeFields(event.changed),
      id: event.entity_id,
      worktree,
    }),
  });
}

function concerns(event: FeedEvent, { worktreeId, projectId, agentId }: Wanted): boolean {
  if (worktreeId !== null && event.entity_id !== worktreeId) return false;
  if (projectId !== null && !belongsTo(event, projectId)) return false;
  if (agentId === null) return true;
  const facts = event.data as { before?: { agent_id?: unknown }; after?: { agent_id?: unknown } };
  return [event.agent_id, facts.before?.agent_id, facts.after?.agent_id].includes(agentId);
}

// ---- work in flight ---------------------------------------------------------------------------------------------------

const Presence = builder.enumType('Presence', {
  description: 'What became of a worktree in a set.',
  values: {
    ENTERED: { value: 'entered', description: 'It belongs to the set now.' },
    UPDATED: { value: 'updated', description: 'It belonged to the set, still does, and changed.' },
    LEFT: { value: 'left', description: 'It does not belong to the set any more; ignore it if you never saw it.' },
  } as const,
});

const InFlightUpdate = builder.objectRef<InFlightShape>('InFlightUpdate').implement({
  description: 'A worktree that came into a set of work in flight, changed in it or went.',
  fields: (t) => ({
    cursor: t.field({ type: 'Cursor', description: cursorDescription, resolve: (update) => update.cursor ?? '' }),
    presence: t.field({ type: Presence, description: 'What became of it.', resolve: (update) => update.presence }),
    worktreeId: t.id({ description: 'Which worktree.', resolve: (update) => encodeId('Worktree', update.id) }),
    worktree: t.field({
      type: Worktree,
      nullable: true,
      description: 'The worktree as it stands when this is sent; null once it is deleted.',
      resolve: (update) => update.worktree,
    }),
  }),
});

addSubscription({
  name: 'inFlightWork',
  description:
    'Work in flight as it comes into the filtered set, changes and leaves it, also by the clock alone (`staleForMinutes`). Begin with the query of the same name and its `cursor`. After a reconnect with `after`, what changed and belongs is ENTERED and what changed and does not is LEFT. Scope registry:read.',
  type: InFlightUpdate,
  args: (arg) => ({
    filter: arg({ type: WorktreeFilterInput, description: 'Which of it; all when left out.' }),
  }),
  live: async ({ filter }, context) => {
    const projectId = filter?.project == null ? null : await requireProjectId(context, filter.project);
    const wanted = { ...filter, project: projectId === null ? null : { id: projectId }, inFlight: true };
    // A filter names hosts and types, and names change.
    const named = [
      ...(filter?.host == null ? [] : ['hosts' as const]),
      ...(filter?.type == null ? [] : ['worktree_types' as const]),
    ];
    return {
      topics: ['worktrees', 'claims', ...named],
      coalesce: true,
      open: (shared) => followInFlight(wanted, projectId, shared),
    };
  },
});
