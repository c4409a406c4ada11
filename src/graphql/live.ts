import type { ArgBuilder, InputFieldMap, InputShapeFromFields, ObjectRef } from '@pothos/core';
import type { RequestContext } from '../auth/context.ts';
import type { FeedEvent, Topic } from '../feed/event.ts';
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
  /** States of one thing coalesce while they wait; what is appended never does. */
  coalesce: boolean;
  /** Begins to follow. Called once for all who share it, after its events are being queued. */
  open: (context: RequestContext) => Promise<Follower<Shape>>;
}

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
  live: (args: InputShapeFromFields<Args>, context: RequestContext) => Promise<LiveOptions<Shape>>;
}): void {
  builder.subscriptionField(options.name, (t) =>
    t.field({
      type: options.type,
      description: options.description,
      args: { ...options.args(t.arg), after: t.arg({ type: 'Cursor', description: afterDescription }) },
      subscribe: async (_root, args, context) => {
        const { after, ...own } = args as { after?: string | null };
        return new LiveSource(await options.live(own as InputShapeFromFields<Args>, context), after ?? null) as never;
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
