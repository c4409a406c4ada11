import type { FeedEvent } from '../feed/event.ts';
import { builder } from '../graphql/builder.ts';
import { Change, changeOf } from '../graphql/change.ts';
import { addSubscription, cursorDescription, type LiveOptions, type WithCursor } from '../graphql/live.ts';
import { encodeId } from '../kernel/ids.ts';
import { Project, projectLoader } from '../registry/project/graphql.ts';
import { MirrorDirection } from './graphql.ts';
import { type Direction, fieldName } from './model.ts';

interface MirrorUpdateShape extends WithCursor {
  event: FeedEvent;
}

function factsOf({ event }: MirrorUpdateShape): { direction: Direction; mai_id: string } {
  return event.data as { direction: Direction; mai_id: string };
}

const MirrorUpdate = builder.objectRef<MirrorUpdateShape>('MirrorUpdate').implement({
  description: 'Something that the mirror brought from one side to the other.',
  fields: (t) => ({
    cursor: t.field({ type: 'Cursor', description: cursorDescription, resolve: (update) => update.cursor ?? '' }),
    change: t.field({
      type: Change,
      description: 'CREATED: it began to be mirrored; UPDATED: fields travelled; DELETED: it is mirrored no longer.',
      resolve: ({ event }) => changeOf(event.op),
    }),
    direction: t.field({
      type: MirrorDirection,
      description: 'Which way it went: the side that it was written on is the other one.',
      resolve: (update) => factsOf(update).direction,
    }),
    changedFields: t.stringList({
      description:
        'What travelled: `name`, `description`, `remoteOrigin`, `trunkPath`, `memoryGroup`, `status`, `metadata`, or `maiId` for a row that got another id. Empty where all did.',
      resolve: ({ event }) => event.changed.map(fieldName),
    }),
    maiId: t.string({
      description: 'The id of the row of `mai.projects`.',
      resolve: (update) => factsOf(update).mai_id,
    }),
    projectId: t.id({ description: 'Which project.', resolve: ({ event }) => encodeId('Project', event.entity_id) }),
    project: t.field({
      type: Project,
      nullable: true,
      description: 'The project as it stands when this is sent; null once it is deleted for good.',
      resolve: ({ event }, _args, context) => projectLoader(context).load(event.entity_id),
    }),
  }),
});

addSubscription({
  name: 'mirrorChanged',
  description:
    'What the mirror brings from one side to the other, each by itself. The project itself changes in `projectChanged`. Scope registry:read.',
  type: MirrorUpdate,
  args: () => ({}),
  live: async (): Promise<LiveOptions<MirrorUpdateShape>> => ({
    topics: ['mirror'],
    coalesce: false,
    open: async () => ({
      follow: async (events) => events.map((event) => ({ event, key: event.entity_id, shape: { event } })),
    }),
  }),
});
