import type { Place } from '../../feed/cursor.ts';
import type { Feed } from '../../feed/feed.ts';
import type { OwnLog, OwnOrder, WithCursor } from '../../graphql/live.ts';
import type { Group } from './group.ts';
import type { Subscriber } from './subscriber.ts';

/** Somebody who comes back: to be told what was missed, then what comes, without a gap and nothing twice. */
export interface Return {
  feed: Feed;
  subscriber: Subscriber;
  group: Group;
  /** The cursor that the client has, if it has one. */
  after: Place | null;
  /** How far it has come in an order that what it watches keeps itself, if that is known. */
  from: number | null;
}

/** @throws what the subscriber's stream is to end with */
export async function catchUp(back: Return): Promise<void> {
  const { order, log } = back.group;
  if (order !== undefined) return inOrder(back, order);
  if (back.after === null) throw new Error('nobody begins at a number where there is no order');
  return log === undefined ? fromLog(back, back.after) : fromOwnLog(back, log, back.after);
}

async function fromLog({ feed, subscriber, group }: Return, after: Place): Promise<void> {
  const { topics } = group;
  let place = after;
  subscriber.hold();
  for (const delivery of await group.resume(after)) await subscriber.replay(delivery);
  do {
    // Everything from before this call is in the replay, everything after it comes from the group.
    const mark = await feed.fresh();
    subscriber.page = mark.page;
    for await (const delivery of group.replay({
      after: place,
      until: mark.place,
      topics,
      isWanted: () => !subscriber.ended,
    })) {
      if (subscriber.ended) return;
      await subscriber.replay(delivery);
    }
    place = mark.place;
  } while (!subscriber.ended && !subscriber.join());
  // What it was told of in its replay was read until now. Not knowing when costs it at most a LEFT of what it never saw.
  await feed.fresh().then(
    ({ page }) => {
      subscriber.ownViewUntil = page;
    },
    () => undefined,
  );
}

async function fromOwnLog({ feed, subscriber, group }: Return, log: OwnLog<WithCursor>, after: Place): Promise<void> {
  let place = after;
  do {
    subscriber.hold();
    // Everything that was visible then is read below, everything that becomes visible later comes from the group.
    const mark = await feed.fresh();
    subscriber.page = mark.page;
    for (let complete = false; !complete && !subscriber.ended; ) {
      const from = place;
      const read = await feed.inTurn(() => group.readLog(log, from, mark.place.prev));
      for (const delivery of read.deliveries) {
        if (subscriber.ended) return;
        await subscriber.replay(delivery);
      }
      ({ place, complete } = read);
    }
  } while (!subscriber.ended && !subscriber.join());
}

async function inOrder(back: Return, order: OwnOrder<WithCursor>): Promise<void> {
  const { feed, subscriber, group } = back;
  let number = back.from;
  do {
    subscriber.hold();
    // What is published after this call waits in the group; what is read after it may be among that, by its number.
    const { place, page } = await feed.fresh();
    subscriber.page = page;
    number ??= await beforeFirstMissed(back, order, place);
    // Nothing was missed until here.
    if (number === null) continue;
    for (let complete = false; !complete && !subscriber.ended; ) {
      const from: number = number;
      const read = await feed.inTurn(() => group.readOn(order, from, place));
      for (const delivery of read.deliveries) {
        if (subscriber.ended) return;
        await subscriber.replay(delivery);
        number = delivery.number ?? number;
      }
      complete = read.complete;
    }
    subscriber.toldThrough = number;
  } while (!subscriber.ended && !subscriber.join());
}

/** The number just before that of the first event after a cursor of the log; null: there was none. */
async function beforeFirstMissed(back: Return, order: OwnOrder<WithCursor>, until: Place): Promise<number | null> {
  const { feed, subscriber, group, after } = back;
  if (after === null) return null;
  const { topics } = group;
  for await (const events of feed.replay({ after, until, topics, isWanted: () => !subscriber.ended })) {
    const number = events.map((event) => order.numberOf(event)).find((found) => found !== null);
    if (number !== undefined) return number - 1;
  }
  return null;
}
