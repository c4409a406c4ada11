import { type RequestContext, requireScope } from '../../auth/context.ts';
import { Principal, principalLoader, Scope } from '../../auth/principal/graphql.ts';
import type { PrincipalRow } from '../../auth/principal/model.ts';
import { builder } from '../../graphql/builder.ts';
import { readPage, toConnection } from '../../graphql/connection.ts';
import { byKey, loader } from '../../graphql/loaders.ts';
import { Project, ProjectRefInput, projectLoader } from '../../registry/project/graphql.ts';
import { loadHeavyColumn } from '../call.ts';
import type { ScriptRow } from './model.ts';
import { listScripts, listScriptsById, scriptOrder } from './store.ts';

export function scriptLoader(context: RequestContext) {
  return loader<ScriptRow | null>(
    context,
    'script',
    async (ids) => byKey(await listScriptsById(context, ids), (script) => script.id),
    null,
  );
}

/** The script that something tells of: it stays as long, and is seen by whoever sees that. */
export async function getScript(context: RequestContext, id: string): Promise<ScriptRow> {
  const script = await scriptLoader(context).load(id);
  if (script === null) throw new Error(`something tells of the script ${id}, which is gone`);
  return script;
}

/** Whoever registered something: principals are never deleted while that refers to them. */
export async function getRegistrant(context: RequestContext, id: string): Promise<PrincipalRow> {
  const principal = await principalLoader(context).load(id);
  if (principal === null) throw new Error(`the registrant ${id} is no principal`);
  return principal;
}

export const ScriptKind = builder.enumType('ScriptKind', {
  description: 'What a script is.',
  values: {
    OPERATION: { value: 'operation', description: 'A query or a mutation of this API, stored.' },
    WEBHOOK: {
      value: 'webhook',
      description: 'A signed request to somebody else, by the Standard Webhooks specification.',
    },
  } as const,
});

export const DispatchMode = builder.enumType('DispatchMode', {
  description: 'Whether somebody waits for the result.',
  values: {
    ASYNC: { value: 'async', description: 'Nobody does: it goes through the outbox, with retries.' },
    SYNC: { value: 'sync', description: 'Whoever called a route does: it is tried once.' },
  } as const,
});

export const Backoff = builder.enumType('Backoff', {
  description: 'How long to wait before the next attempt; give or take a fifth, and at most an hour.',
  values: {
    EXPONENTIAL: { value: 'exponential', description: 'Twice as long after each failure.' },
    LINEAR: { value: 'linear', description: 'Longer by the same after each failure.' },
    CONSTANT: { value: 'constant', description: 'Always as long.' },
  } as const,
});

export const Script = builder.objectRef<ScriptRow>('Script');

builder.node(Script, {
  description:
    'What runs when a trigger or a route says so, or when it is invoked: a stored operation or a webhook. It runs as who saved it. For that principal and the owners of its project; without a project, administrators.',
  extensions: { personal: true },
  id: { resolve: (script) => script.id },
  loadWithoutCache: (id, context) => {
    requireScope(context.viewer, 'triggers:admin');
    return scriptLoader(context).load(id);
  },
  isTypeOf: (value) => typeof value === 'object' && value !== null && 'timeout_ms' in value,
  fields: (t) => ({
    uuid: t.field({ type: 'UUID', description: 'The key of the row, as SQL users know it.', resolve: (s) => s.id }),
    name: t.exposeString('name', { description: 'Its name, unique within its project or the whole registry.' }),
    kind: t.field({ type: ScriptKind, description: 'What it is.', resolve: (script) => script.kind }),
    project: t.field({
      type: Project,
      nullable: true,
      description: 'Its project; null: it is of the whole registry. Scope registry:read.',
      resolve: ({ project_id: id }, _args, context) => (id === null ? null : projectLoader(context).load(id)),
    }),
    document: t.string({
      nullable: true,
      description: 'The operation; null for a webhook.',
      resolve: async ({ id, kind }, _args, context) =>
        kind === 'operation' ? ((await loadHeavyColumn(context, 'scripts.document', id)) as string | null) : null,
    }),
    variables: t.field({
      type: 'JSON',
      nullable: true,
      description: 'The template of the variables of an operation.',
      resolve: ({ id, kind }, _args, context) =>
        kind === 'operation' ? loadHeavyColumn(context, 'scripts.variables', id) : null,
    }),
    url: t.exposeString('url', {
      nullable: true,
      description: 'Where a webhook goes; null for an operation. Its secret and its headers are never shown.',
    }),
    body: t.field({
      type: 'JSON',
      nullable: true,
      description: 'The template of the body of a webhook; null: the event itself.',
      resolve: ({ id, kind }, _args, context) =>
        kind === 'webhook' ? loadHeavyColumn(context, 'scripts.variables', id) : null,
    }),
    timeoutMs: t.exposeInt('timeout_ms', { description: 'How long an attempt may take, in milliseconds.' }),
    createdBy: t.field({
      type: Principal,
      description: 'Who saved it: it runs as this principal, and nobody else changes it.',
      resolve: (script, _args, context) => getRegistrant(context, script.created_by),
    }),
    scopes: t.field({
      type: [Scope],
      description: 'Those of the token that saved it: with no more it runs when it is invoked.',
      resolve: (script) => script.scopes,
    }),
    createdAt: t.field({ type: 'DateTime', description: 'When it was first saved.', resolve: (s) => s.created_at }),
    updatedAt: t.field({ type: 'DateTime', description: 'When it was last saved.', resolve: (s) => s.updated_at }),
    deletedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it was deleted; it is still told of by what it did. Null while it can be run.',
      resolve: (script) => script.deleted_at,
    }),
  }),
});

const ScriptConnection = builder.connectionObject(
  { type: Script, name: 'ScriptConnection', description: 'One page of scripts.' },
  { name: 'ScriptEdge', description: 'A script with its cursor.' },
);

builder.queryField('scripts', (t) =>
  t.connection(
    {
      type: Script,
      description: 'Scripts that the caller may see, without deleted ones, the newest first. Scope triggers:admin.',
      args: { project: t.arg({ type: ProjectRefInput, description: 'Only those of this project.' }) },
      resolve: async (_root, args, context) => {
        const page = readPage(args, scriptOrder);
        return toConnection(await listScripts(context, args.project, page), page, scriptOrder);
      },
    },
    ScriptConnection,
  ),
);
