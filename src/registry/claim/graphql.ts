import { builder, type SchemaTypes } from '../../graphql/builder.ts';
import { byKey, loader } from '../../graphql/loaders.ts';
import { addMutation } from '../../graphql/payload.ts';
import { Worktree, worktreeLoader } from '../worktree/graphql.ts';
import type { WorktreeReference, WorktreeRow } from '../worktree/model.ts';
import { WorktreeRefInput } from '../worktree/queries.ts';
import type { ClaimRow } from './model.ts';
import { type ClaimRequest, claimWorktree, releaseWorktree, renewClaim } from './service.ts';
import { listClaims } from './store.ts';

export const Claim = builder.objectRef<ClaimRow>('Claim').implement({
  description: 'A lease on a worktree: one agent works in it until the claim lapses, is released or taken over.',
  fields: (t) => ({
    agentId: t.exposeString('agent_id', { description: 'Who holds it.' }),
    session: t.exposeString('session', { nullable: true, description: 'In which session of that agent.' }),
    fence: t.field({
      type: 'BigInt',
      description: 'Grows with every new holder: a write that carries an older one is refused.',
      resolve: (claim) => claim.fence,
    }),
    acquiredAt: t.field({ type: 'DateTime', description: 'Since when.', resolve: (claim) => claim.acquired_at }),
    renewedAt: t.field({ type: 'DateTime', description: 'The last heartbeat.', resolve: (claim) => claim.renewed_at }),
    expiresAt: t.field({
      type: 'DateTime',
      description: 'When it lapses unless renewed.',
      resolve: (claim) => claim.expires_at,
    }),
  }),
});

builder.objectField(Worktree, 'claim', (t) =>
  t.field({
    type: Claim,
    nullable: true,
    description: 'Who holds it; null when nobody does.',
    resolve: (worktree, _args, context) =>
      loader<ClaimRow | null>(
        context,
        'worktree.claim',
        async (ids) => byKey(await listClaims(context.db, ids), (claim) => claim.worktree_id),
        null,
      ).load(worktree.id),
  }),
);

type ClaimAnswer = { claim: ClaimRow };
type ClaimFields = PothosSchemaTypes.ObjectFieldBuilder<SchemaTypes, { claim?: ClaimRow | null }>;

function claimFields(t: ClaimFields) {
  return {
    claim: t.field({ type: Claim, nullable: true, description: 'The claim.', resolve: (outcome) => outcome.claim }),
    worktree: t.field({
      type: Worktree,
      nullable: true,
      description: 'The worktree.',
      resolve: (outcome, _args, context) =>
        outcome.claim == null ? null : worktreeLoader(context).load(outcome.claim.worktree_id),
    }),
  };
}

addMutation<ClaimRequest, ClaimAnswer>({
  name: 'claimWorktree',
  description:
    'Takes a worktree for an agent. Held by another: CLAIMED, with the holder and the expiry in `details`, unless taken over. As the holder it renews. Scope registry:write.',
  input: builder.inputRef<ClaimRequest>('ClaimWorktreeInput').implement({
    description: 'Who takes which worktree, and for how long.',
    fields: (t) => ({
      worktree: t.field({ type: WorktreeRefInput, required: true, description: 'Which worktree.' }),
      agentId: t.string({ required: true, description: 'The agent that takes it.' }),
      session: t.string({ description: 'Tells two runs of one agent apart: another session is another holder.' }),
      ttlSeconds: t.int({ defaultValue: 300, description: 'When it lapses unless renewed: 1 to 86,400.' }),
      takeover: t.boolean({ defaultValue: false, description: 'Even if another holds it.' }),
    }),
  }),
  fields: claimFields,
  resolve: async (input, context) => ({ claim: await claimWorktree(context, input) }),
});

type Renewal = { worktree: WorktreeReference; fence: string; ttlSeconds?: number | null | undefined };

addMutation<Renewal, ClaimAnswer>({
  name: 'renewClaim',
  description: "The holder's heartbeat. A claim that lapsed or was taken over answers FENCED. Scope registry:write.",
  input: builder.inputRef<Renewal>('RenewClaimInput').implement({
    description: 'Which claim to renew, and for how long.',
    fields: (t) => ({
      worktree: t.field({ type: WorktreeRefInput, required: true, description: 'Which worktree.' }),
      fence: t.field({ type: 'BigInt', required: true, description: 'The fence of the claim.' }),
      ttlSeconds: t.int({ defaultValue: 300, description: 'When it lapses unless renewed: 1 to 86,400.' }),
    }),
  }),
  fields: claimFields,
  resolve: async (input, context) => ({ claim: await renewClaim(context, input) }),
});

type Release = { worktree: WorktreeReference; fence: string };

addMutation<Release, { worktree: WorktreeRow }>({
  name: 'releaseWorktree',
  description: 'Ends a claim, by its holder only. Scope registry:write.',
  input: builder.inputRef<Release>('ReleaseWorktreeInput').implement({
    description: 'Which claim to end.',
    fields: (t) => ({
      worktree: t.field({ type: WorktreeRefInput, required: true, description: 'Which worktree.' }),
      fence: t.field({ type: 'BigInt', required: true, description: 'The fence of the claim: it proves the holder.' }),
    }),
  }),
  fields: (t) => ({
    worktree: t.field({
      type: Worktree,
      nullable: true,
      description: 'The worktree, free again.',
      resolve: (outcome) => outcome.worktree,
    }),
  }),
  resolve: async (input, context) => ({ worktree: await releaseWorktree(context, input) }),
});
