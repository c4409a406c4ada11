import { type RequestContext, requireScope } from '../../auth/context.ts';
import { ChangeOp } from '../../feed/graphql.ts';
import { builder } from '../../graphql/builder.ts';
import { readPage, toConnection } from '../../graphql/connection.ts';
import { byKey, groupedBy, loader } from '../../graphql/loaders.ts';
import { encodeId } from '../../kernel/ids.ts';
import { Project, ProjectRefInput, projectLoader } from '../../registry/project/graphql.ts';
import { requireKeyAt } from '../call.ts';
import { registeredFields } from '../registered.ts';
import { routeLoader } from '../route/graphql.ts';
import { DispatchMode } from '../script/graphql.ts';
import { mostCounted, type TriggerRow, type TriggerStatsRow } from './model.ts';
import { listTriggerStats, listTriggers, listTriggersById, listTriggersOfProjects, triggerOrder } from './store.ts';

export function triggerLoader(context: RequestContext) {
  return loader<TriggerRow | null>(
    context,
    'trigger',
    async (ids) => byKey(await listTriggersById(context, ids), (trigger) => trigger.id),
    null,
  );
}

export const TriggerKind = builder.enumType('TriggerKind', {
  description: 'What sets a trigger off.',
  values: {
    KV: { value: 'kv', description: 'Something in the registry changes.' },
    DEAD_LETTER: { value: 'dead_letter', description: 'A delivery has failed for good.' },
    CRON: { value: 'cron', description: 'The clock says so.' },
  } as const,
});

export const CatchUp = builder.enumType('CatchUp', {
  description: 'What becomes of times at which no dispatcher ran.',
  values: {
    SKIP: { value: 'skip', description: 'They are left out.' },
    ONCE: { value: 'once', description: 'The script runs once for all of them.' },
    ALL: { value: 'all', description: 'The script runs for each of them.' },
  } as const,
});

export const SourceKind = builder.enumType('SourceKind', {
  description: 'What set a script off.',
  values: {
    KV: { value: 'kv', description: 'A change in the registry.' },
    CRON: { value: 'cron', description: 'The clock.' },
    HTTP: { value: 'http', description: 'A request to a route.' },
    INVOKE: { value: 'invoke', description: 'Somebody who waits for the result.' },
    DEAD_LETTER: { value: 'dead_letter', description: 'A delivery that failed for good.' },
    REPLAY: { value: 'replay', description: 'Somebody who replayed a dead letter.' },
  } as const,
});

const lastDay = `in the last 24 hours, of the newest ${mostCounted.toLocaleString('en')}`;

const TriggerStats = builder.objectRef<TriggerStatsRow>('TriggerStats').implement({
  description: 'What became of what a trigger set off.',
  fields: (t) => ({
    waiting: t.exposeInt('waiting', { description: 'What waits in the outbox.' }),
    unresolvedDeadLetters: t.exposeInt('unresolved_dead_letters', {
      description: 'Dead letters that nobody has seen to.',
    }),
    running: t.exposeInt('running', { description: `Attempts begun ${lastDay}, that run.` }),
    succeeded: t.exposeInt('succeeded', { description: `Attempts begun ${lastDay}, that succeeded.` }),
    failed: t.exposeInt('failed', { description: `Attempts begun ${lastDay}, that failed.` }),
    timedOut: t.exposeInt('timed_out', { description: `Attempts begun ${lastDay}, that took too long.` }),
    lost: t.exposeInt('lost', { description: `Attempts begun ${lastDay}, whose worker stopped answering.` }),
  }),
});

export const Trigger = builder.objectRef<TriggerRow>('Trigger');

