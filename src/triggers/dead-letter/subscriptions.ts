import { builder } from '../../graphql/builder.ts';
import { Change } from '../../graphql/change.ts';
import { addSubscription, cursorDescription, type LiveUpdate, type WithCursor } from '../../graphql/live.ts';
import { byKey } from '../../graphql/loaders.ts';
import { mayBeFor } from '../sight.ts';
import { DeadLetter } from './graphql.ts';
import type { DeadLetterRow } from './model.ts';
import { listDeadLettersById } from './store.ts';

interface DeadLetterUpdateShape extends WithCursor {
  letter: DeadLetterRow;
}

const DeadLetterUpdate = builder.objectRef<DeadLetterUpdateShape>('DeadLetterUpdate').implement({
  description: 'A delivery that failed for good.',
  extensions: { personal: true },
  fields: (t) => ({
    cursor: t.field({ type: 'Cursor', description: cursorDescription, resolve: (update) => update.cursor ?? '' }),
    change: t.field({
      type: Change,
      description: 'Always CREATED: what becomes of it is not told here.',
      resolve: () => 'created' as const,
    }),
    deadLetter: t.field({
      type: DeadLetter,
      description: 'The dead letter as it stands when this is sent.',
      resolve: (update) => update.letter,
    }),
  }),
});

addSubscription({
  name: 'deadLetterOpened',
  description:
    'Dead letters as they come, each exactly once, of those that the caller may see. Never merged: a client that lags too far behind loses its stream with RESYNC_REQUIRED. Scope triggers:admin.',
  type: DeadLetterUpdate,
  args: () => ({}),
  live: async () => ({
    topics: ['dead_letters'],
    coalesce: false,
    open: async () => ({
      async follow(events, context) {
        const relevant = events.filter((event) => mayBeFor(event, context.viewer));
        if (relevant.length === 0) return [];
        const ids = relevant.map((event) => event.entity_id);
        const rows = byKey(await listDeadLettersById(context, ids), (letter) => letter.id);
        return relevant.flatMap((event): LiveUpdate<DeadLetterUpdateShape>[] => {
          const letter = rows.get(event.entity_id);
          return letter === undefined ? [] : [{ event, key: '', shape: { letter } }];
        });
      },
    }),
  }),
});
