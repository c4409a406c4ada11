import type { FeedEvent } from '../../feed/event.ts';
import { builder } from '../../graphql/builder.ts';
import { Change } from '../../graphql/change.ts';
import { addSubscription, cursorDescription, type LiveUpdate, type WithCursor } from '../../graphql/live.ts';
import { byKey } from '../../graphql/loaders.ts';
import { requireProjectId } from '../project/service.ts';
import { Activity, ActivityFilterInput } from './graphql.ts';
import type { ActivityFilter, ActivityRow } from './model.ts';
import { listActivitiesById } from './store.ts';

interface ActivityUpdateShape extends WithCursor {
  activity: ActivityRow;
}

const ActivityUpdate = builder.objectRef<ActivityUpdateShape>('ActivityUpdate').implement({
  description: 'An activity that was logged.',
  fields: (t) => ({
    cursor: t.field({ type: 'Cursor', description: cursorDescription, resolve: (update) => update.cursor ?? '' }),
    change: t.field({
      type: Change,
      description: 'Always CREATED: activities are never changed.',
      resolve: () => 'created' as const,
    }),
    activity: t.field({ type: Activity, description: 'What was done.', resolve: (update) => update.activity }),
  }),
});

addSubscription({
  name: 'activityLogged',
  description:
    'What agents do, as it is logged, each activity exactly once. Activities are never merged: a client that lags too far behind loses its stream with RESYNC_REQUIRED. Scope registry:read.',
  type: ActivityUpdate,
  args: (arg) => ({ filter: arg({ type: ActivityFilterInput, description: 'Which ones; all when left out.' }) }),
  live: async ({ filter }, context) => {
    const projectId = filter?.project == null ? null : await requireProjectId(context, filter.project);
    const wanted: ActivityFilter = { ...filter, project: projectId === null ? null : { id: projectId } };
    return {
      topics: ['activities'],
      coalesce: false,
      open: async () => ({
        async follow(events, shared) {
          const relevant = events.filter((event) => mayMatch(event, wanted, projectId));
          if (relevant.length === 0) return [];
          const ids = relevant.map((event) => event.entity_id);
          const rows = byKey(await listActivitiesById(shared.db, ids, wanted), (activity) => activity.id);
          return relevant.flatMap((event): LiveUpdate<ActivityUpdateShape>[] => {
            const activity = rows.get(event.entity_id);
            return activity === undefined ? [] : [{ event, key: '', shape: { activity } }];
          });
        },
      }),
    };
  },
});

/** What the event's own facts rule out is not looked up. */
function mayMatch(event: FeedEvent, filter: ActivityFilter, projectId: string | null): boolean {
  const { type } = event.data as { type: (typeof filter.type & string[])[number] };
  return (
    (filter.agentId == null || event.agent_id === filter.agentId) &&
    (filter.type == null || filter.type.includes(type as never)) &&
    (projectId === null || event.project_id === projectId)
  );
}
