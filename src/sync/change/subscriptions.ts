import type { Place } from '../../feed/cursor.ts';
import type { FeedEvent } from '../../feed/event.ts';
import type { Mark } from '../../feed/reader.ts';
import { addSubscription, type Follower, type LiveUpdate, type OwnLog } from '../../graphql/live.ts';
import { RequestError } from '../../kernel/errors.ts';
import { otherSight, sightOf } from '../sight.ts';
import { SyncPage, type SyncPageShape } from './graphql.ts';
import type { ChangeFilter } from './model.ts';
import { readPage, toFilter } from './service.ts';
import { listVisibleSpaces } from './store.ts';

type Update = LiveUpdate<SyncPageShape>;

/** What comes in one go and is more is for those who pull. */
const pageSize = { limit: 500, mostBytes: 4_000_000 } as const;
const pagesAtOnce = 3;

addSubscription({
  name: 'syncChanged',
  description:
    "What offline clients change, as it comes: each change once, in order, to the author's other clients and to the members of the space. With `after` it begins with what was missed since, however long ago. Changes are never merged: a client that lags too far behind loses its stream with RESYNC_REQUIRED and goes on from its cursor. Whoever comes into a space or leaves one loses it with CURSOR_EXPIRED: read syncRecords anew. Scope sync.",
  type: SyncPage,
  args: (arg) => ({
    appId: arg.string({ required: true, description: 'The app.' }),
    tables: arg.stringList({ description: 'Only these tables, 100 at most; all when left out.' }),
    excludeClientId: arg.string({ description: 'The client that asks: what it pushed itself is not told.' }),
  }),
  live: async (given, context) => {
    const filter = toFilter(given);
    const spaces = await listVisibleSpaces(context);
    return {
      topics: ['sync_changes', 'space_members'],
      of: [`user:${context.viewer.principalId}`, ...spaces.map((id) => `space:${id}` as const)],
      coalesce: false,
      log: logOf(filter, sightOf(spaces)),
      async open(opened) {
        // Before any subscriber's own beginning: whatever it is not told by then, this tells.
        const begun = await opened.feed.fresh();
        // A space that was joined since it was asked for, before anybody listened.
        if (sightOf(await listVisibleSpaces(opened)) !== sightOf(spaces)) throw otherSight();
        return follow(filter, sightOf(spaces), begun);
      },
    };
  },
});

/** The feed says that there is something; what it is, is read from the log of sync, up to where the feed was read. */
function follow(filter: ChangeFilter, sees: bigint, begun: Mark): Follower<SyncPageShape> {
  let told: Place = { ...begun.place, sees };
  return {
    async follow(events, context) {
      // Also one from before it was asked for is heard of.
      if (events.some(({ topic }) => topic === 'space_members') && sightOf(await listVisibleSpaces(context)) !== sees) {
        throw otherSight();
      }
      const updates: Update[] = [];
      const news = events.filter(({ page }) => page > begun.page);
      for (const [until, ofWindow] of Map.groupBy(news.filter(concerns(filter)), windowOf)) {
        let pages = 0;
        for (let hasMore = until !== told.prev; hasMore; pages += 1) {
          if (pages === pagesAtOnce) throw tooMuchAtOnce();
          const page = await readPage(context, filter, { ...pageSize, after: told, until });
          if (page.changes.length > 0) updates.push({ event: ofWindow.at(-1) ?? null, ...toUpdate(page) });
          told = page.place;
          hasMore = page.hasMore;
        }
      }
      return updates;
    },
  };
}

function concerns({ appId, tables, excludeClientId }: ChangeFilter): (event: FeedEvent) => boolean {
  return ({ data }) => {
    const facts = data as { app_id?: string; client_id?: string; tables?: string[] | null };
    return (
      facts.app_id === appId &&
      facts.client_id !== excludeClientId &&
      (tables === null || facts.tables == null || facts.tables.some((table) => tables.includes(table)))
    );
  };
}

/** The snapshot up to which the feed was read when it brought an event. */
function windowOf({ place }: FeedEvent): string {
  return place.within?.next ?? place.prev;
}

function toUpdate(page: SyncPageShape): Pick<Update, 'key' | 'shape' | 'place'> {
  return { key: '', shape: { ...page, hasMore: false }, place: page.place };
}

function logOf(filter: ChangeFilter, sees: bigint): OwnLog<SyncPageShape> {
  return {
    sees,
    async read(context, after, until) {
      const page = await readPage(context, filter, { ...pageSize, after, until });
      const updates: Update[] = page.changes.length === 0 ? [] : [{ event: null, ...toUpdate(page) }];
      // A window of before ends first, and what came since is in the next.
      return { updates, place: page.place, complete: !page.hasMore && page.place.prev === until };
    },
  };
}

function tooMuchAtOnce(): RequestError {
  return new RequestError(
    'RESYNC_REQUIRED',
    'More came at once than is told live: subscribe again with the cursor given, or pull.',
  );
}