builder.node(Trigger, {
  description:
    'When a script runs by itself. It runs as who registered the trigger. For that principal and the owners of its project; without a project, administrators.',
  extensions: { personal: true },
  id: { resolve: (trigger) => trigger.id },
  loadWithoutCache: (id, context) => {
    requireScope(context.viewer, 'triggers:admin');
    return triggerLoader(context).load(id);
  },
  isTypeOf: (value) => typeof value === 'object' && value !== null && 'enabled' in value,
  fields: (t) => ({
    ...registeredFields(t),
    uuid: t.field({ type: 'UUID', description: 'The key of the row, as SQL users know it.', resolve: (r) => r.id }),
    kind: t.field({ type: TriggerKind, description: 'What sets it off.', resolve: (trigger) => trigger.kind }),
    project: t.field({
      type: Project,
      nullable: true,
      description: 'Its project, whose changes it means; null: those of the whole registry. Scope registry:read.',
      resolve: ({ project_id: id }, _args, context) => (id === null ? null : projectLoader(context).load(id)),
    }),
    enabled: t.exposeBoolean('enabled', {
      description: 'False: nothing sets it off, and what happens meanwhile is none of its business later either.',
    }),
    condition: t.exposeString('condition', {
      nullable: true,
      description: 'JSONata over the event: only if it is true the script runs. Null: always.',
    }),
    dispatchMode: t.field({
      type: DispatchMode,
      description: 'Always ASYNC: only routes know SYNC.',
      resolve: (trigger) => trigger.dispatch_mode,
    }),
    retryMaxAttempts: t.exposeInt('retry_max_attempts', {
      description: 'After how many failures it becomes a dead letter.',
    }),
    createdAt: t.field({ type: 'DateTime', description: 'When it was registered.', resolve: (r) => r.created_at }),
    updatedAt: t.field({ type: 'DateTime', description: 'When it last changed.', resolve: (r) => r.updated_at }),
    collectionGlob: t.exposeString('collection_glob', {
      nullable: true,
      description: 'Of KV, whose changes: `*`, the name of a collection, or `prefix:*`.',
    }),
    ops: t.field({
      type: [ChangeOp],
      nullable: { list: true, items: false },
      description: 'Of KV, which changes; empty: any.',
      resolve: (trigger) => trigger.ops,
    }),
    sourceFilter: t.field({
      type: SourceKind,
      nullable: true,
      description: 'Of DEAD_LETTER: only letters of this source.',
      resolve: (trigger) => trigger.source_filter,
    }),
    triggerFilter: t.id({
      nullable: true,
      description: 'Of DEAD_LETTER: only letters of this trigger or route.',
      resolve: async ({ trigger_id_filter: key }, _args, context) => {
        if (key === null) return null;
        return encodeId((await routeLoader(context).load(key)) === null ? 'Trigger' : 'Route', key);
      },
    }),
    scriptFilter: t.id({
      nullable: true,
      description: 'Of DEAD_LETTER: only letters of this script.',
      resolve: ({ script_id_filter: key }) => (key === null ? null : encodeId('Script', key)),
    }),
    cron: t.exposeString('expression', { nullable: true, description: 'Of CRON, the expression.' }),
    timezone: t.exposeString('timezone', {
      nullable: true,
      description: 'Of CRON, in whose time the expression is read.',
    }),
    nextDueAt: t.field({
      type: 'DateTime',
      nullable: true,
      description:
        'Of CRON, when it is due next; null also for a moment after it was enabled, and when it never is again.',
      resolve: (trigger) => trigger.next_due_at,
    }),
    catchUp: t.field({
      type: CatchUp,
      nullable: true,
      description: 'Of CRON, what becomes of times at which no dispatcher ran.',
      resolve: (trigger) => trigger.catch_up,
    }),
    stats: t.field({
      type: TriggerStats,
      description: 'What became of what it set off.',
      resolve: async (trigger, _args, context) => {
        const stats = await loader<TriggerStatsRow | null>(
          context,
          'trigger.stats',
          async (ids) => byKey(await listTriggerStats(context, ids), (row) => row.id),
          null,
        ).load(trigger.id);
        if (stats === null) throw new Error(`the trigger ${trigger.id} was not counted`);
        return stats;
      },
    }),
  }),
});

const TriggerConnection = builder.connectionObject(
  { type: Trigger, name: 'TriggerConnection', description: 'One page of triggers.' },
  { name: 'TriggerEdge', description: 'A trigger with its cursor.' },
);

builder.queryFields((t) => ({
  trigger: t.field({
    type: Trigger,
    nullable: true,
    description: 'One trigger; null when there is none, or none that the caller may see. Scope triggers:admin.',
    args: { id: t.arg.id({ required: true, description: 'Its `id`, or the bare UUID.' }) },
    resolve: (_root, { id }, context) => triggerLoader(context).load(requireKeyAt([], 'Trigger', id)),
  }),
  triggers: t.connection(
    {
      type: Trigger,
      description: 'Triggers that the caller may see, the newest first. Scope triggers:admin.',
      args: {
        project: t.arg({ type: ProjectRefInput, description: 'Only those of this project.' }),
        kind: t.arg({ type: [TriggerKind], description: 'Only of these kinds.' }),
        script: t.arg.id({ description: 'Only those that run this script.' }),
      },
      resolve: async (_root, { project, kind, script, ...args }, context) => {
        const page = readPage(args, triggerOrder);
        const scriptId = script == null ? null : requireKeyAt([], 'Script', script);
        return toConnection(await listTriggers(context, { project, kind, scriptId }, page), page, triggerOrder);
      },
    },
    TriggerConnection,
  ),
}));

builder.objectField(Project, 'triggers', (t) =>
  t.connection(
    {
      type: Trigger,
      description: 'Its triggers that the caller may see, the newest first. Scope triggers:admin.',
      extensions: { personal: true },
      resolve: async (project, args, context) => {
        const page = readPage(args, triggerOrder);
        const rows = await loader<TriggerRow[]>(
          context,
          `project.triggers:${JSON.stringify(page)}`,
          async (ids) => groupedBy(await listTriggersOfProjects(context, ids, page), (trigger) => trigger.project_id),
          [],
        ).load(project.id);
        return toConnection(rows, page, triggerOrder);
      },
    },
    TriggerConnection,
  ),
);
