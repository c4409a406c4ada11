import { builder, type SchemaTypes } from '../../graphql/builder.ts';
import { readPage, toConnection } from '../../graphql/connection.ts';
import { byKey, loader } from '../../graphql/loaders.ts';
import { addMutation } from '../../graphql/payload.ts';
import type { RequestContext } from '../context.ts';
import type { PrincipalRow } from './model.ts';
import { createPrincipal, type PrincipalChange, setPrincipalDisabled, updatePrincipal } from './service.ts';
import { listPrincipals, listPrincipalsById, type NewPrincipal, principalOrder } from './store.ts';

export function principalLoader(context: RequestContext) {
  return loader<PrincipalRow | null>(
    context,
    'principal',
    async (ids) => byKey(await listPrincipalsById(context, ids), (principal) => principal.id),
    null,
  );
}

export const PrincipalKind = builder.enumType('PrincipalKind', {
  description: 'What a principal is.',
  values: {
    USER: { value: 'user', description: 'A person.' },
    AGENT: { value: 'agent', description: 'A coding agent: it acts only as its own handle.' },
    SERVICE: { value: 'service', description: 'A program, such as a scanner: it may name any agent.' },
  } as const,
});

export const Scope = builder.enumType('Scope', {
  description: 'What a token may do.',
  values: {
    REGISTRY_READ: { value: 'registry:read', description: 'Read projects, worktrees, hosts, claims and activities.' },
    REGISTRY_WRITE: { value: 'registry:write', description: 'Change them.' },
    CHAT: { value: 'chat', description: 'Read and write the chats of projects that the principal is a member of.' },
    SYNC: { value: 'sync', description: "Read and write the principal's own offline changes and those of its spaces." },
    TRIGGERS_ADMIN: { value: 'triggers:admin', description: 'Register triggers and scripts, handle dead letters.' },
    MAINTENANCE: { value: 'maintenance', description: 'Clean up, prune, vacuum, see health and metrics.' },
    ADMIN: { value: 'admin', description: 'Manage principals and tokens, and everything but chats and sync.' },
  } as const,
});

export const ProjectRole = builder.enumType('ProjectRole', {
  description: 'What a member may do in a project or a space.',
  values: {
    OWNER: { value: 'owner', description: 'Everything, members included.' },
    EDITOR: { value: 'editor', description: 'Read and write.' },
    VIEWER: { value: 'viewer', description: 'Read.' },
  } as const,
});

export const Principal = builder.objectRef<PrincipalRow>('Principal');

builder.node(Principal, {
  description: 'Somebody who can ask: a user, an agent or a service.',
  extensions: { personal: true },
  id: { resolve: (principal) => principal.id },
  loadWithoutCache: (id, context) => principalLoader(context).load(id),
  isTypeOf: (value) => typeof value === 'object' && value !== null && 'handle' in value,
  fields: (t) => ({
    uuid: t.field({ type: 'UUID', description: 'The key of the row, as SQL users know it.', resolve: (p) => p.id }),
    kind: t.field({ type: PrincipalKind, description: 'What it is.', resolve: (p) => p.kind }),
    handle: t.exposeString('handle', { description: 'Its short name; unique. An agent acts as it.' }),
    displayName: t.exposeString('display_name', { nullable: true, description: 'Its name for people.' }),
    scopes: t.field({ type: [Scope], description: 'The most that its tokens may do.', resolve: (p) => p.scopes }),
    disabledAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'Since when it is shut out; null: it is not.',
      resolve: (p) => p.disabled_at,
    }),
  }),
});

const PrincipalConnection = builder.connectionObject(
  { type: Principal, name: 'PrincipalConnection', description: 'One page of principals.' },
  { name: 'PrincipalEdge', description: 'A principal with its cursor.' },
);

builder.queryField('principals', (t) =>
  t.connection(
    {
      type: Principal,
      description: 'All principals by handle. Scope admin.',
      resolve: async (_root, args, context) => {
        const page = readPage(args, principalOrder);
        return toConnection(await listPrincipals(context, page), page, principalOrder);
      },
    },
    PrincipalConnection,
  ),
);

type PrincipalAnswer = { principal: PrincipalRow | null };

/** The field that these payloads share. */
function answered(t: PothosSchemaTypes.ObjectFieldBuilder<SchemaTypes, { principal?: PrincipalRow | null }>) {
  return {
    principal: t.field({
      type: Principal,
      nullable: true,
      description: 'The principal as it now stands.',
      resolve: (outcome) => outcome.principal,
    }),
  };
}

addMutation<NewPrincipal, PrincipalAnswer>({
  name: 'createPrincipal',
  description: 'Makes a principal. A taken handle answers CONFLICT. Scope admin.',
  input: builder.inputRef<NewPrincipal>('CreatePrincipalInput').implement({
    description: 'A new principal.',
    fields: (t) => ({
      kind: t.field({ type: PrincipalKind, required: true, description: 'What it is.' }),
      handle: t.string({ required: true, description: 'Its short name, lower-case, unique.' }),
      displayName: t.string({ description: 'Its name for people.' }),
      externalId: t.string({ description: 'Its subject at the identity provider whose JWTs are accepted.' }),
      scopes: t.field({
        type: [Scope],
        required: true,
        defaultValue: ['registry:read'],
        description: 'The most that its tokens may do.',
      }),
    }),
  }),
  fields: answered,
  resolve: async (input, context) => ({
    principal: await principalLoader(context).load(await createPrincipal(context, input)),
  }),
});

addMutation<PrincipalChange, PrincipalAnswer>({
  name: 'updatePrincipal',
  description: 'Changes what is given; its tokens lose the scopes that it loses. Scope admin.',
  input: builder.inputRef<PrincipalChange>('UpdatePrincipalInput').implement({
    description: 'What to change of a principal; what is left out stays.',
    fields: (t) => ({
      principal: t.id({ required: true, description: 'Which principal.' }),
      displayName: t.string({ description: 'Its name for people; null for none.' }),
      scopes: t.field({ type: [Scope], description: 'The most that its tokens may do.' }),
    }),
  }),
  fields: answered,
  resolve: async (input, context) => ({
    principal: await principalLoader(context).load(await updatePrincipal(context, input)),
  }),
});

for (const [name, disabled, description] of [
  ['disablePrincipal', true, 'Shuts a principal out: its tokens are refused from now on. Scope admin.'],
  ['enablePrincipal', false, 'Lets a principal in again. Scope admin.'],
] as const) {
  addMutation<{ principal: string }, PrincipalAnswer>({
    name,
    description,
    input: builder
      .inputRef<{ principal: string }>(disabled ? 'DisablePrincipalInput' : 'EnablePrincipalInput')
      .implement({
        description: disabled ? 'Whom to shut out.' : 'Whom to let in again.',
        fields: (t) => ({ principal: t.id({ required: true, description: 'Which principal.' }) }),
      }),
    fields: answered,
    resolve: async (input, context) => ({
      principal: await principalLoader(context).load(await setPrincipalDisabled(context, input.principal, disabled)),
    }),
  });
}
