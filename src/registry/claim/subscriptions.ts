import type { FeedEvent } from '../../feed/event.ts';
import { builder } from '../../graphql/builder.ts';
import { Change } from '../../graphql/change.ts';
import { addSubscription, cursorDescription, type WithCursor } from '../../graphql/live.ts';
import { byKey } from '../../graphql/loaders.ts';
import { encodeId } from '../../kernel/ids.ts';
import { ProjectRefInput } from '../project/graphql.ts';
import { requireProjectId } from '../project/service.ts';
import { Worktree, worktreeLoader } from '../worktree/graphql.ts';
import { Claim } from './graphql.ts';
import type { ClaimReason, ClaimRow } from './model.ts';
import { listClaims } from './store.ts';

const ClaimReasonEnum = builder.enumType('ClaimReason', {
  description: 'Why a claim changed.',
  values: {
    ACQUIRED: { value: 'acquired', description: 'Somebody took a worktree that nobody held.' },
    RENEWED: { value: 'renewed', description: "The holder's heartbeat; told at most once a minute." },
    TAKEN_OVER: { value: 'taken_over', description: 'Somebody took it from its holder.' },
    RELEASED: { value: 'released', description: 'The holder gave it up, or the worktree became inactive.' },
    LAPSED: { value: 'lapsed', description: 'Its time was over and the holder had not renewed it.' },
    DELETED: { value: 'deleted', description: 'The worktree was deleted.' },
  } as const,
});

/** Held from then on, held still, or held no longer. */
const changeOfReason = {
  acquired: 'created',
  renewed: 'updated',
  taken_over: 'updated',
  released: 'deleted',
  lapsed: 'deleted',
  deleted: 'deleted',
} as const;

interface ClaimUpdateShape extends WithCursor {
  event: FeedEvent;
  reason: ClaimReason;
  claim: ClaimRow | null;
}

interface ClaimFacts {
  reason: ClaimReason;
  has_uncommitted_changes: boolean | null;
  before?: { agent_id: string | null; session: string | null };
  after?: { agent_id: string | null; session: string | null };
}

const factsOf = (event: FeedEvent) => event.data as unknown as ClaimFacts;

const ClaimUpdate = builder.objectRef<ClaimUpdateShape>('ClaimUpdate').implement({
  description: 'A claim that was made, kept or ended.',
  fields: (t) => ({
    cursor: t.field({ type: 'Cursor', description: cursorDescription, resolve: (update) => update.cursor ?? '' }),
    change: t.field({
      type: Change,
      description: 'CREATED: the worktree is held now; UPDATED: held still, maybe by another; DELETED: held no longer.',
      resolve: (update) => changeOfReason[update.reason],
    }),
    reason: t.field({ type: ClaimReasonEnum, description: 'Why.', resolve: (update) => update.reason }),
    agentId: t.string({
      nullable: true,
      description: 'Who holds it after the change; of one that ended, who held it.',
      resolve: ({ event }) => event.agent_id,
    }),
    previousAgentId: t.string({
      nullable: true,
      description: 'Who held it before the change; null when nobody did.',
      resolve: ({ event }) => factsOf(event).before?.agent_id ?? null,
    }),
    hadUncommittedChanges: t.boolean({
      nullable: true,
      description: 'Whether the worktree had uncommitted changes at that moment; null where it is gone.',
      resolve: ({ event }) => factsOf(event).has_uncommitted_changes,
    }),
    worktreeId: t.id({
      description: 'Of which worktree.',
      resolve: ({ event }) => encodeId('Worktree', event.entity_id),
    }),
    claim: t.field({
      type: Claim,
      nullable: true,
      description: 'The claim as it stands when this is sent; null when nobody holds the worktree any more.',
      resolve: (update) => update.claim,
    }),
    worktree: t.field({
      type: Worktree,
      nullable: true,
      description: 'The worktree as it stands when this is sent; null once it is deleted.',
      resolve: ({ event }, _args, context) => worktreeLoader(context).load(event.entity_id),
    }),
  }),
});

addSubscription({
  name: 'claimChanged',
  description:
    'Claims as they are made, taken over, released and lapse; a lapse is told at the moment of it. Each is told, none is merged with the next. Scope registry:read.',
  type: ClaimUpdate,
  args: (arg) => ({
    project: arg({ type: ProjectRefInput, description: 'Only of worktrees of this project.' }),
    agentId: arg.string({ description: 'Only of this agent, or taken from it.' }),
  }),
  live: async ({ project, agentId }, context) => {
    const projectId = project == null ? null : await requireProjectId(context, project);
    const concerns = (event: FeedEvent) =>
      (projectId === null || event.project_id === projectId) &&
      (agentId == null || event.agent_id === agentId || factsOf(event).before?.agent_id === agentId);
    return {
      topics: ['claims'],
      coalesce: false,
      open: async () => ({
        async follow(events, shared) {
          const relevant = events.filter(concerns);
          const ids = [...new Set(relevant.map((event) => event.entity_id))];
          const claims = byKey(ids.length === 0 ? [] : await listClaims(shared.db, ids), (claim) => claim.worktree_id);
          return relevant.map((event) => {
            const { reason } = factsOf(event);
            const claim = changeOfReason[reason] === 'deleted' ? null : (claims.get(event.entity_id) ?? null);
            return { event, key: '', shape: { event, reason, claim } as ClaimUpdateShape };
          });
        },
      }),
    };
  },
});
