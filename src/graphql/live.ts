import type { ArgBuilder, InputFieldMap, InputShapeFromFields, ObjectRef } from '@pothos/core';
import type { RequestContext } from '../auth/context.ts';
import type { Place } from '../feed/cursor.ts';
import type { FeedEvent, Owner, Topic } from '../feed/event.ts';
import { builder, type SchemaTypes } from './builder.ts';
import { byKey } from './loaders.ts';

/**
 * What a subscription is made of: which topics of the log it follows, and what their events mean to it. How it is
 * executed, shared between subscribers, queued and replayed is the server's affair.
 */
export interface LiveUpdate<Shape> {
  /** The event that it tells of; null for what only the clock changed. */
  event: FeedEvent | null;
  /** Which thing it is about: a newer update of the same thing takes the place of one that still waits. */
  key: string;
  shape: Shape;
  /**
   * It matters only to those who may have seen, in a query or a replay of their own, what nobody was told: who began to
   * watch after this page of the log.
   */
  doubtfulSince?: number;
  /** Of what keeps an order of its own, where it stands there. */
  number?: number;
  /** Of what keeps a log of its own, how far whoever is told this has read there. */
  place?: Place;
}

/**
 * What keeps an order of its own (a chat its numbers) reaches further back than the log, and costs less to read: those who
 * come back are told from there what they missed, however long ago, and from then on from the log.
 */
export interface OwnOrder<Shape> {
  /** The UUID of what keeps it: a cursor says of what its number is. */
  of: string;
  /** Where an event stands in it; null: nowhere. An event's number is greater than those of the events before it. */
  numberOf(event: FeedEvent): number | null;
  /**
   * What follows after a number, some of it, as it stands now: each update with its number.
   * @throws RequestError CURSOR_EXPIRED when the order has not come so far
   */
  read(context: RequestContext, after: number): Promise<{ updates: LiveUpdate<Shape>[]; complete: boolean }>;
}

/**
 * What keeps a log of its own (sync), read between snapshots as the feed is: the feed says only when there is something to
 * read. Cursors are places in that log, so that a client may go on by a query as well.
 */
export interface OwnLog<Shape> {
  /** What a cursor of that log carries besides its place: see `Place.sees`. */
  sees: bigint;
  /**
   * What became visible between a place and a snapshot, some of it: each update with its place.
   * @throws RequestError CURSOR_EXPIRED when the place is none of this log's past
   */
  read(
    context: RequestContext,
    after: Place,
    until: string,
  ): Promise<{ updates: LiveUpdate<Shape>[]; place: Place; complete: boolean }>;
}

/** One subscription's way of following, shared by all who asked for the same. */
export interface Follower<Shape> {
  /**
   * What events mean, in their order. Rows are read now, in one statement for all.
   * @param replayed they lie in the past of a client that comes back: what it knew is unknown
   */
  follow(events: readonly FeedEvent[], context: RequestContext, replayed: boolean): Promise<LiveUpdate<Shape>[]>;
  /** For what changes by the clock alone. */
  clock?: {
    /** When something may be due, in milliseconds since the epoch; null: not before the next event. */
    readonly dueAtMs: number | null;
    follow(context: RequestContext): Promise<LiveUpdate<Shape>[]>;
    /** What a client that comes back cannot have heard of through events. */
    onResume(context: RequestContext): Promise<LiveUpdate<Shape>[]>;
  };
}

export interface LiveOptions<Shape> {
  topics: readonly Topic[];
  /** Only what is of these. */
  of?: readonly Owner[];
  /** States of one thing coalesce while they wait; what is appended never does. */
  coalesce: boolean;
  /** Begins to follow. Called once for all who share it, after its events are being queued. */
  open: (context: RequestContext) => Promise<Follower<Shape>>;
  order?: OwnOrder<Shape>;
  log?: OwnLog<Shape>;
  /** The number in that order after which this client wants to be told, where it said so itself. */
  from?: number | null;
}

/** Arguments that say where a client wants to go on: those who differ in them alone share one following. */
export const beginningArguments: readonly string[] = ['after', 'afterSequence'];

/**
 * What a subscription field's `subscribe` answers. Not to be iterated by itself: the server takes it apart, so that those
 * who ask for the same share one of it.
 */
export class LiveSource<Shape = unknown> implements AsyncIterable<Shape> {
  readonly options: LiveOptions<Shape>;
  /** The client's cursor: what came after it is told first. */
  readonly after: string | null;

  constructor(options: LiveOptions<Shape>, after: string | null) {
    this.options = options;
    this.after = after;
  }

  [Symbol.asyncIterator](): AsyncIterator<Shape> {
    throw new Error('a live source is followed through the server');
  }
}

/** What every update carries; the server fills it in. */
export interface WithCursor {
  cursor?: string;
}

const afterDescription =
  'A cursor from a query, a payload or an earlier event: what came after it is told first, then it goes on live, without a gap. Refused with CURSOR_EXPIRED when the log no longer reaches back so far.';

/** Adds a subscription; `after` is an argument of each. */
export function addSubscription<Shape extends WithCursor, Args extends InputFieldMap>(options: {
  name: string;
  description: string;
  type: ObjectRef<SchemaTypes, Shape>;
  args: (arg: ArgBuilder<SchemaTypes>) => Args;
  /** Checks the arguments; what is wrong with them is thrown here. */
  live: (
    args: InputShapeFromFields<Args>,
    context: RequestContext,
    after: string | null,
  ) => Promise<LiveOptions<Shape>>;
}): void {
  builder.subscriptionField(options.name, (t) =>
    t.field({
      type: options.type,
      description: options.description,
      args: { ...options.args(t.arg), after: t.arg({ type: 'Cursor', description: afterDescription }) },
      subscribe: async (_root, args, context) => {
        const { after = null, ...own } = args as { after?: string | null };
        return new LiveSource(await options.live(own as InputShapeFromFields<Args>, context, after), after) as never;
      },
      resolve: (update: unknown) => update as never,
    }),
  );
}

export const cursorDescription = 'Go on from here: give it as `after`, also to another subscription.';

/**
 * The way to follow rows as they change: those that still are are read now, in one statement, and given to each event of
 * theirs. Of what has gone meanwhile only the event that says so is told.
 */
export function followRows<Row extends { id: string }, Shape>(options: {
  concerns: (event: FeedEvent) => boolean;
  isDeletion: (event: FeedEvent) => boolean;
  load: (context: RequestContext, ids: readonly string[]) => Promise<Row[]>;
  shape: (event: FeedEvent, row: Row | null) => Shape;
}): Follower<Shape> {
  const { concerns, isDeletion, load, shape } = options;
  return {
    async follow(events, context) {
      const relevant = events.filter(concerns);
      const present = [...new Set(relevant.filter((event) => !isDeletion(event)).map((event) => event.entity_id))];
      const rows = byKey(present.length === 0 ? [] : await load(context, present), (row) => row.id);
      return relevant
        .filter((event) => isDeletion(event) || rows.has(event.entity_id))
        .map((event) => ({
          event,
          key: event.entity_id,
          shape: shape(event, isDeletion(event) ? null : (rows.get(event.entity_id) ?? null)),
        }));
    },
  };
}
