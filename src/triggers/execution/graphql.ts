import { type RequestContext, requireScope } from '../../auth/context.ts';
import { builder } from '../../graphql/builder.ts';
import { readPage, toConnection } from '../../graphql/connection.ts';
import { byKey, groupedBy, loader } from '../../graphql/loaders.ts';
import { encodeId } from '../../kernel/ids.ts';
import { loadHeavyColumn, requireKeyAt, requireSourceKeyAt } from '../call.ts';
import { originFields } from '../origin.ts';
import { getScript, Script, scriptLoader } from '../script/graphql.ts';
import { Trigger } from '../trigger/graphql.ts';
import type { AbandonedRow, ExecutionRow } from './model.ts';
import {
  abandonedOrder,
  executionOrder,
  listAbandoned,
  listExecutions,
  listExecutionsById,
  listExecutionsOfTriggers,
} from './store.ts';

export function executionLoader(context: RequestContext) {
  return loader<ExecutionRow | null>(
    context,
    'execution',
    async (ids) => byKey(await listExecutionsById(context, ids), (execution) => execution.id),
    null,
  );
}

const ExecutionStatus = builder.enumType('ExecutionStatus', {
  description: 'How an attempt stands.',
  values: {
    RUNNING: { value: 'running', description: 'It is under way.' },
    SUCCEEDED: { value: 'succeeded', description: 'The script did its work.' },
    FAILED: { value: 'failed', description: 'It did not; `error` says why.' },
    TIMED_OUT: { value: 'timed_out', description: "It took longer than the script's `timeoutMs`." },
    LOST: { value: 'lost', description: 'Its worker stopped answering; whether the script did its work is unknown.' },
  } as const,
});

export const Execution = builder.objectRef<ExecutionRow>('Execution');

builder.node(Execution, {
  description:
    'An attempt to run a script; kept for a while. For the principal whose script it is and the owners of its project; without a project, administrators.',
  extensions: { personal: true },
  id: { resolve: (execution) => execution.id },
  loadWithoutCache: (id, context) => {
    requireScope(context.viewer, 'triggers:admin');
    return executionLoader(context).load(id);
  },
  isTypeOf: (value) => typeof value === 'object' && value !== null && 'worker' in value,
  fields: (t) => ({
    uuid: t.field({ type: 'UUID', description: 'The key of the row, as SQL users know it.', resolve: (e) => e.id }),
    status: t.field({ type: ExecutionStatus, description: 'How it stands.', resolve: (execution) => execution.status }),
    attempt: t.exposeInt('attempt', { description: 'Which attempt of the same thing it is, from 1.' }),
    startedAt: t.field({ type: 'DateTime', description: 'When it began.', resolve: (e) => e.started_at }),
    finishedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it ended; null while it runs.',
      resolve: (execution) => execution.finished_at,
    }),
    durationMs: t.int({
      nullable: true,
      description: 'How long it took, in milliseconds; null while it runs.',
      resolve: ({ started_at: startedAt, finished_at: finishedAt }) =>
        finishedAt === null ? null : Math.max(0, Date.parse(finishedAt) - Date.parse(startedAt)),
    }),
    worker: t.exposeString('worker', { description: 'Which dispatcher ran it, by its host and process.' }),
    result: t.field({
      type: 'JSON',
      nullable: true,
      description: 'What came back: the data of an operation, the answer to a webhook.',
      resolve: ({ id }, _args, context) => loadHeavyColumn(context, 'executions.result', id),
    }),
    error: t.exposeString('error', { nullable: true, description: 'Why it failed; null if it did not.' }),
    ...originFields(t),
    script: t.field({
      type: Script,
      description: 'What was run; it may have been deleted since.',
      resolve: (execution, _args, context) => getScript(context, execution.script_id),
    }),
  }),
});

const ExecutionConnection = builder.connectionObject(
  { type: Execution, name: 'ExecutionConnection', description: 'One page of executions.' },
  { name: 'ExecutionEdge', description: 'An execution with its cursor.' },
);

