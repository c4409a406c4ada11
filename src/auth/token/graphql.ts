import { builder } from '../../graphql/builder.ts';
import { addMutation } from '../../graphql/payload.ts';
import { encodeId } from '../../kernel/ids.ts';
import type { Viewer as ViewerShape } from '../context.ts';
import { Principal, principalLoader, Scope } from '../principal/graphql.ts';
import type { TokenRow } from './model.ts';
import { createToken, revokeToken, type TokenRequest } from './service.ts';
import { listTokensOf } from './store.ts';

const Token = builder.objectRef<TokenRow>('Token').implement({
  description: 'The record of a bearer token; the token itself is shown only when it is made.',
  fields: (t) => ({
    id: t.id({ description: 'Opaque; `revokeToken` takes it.', resolve: (token) => encodeId('Token', token.id) }),
    name: t.exposeString('name', { description: 'What it is for, in words.' }),
    scopes: t.field({
      type: [Scope],
      description: 'What it may do, as far as its principal still may.',
      resolve: (token) => token.scopes,
    }),
    createdAt: t.field({ type: 'DateTime', description: 'When it was made.', resolve: (token) => token.created_at }),
    expiresAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it ends by itself; null: never.',
      resolve: (token) => token.expires_at,
    }),
    lastUsedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it was last used, to the minute.',
      resolve: (token) => token.last_used_at,
    }),
    revokedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it was revoked; null: it was not.',
      resolve: (token) => token.revoked_at,
    }),
  }),
});

const Viewer = builder.objectRef<ViewerShape>('Viewer').implement({
  description: 'Who is asking.',
  fields: (t) => ({
    principal: t.field({
      type: Principal,
      description: 'The principal of the token in use.',
      resolve: async (viewer, _args, context) => {
        const principal = await principalLoader(context).load(viewer.principalId);
        if (principal === null) throw new Error(`the viewer ${viewer.principalId} is no principal`);
        return principal;
      },
    }),
    scopes: t.field({
      type: [Scope],
      description: 'What the token in use may do.',
      resolve: (viewer) => [...viewer.scopes],
    }),
    tokens: t.field({
      type: [Token],
      description: "The principal's tokens, the oldest first, revoked ones included.",
      resolve: (viewer, _args, context) => listTokensOf(context, viewer.principalId),
    }),
  }),
});

builder.queryField('viewer', (t) =>
  t.field({
    type: Viewer,
    description: 'Who is asking, and what the token in use may do.',
    resolve: (_root, _args, context) => context.viewer,
  }),
);

addMutation<TokenRequest, { token: string; record: TokenRow }>({
  name: 'createToken',
  description:
    "Makes a token: for oneself with no more than the token in use has, for others as admin with no more than they may have. Tokens with CHAT or SYNC for others: only the principal's first one, and none where it signs in at an identity provider.",
  input: builder.inputRef<TokenRequest>('CreateTokenInput').implement({
    description: 'A new token.',
    fields: (t) => ({
      principal: t.id({ description: 'Whose token; the caller when left out.' }),
      name: t.string({ required: true, description: 'What it is for, in words.' }),
      scopes: t.field({ type: [Scope], required: true, description: 'What it may do.' }),
      expiresAt: t.field({ type: 'DateTime', description: 'When it ends by itself; never when left out.' }),
    }),
  }),
  fields: (t) => ({
    token: t.string({
      nullable: true,
      description: 'The token. This is the only time that it is shown.',
      resolve: (outcome) => outcome.token,
    }),
    record: t.field({ type: Token, nullable: true, description: 'Its record.', resolve: (outcome) => outcome.record }),
  }),
  resolve: (input, context) => createToken(context, input),
});

addMutation<{ token: string }, { token: TokenRow }>({
  name: 'revokeToken',
  description: "Ends a token for good: one's own, or as admin any.",
  input: builder.inputRef<{ token: string }>('RevokeTokenInput').implement({
    description: 'Which token to end.',
    fields: (t) => ({ token: t.id({ required: true, description: "The `id` of the token's record." }) }),
  }),
  fields: (t) => ({
    token: t.field({
      type: Token,
      nullable: true,
      description: 'The record as it now stands.',
      resolve: (outcome) => outcome.token,
    }),
  }),
  resolve: async (input, context) => ({ token: await revokeToken(context, input.token) }),
});
