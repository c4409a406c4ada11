import { type RequestContext, requireScope } from '../../auth/context.ts';
import { builder } from '../../graphql/builder.ts';
import { readPage, toConnection } from '../../graphql/connection.ts';
import { byKey, loader } from '../../graphql/loaders.ts';
import { addMutation } from '../../graphql/payload.ts';
import { Project, ProjectRefInput, projectLoader } from '../../registry/project/graphql.ts';
import { requireKeyAt } from '../call.ts';
import { registeredFields } from '../registered.ts';
import { DispatchMode } from '../script/graphql.ts';
import type { RouteRow } from './model.ts';
import { deleteRoute, type NewRoute, saveRoute } from './service.ts';
import { listRoutes, listRoutesById, routeOrder } from './store.ts';

export function routeLoader(context: RequestContext) {
  return loader<RouteRow | null>(
    context,
    'route',
    async (ids) => byKey(await listRoutesById(context, ids), (route) => route.id),
    null,
  );
}

const RouteSignature = builder.enumType('RouteSignature', {
  description: 'How requests to a route prove whom they are from.',
  values: {
    STANDARD: {
      value: 'standard',
      description: 'By the Standard Webhooks specification: signed with a time and an id, each accepted once.',
    },
    GITHUB: { value: 'github', description: "As GitHub's webhooks do it: `X-Hub-Signature-256`." },
    NONE: { value: 'none', description: 'Not at all: whoever knows the path may call it.' },
  } as const,
});

export const Route = builder.objectRef<RouteRow>('Route');

builder.node(Route, {
  description:
    'An inbound webhook: a path under `/hooks/` that runs a script when it is called. For its registrant and the owners of its project; without a project, administrators.',
  extensions: { personal: true },
  id: { resolve: (route) => route.id },
  loadWithoutCache: (id, context) => {
    requireScope(context.viewer, 'triggers:admin');
    return routeLoader(context).load(id);
  },
  isTypeOf: (value) => typeof value === 'object' && value !== null && 'method' in value,
  fields: (t) => ({
    ...registeredFields(t),
    uuid: t.field({ type: 'UUID', description: 'The key of the row, as SQL users know it.', resolve: (r) => r.id }),
    method: t.exposeString('method', { description: 'The HTTP method, in upper case.' }),
    path: t.exposeString('path', { description: 'The path, such as `/hooks/github/push`; unique with its method.' }),
    project: t.field({
      type: Project,
      nullable: true,
      description: 'Its project; null: it is of the whole registry. Scope registry:read.',
      resolve: ({ project_id: id }, _args, context) => (id === null ? null : projectLoader(context).load(id)),
    }),
    dispatchMode: t.field({
      type: DispatchMode,
      description: 'ASYNC: callers get 202 at once. SYNC: they get the result.',
      resolve: (route) => route.dispatch_mode,
    }),
    signature: t.field({
      type: RouteSignature,
      description: 'How requests are signed. The secret is never shown.',
      resolve: (route) => route.signature,
    }),
    retryMaxAttempts: t.exposeInt('retry_max_attempts', {
      description: 'After how many failures it becomes a dead letter; a synchronous one is tried once.',
    }),
    createdAt: t.field({ type: 'DateTime', description: 'When it was first saved.', resolve: (r) => r.created_at }),
    updatedAt: t.field({ type: 'DateTime', description: 'When it was last saved.', resolve: (r) => r.updated_at }),
  }),
});

const RouteConnection = builder.connectionObject(
  { type: Route, name: 'RouteConnection', description: 'One page of routes.' },
  { name: 'RouteEdge', description: 'A route with its cursor.' },
);

builder.queryField('routes', (t) =>
  t.connection(
    {
      type: Route,
      description: 'Routes that the caller may see, the newest first. Scope triggers:admin.',
      args: {
        project: t.arg({ type: ProjectRefInput, description: 'Only those of this project.' }),
        script: t.arg.id({ description: 'Only those that run this script.' }),
      },
      resolve: async (_root, { project, script, ...args }, context) => {
        const page = readPage(args, routeOrder);
        const scriptId = script == null ? null : requireKeyAt([], 'Script', script);
        return toConnection(await listRoutes(context, { project, scriptId }, page), page, routeOrder);
      },
    },
    RouteConnection,
  ),
);

addMutation<NewRoute, { route: RouteRow | null; secret: string | null }>({
  name: 'saveRoute',
  description:
    'Makes a route, or changes one that the caller registered. Its script runs as the caller, who must have saved it. In a project it needs an owner of it, for the whole registry the scope admin. Scope triggers:admin.',
  input: builder.inputRef<NewRoute>('SaveRouteInput').implement({
    description: 'A route: which requests run which script.',
    fields: (t) => ({
      id: t.id({ description: 'Which one to change; left out: a new one.' }),
      project: t.field({
        type: ProjectRefInput,
        description: 'Of which project; left out: of the whole registry, or where it is. It stays where it was made.',
      }),
      method: t.string({ required: true, description: 'GET, POST, PUT, PATCH or DELETE.' }),
      path: t.string({ required: true, description: 'Such as `github/push`, for `/hooks/github/push`.' }),
      script: t.id({
        required: true,
        description: 'What it runs: a script of the same project; without a project, one without.',
      }),
      dispatchMode: t.field({
        type: DispatchMode,
        defaultValue: 'async',
        description: 'Whether callers wait for the result.',
      }),
      signature: t.field({
        type: RouteSignature,
        required: true,
        defaultValue: 'standard',
        description: 'How requests are signed.',
      }),
      secret: t.string({
        description:
          'What requests are signed with: of STANDARD `whsec_` and 24 to 64 bytes in base64, of GITHUB 16 to 500 characters. Left out: one is made, or the one that it has for this signature stays.',
      }),
    }),
  }),
  fields: (t) => ({
    route: t.field({ type: Route, nullable: true, description: 'The route.', resolve: (outcome) => outcome.route }),
    secret: t.string({
      nullable: true,
      description: 'The secret, where one was made: it is not shown again.',
      resolve: (outcome) => outcome.secret,
    }),
  }),
  resolve: async (input, context) => {
    const { id, secret } = await saveRoute(context, input);
    return { route: await routeLoader(context).load(id), secret };
  },
});

addMutation<{ id: string }, { route: RouteRow | null }>({
  name: 'deleteRoute',
  description:
    'Deletes a route, and what it accepted that waits to be run. Who waits for a result still gets it. Scope triggers:admin.',
  input: builder.inputRef<{ id: string }>('DeleteRouteInput').implement({
    description: 'Which route to delete.',
    fields: (t) => ({ id: t.id({ required: true, description: 'Which one.' }) }),
  }),
  fields: (t) => ({
    route: t.field({
      type: Route,
      nullable: true,
      description: 'The route as it was.',
      resolve: (outcome) => outcome.route,
    }),
  }),
  resolve: async ({ id }, context) => ({ route: await deleteRoute(context, id) }),
});
