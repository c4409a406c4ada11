import type { Viewer } from '../../auth/context.ts';
import type { FeedEvent } from '../../feed/event.ts';
import { builder } from '../../graphql/builder.ts';
import { Change } from '../../graphql/change.ts';
import { addSubscription, cursorDescription, type LiveUpdate, type WithCursor } from '../../graphql/live.ts';
import { byKey } from '../../graphql/loaders.ts';
import { requireKeyAt, requireSourceKeyAt } from '../call.ts';
import { mayBeFor } from '../sight.ts';
import { Execution } from './graphql.ts';
import type { ExecutionFilter, ExecutionRow } from './model.ts';
import { listExecutionsById } from './store.ts';

interface ExecutionUpdateShape extends WithCursor {
  execution: ExecutionRow;
}

const ExecutionUpdate = builder.objectRef<ExecutionUpdateShape>('ExecutionUpdate').implement({
  description: 'An attempt that ended.',
  extensions: { personal: true },
  fields: (t) => ({
    cursor: t.field({ type: 'Cursor', description: cursorDescription, resolve: (update) => update.cursor ?? '' }),
    change: t.field({
      type: Change,
      description: 'Always UPDATED: it ran, and ended.',
      resolve: () => 'updated' as const,
    }),
    execution: t.field({ type: Execution, description: 'The attempt.', resolve: (update) => update.execution }),
  }),
});

addSubscription({
  name: 'executionFinished',
  description:
    'Attempts as they end, each exactly once, of those that the caller may see. Never merged: a client that lags too far behind loses its stream with RESYNC_REQUIRED. Scope triggers:admin.',
  type: ExecutionUpdate,
  args: (arg) => ({
    trigger: arg.id({ description: 'Only what this trigger or route set off.' }),
    script: arg.id({ description: 'Only of this script.' }),
  }),
  live: async ({ trigger, script }) => {
    const filter: ExecutionFilter = {
      triggerId: trigger == null ? null : requireSourceKeyAt([], trigger),
      scriptId: script == null ? null : requireKeyAt([], 'Script', script),
    };
    return {
      topics: ['executions'],
      coalesce: false,
      open: async () => ({
        async follow(events, context) {
          const relevant = events.filter((event) => concerns(event, filter, context.viewer));
          if (relevant.length === 0) return [];
          const ids = relevant.map((event) => event.entity_id);
          const rows = byKey(await listExecutionsById(context, ids), (execution) => execution.id);
          return relevant.flatMap((event): LiveUpdate<ExecutionUpdateShape>[] => {
            const execution = rows.get(event.entity_id);
            return execution === undefined ? [] : [{ event, key: '', shape: { execution } }];
          });
        },
      }),
    };
  },
});

/** What the event's own facts rule out is not looked up. */
function concerns(event: FeedEvent, { triggerId, scriptId }: ExecutionFilter, viewer: Viewer): boolean {
  const facts = event.data as { trigger_id?: string | null; script_id?: string };
  return (
    (triggerId == null || facts.trigger_id === triggerId) &&
    (scriptId == null || facts.script_id === scriptId) &&
    mayBeFor(event, viewer)
  );
}