builder.objectField(Trigger, 'executions', (t) =>
  t.connection(
    {
      type: Execution,
      description: 'The attempts that it set off, the newest first.',
      resolve: async (trigger, args, context) => {
        const page = readPage(args, executionOrder);
        const rows = await loader<ExecutionRow[]>(
          context,
          `trigger.executions:${JSON.stringify(page)}`,
          async (ids) => groupedBy(await listExecutionsOfTriggers(context, ids, page), (row) => row.trigger_id),
          [],
        ).load(trigger.id);
        return toConnection(rows, page, executionOrder);
      },
    },
    ExecutionConnection,
  ),
);

const newest = { limit: 1, after: null, before: null, backwards: false };

builder.objectField(Trigger, 'lastExecution', (t) =>
  t.field({
    type: Execution,
    nullable: true,
    description: 'The newest attempt that it set off; null when there is none, or none that is still kept.',
    resolve: async (trigger, _args, context) => {
      const [execution = null] = await loader<ExecutionRow[]>(
        context,
        'trigger.lastExecution',
        async (ids) => groupedBy(await listExecutionsOfTriggers(context, ids, newest), (row) => row.trigger_id),
        [],
      ).load(trigger.id);
      return execution;
    },
  }),
);

const AbandonedExecution = builder.objectRef<AbandonedRow>('AbandonedExecution').implement({
  description:
    'A result that came when nobody was waiting any more; kept for a while. For the principal whose script it is and the owners of its project; without a project, administrators.',
  extensions: { personal: true },
  fields: (t) => ({
    id: t.id({ description: 'Opaque and stable.', resolve: ({ id }) => encodeId('AbandonedExecution', id) }),
    replyTo: t.exposeString('reply_to', { description: 'For which reply somebody waited.' }),
    execution: t.field({
      type: Execution,
      nullable: true,
      description: 'The attempt; null once it is kept no longer.',
      resolve: (abandoned, _args, context) => executionLoader(context).load(abandoned.execution_id),
    }),
    script: t.field({
      type: Script,
      nullable: true,
      description: 'What was run.',
      resolve: ({ script_id: id }, _args, context) => (id === null ? null : scriptLoader(context).load(id)),
    }),
    result: t.field({
      type: 'JSON',
      nullable: true,
      description: 'What came back.',
      resolve: ({ id }, _args, context) => loadHeavyColumn(context, 'abandoned_executions.result', id),
    }),
    error: t.exposeString('error', { nullable: true, description: 'Why it failed; null if it did not.' }),
    createdAt: t.field({ type: 'DateTime', description: 'When it was given up.', resolve: (a) => a.created_at }),
  }),
});

const AbandonedExecutionConnection = builder.connectionObject(
  {
    type: AbandonedExecution,
    name: 'AbandonedExecutionConnection',
    description: 'One page of results that nobody was waiting for.',
  },
  { name: 'AbandonedExecutionEdge', description: 'An abandoned execution with its cursor.' },
);

builder.queryFields((t) => ({
  executions: t.connection(
    {
      type: Execution,
      description: 'Attempts that the caller may see, the newest first. Scope triggers:admin.',
      args: {
        trigger: t.arg.id({ description: 'Only what this trigger or route set off.' }),
        script: t.arg.id({ description: 'Only of this script.' }),
      },
      resolve: async (_root, { trigger, script, ...args }, context) => {
        const page = readPage(args, executionOrder);
        const filter = {
          triggerId: trigger == null ? null : requireSourceKeyAt([], trigger),
          scriptId: script == null ? null : requireKeyAt([], 'Script', script),
        };
        return toConnection(await listExecutions(context, filter, page), page, executionOrder);
      },
    },
    ExecutionConnection,
  ),
  abandonedExecutions: t.connection(
    {
      type: AbandonedExecution,
      description: 'Results that came too late for whoever waited, the newest first. Scope triggers:admin.',
      resolve: async (_root, args, context) => {
        const page = readPage(args, abandonedOrder);
        return toConnection(await listAbandoned(context, page), page, abandonedOrder);
      },
    },
    AbandonedExecutionConnection,
  ),
}));
