import { setImmediate } from 'node:timers/promises';
import {
  type ExecutionResult,
  executeSubscriptionEvent,
  type GraphQLError,
  type ValidatedSubscriptionArgs,
} from 'graphql';
import type { Place } from '../../feed/cursor.ts';
import { type FeedEvent, merge } from '../../feed/event.ts';
import type { Feed } from '../../feed/feed.ts';
import type { Following } from '../../feed/hub.ts';
import type { Follower, LiveSource, LiveUpdate, OwnLog, OwnOrder, WithCursor } from '../../graphql/live.ts';
import { RequestError } from '../../kernel/errors.ts';
import type { ServerContext } from '../plugins.ts';
import { SharedResult } from './result.ts';
import { type Delivery, mostWaitingBytes, type Subscriber } from './subscriber.ts';

export interface GroupOptions {
  feed: Feed;
  args: ValidatedSubscriptionArgs;
  source: LiveSource;
  /** How many results may wait for one client. */
  queueSize: number;
  toClientError: (error: unknown, context: ServerContext) => GraphQLError;
  /** Nobody is left, or it failed. */
  onEnd: () => void;
  onExecuted: () => void;
  /** Milliseconds from an event's writing to its being handed to those who watch. */
  onDelivered: (latencyMs: number, subscribers: number) => void;
}

interface GroupDelivery extends Delivery {
  /** When its event was written; null for what only the clock changed. */
  at: string | null;
  page: number;
  doubtfulSince: number | undefined;
}

/**
 * How many events are executed at a time: they share the loaders' batches. Between two of those, clients read: a burst must
 * not overflow the queue of one that keeps up.
 */
const eventsAtOnce = 50;

/**
 * All who asked for the same: one following of the log, one execution per event, one text of its result.
 *
 * Each page of events has a context of its own: what is loaded is loaded after the events, by all of them together, and
 * nothing of it is left for the next page.
 */
export class Group {
  readonly subscribers = new Set<Subscriber>();
  /** Resolves when it follows; rejects when it cannot, for all who came meanwhile. */
  readonly opened: Promise<Follower<WithCursor>>;
  readonly #options: GroupOptions;
  readonly #following: Following;
  #ended = false;
  #turn: Promise<unknown> = Promise.resolve();
  #place: Place | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: GroupOptions) {
    this.#options = options;
    const { topics, of, coalesce, open } = options.source.options;
    // Followed before it opens: no change falls between what it begins with and what it hears of.
    this.#following = options.feed.follow({ topics, ...(of === undefined ? {} : { of }), coalesce });
    this.opened = open(this.#context()) as Promise<Follower<WithCursor>>;
    this.#run().catch((error: unknown) => this.#fail(error));
  }

  get topics(): LiveSource['options']['topics'] {
    return this.#options.source.options.topics;
  }

  get coalesces(): boolean {
    return this.#options.source.options.coalesce;
  }

  leave(subscriber: Subscriber): void {
    this.subscribers.delete(subscriber);
    if (this.subscribers.size === 0) this.#end();
  }

  /** What lies between a subscriber's cursor and a page, told to it alone. */
  async *replay(span: Parameters<Feed['replay']>[0]): AsyncGenerator<Delivery> {
    const follower = await this.opened;
    for await (const events of this.#options.feed.replay(span)) {
      const context = this.#context();
      const page = this.coalesces ? mergeStates(events) : events;
      yield* await this.#execute(await follower.follow(page, context, true), context);
    }
  }

  /** Where what this is about keeps an order of its own. */
  get order(): OwnOrder<WithCursor> | undefined {
    return this.#options.source.options.order as OwnOrder<WithCursor> | undefined;
  }

  /**
   * What follows after a number of that order, told to one subscriber alone.
   * @param place up to where the log has been told besides
   */
  async readOn(
    order: OwnOrder<WithCursor>,
    after: number,
    place: Place,
  ): Promise<{ deliveries: Delivery[]; complete: boolean }> {
    await this.opened;
    const context = this.#context();
    const { updates, complete } = await order.read(context, after);
    return { deliveries: await this.#execute(updates, context, place), complete };
  }

  /** Where what this is about keeps a log of its own. */
  get log(): OwnLog<WithCursor> | undefined {
    return this.#options.source.options.log as OwnLog<WithCursor> | undefined;
  }

  /** What that log holds after a place, up to a snapshot, told to one subscriber alone. */
  async readLog(
    log: OwnLog<WithCursor>,
    after: Place,
    until: string,
  ): Promise<{ deliveries: Delivery[]; place: Place; complete: boolean }> {
    await this.opened;
    const context = this.#context();
    const { updates, place, complete } = await log.read(context, after, until);
    return { deliveries: await this.#execute(updates, context, place), place, complete };
  }

  /** What a client that comes back could not learn from events. */
  async resume(place: Place): Promise<Delivery[]> {
    const { clock } = await this.opened;
    if (clock === undefined) return [];
    return this.#inTurn(async () => {
      const context = this.#context();
      return this.#execute(await clock.onResume(context), context, place);
    });
  }

  async #run(): Promise<void> {
    const follower = await this.opened;
    this.#place = this.#options.feed.mark().place;
    this.#setClock(follower);
    for (let events = await this.#take(); events !== null; events = await this.#take()) {
      await this.#inTurn(() => this.#tell(follower, events ?? []));
      this.#setClock(follower);
      await setImmediate();
    }
  }

  /** Events and the clock take turns: what is remembered of who was told what must not change in between. */
  #inTurn<Result>(act: () => Promise<Result>): Promise<Result> {
    const turn = this.#turn.then(act);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #tell(follower: Follower<WithCursor>, events: readonly FeedEvent[]): Promise<void> {
    const context = this.#context();
    const updates = await follower.follow(events, context, false);
    // What everybody here has otherwise, or does not wait for yet, is not executed.
    const wanted = updates.filter((update) => this.#isAwaited(update));
    this.#deliver(await this.#execute(wanted, context));
    this.#place = events.at(-1)?.place ?? this.#place;
  }

  #isAwaited({ event, doubtfulSince }: LiveUpdate<unknown>): boolean {
    for (const subscriber of this.subscribers) {
      if (isFor(subscriber, { page: event?.page ?? 0, doubtfulSince })) return true;
    }
    return false;
  }

  #take(): Promise<FeedEvent[] | null> {
    return this.#following.take(
      Math.min(eventsAtOnce, Math.floor(this.#options.queueSize / 2)),
      // With the last one it may be more, by one row.
      mostWaitingBytes / 4,
    );
  }

  #setClock(follower: Follower<WithCursor>): void {
    if (follower.clock === undefined || this.#ended) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const { dueAtMs } = follower.clock;
    if (dueAtMs === null) return;
    const longestTimerMs = 2 ** 31 - 1;
    this.#timer = setTimeout(() => this.#tick(follower), Math.min(Math.max(dueAtMs - Date.now(), 0), longestTimerMs));
    this.#timer.unref();
  }

  #tick(follower: Follower<WithCursor>): void {
    this.#inTurn(async () => {
      if (this.#ended || follower.clock === undefined) return;
      const context = this.#context();
      const deliveries = await this.#execute(await follower.clock.follow(context), context, this.#told());
      for (const delivery of deliveries) for (const subscriber of this.subscribers) subscriber.push(delivery);
    })
      .then(() => this.#setClock(follower))
      .catch((error: unknown) => this.#fail(error));
  }

  /** How far everybody here has been told: not how far the log has been read. */
  #told(): Place {
    return this.#place ?? this.#options.feed.mark().place;
  }

  /** @param place for what no event tells of */
  async #execute(
    updates: LiveUpdate<unknown>[],
    context: ServerContext,
    place: Place = this.#told(),
  ): Promise<GroupDelivery[]> {
    const deliveries: GroupDelivery[] = [];
    for (let from = 0; from < updates.length; from += eventsAtOnce) {
      const some = updates.slice(from, from + eventsAtOnce);
      deliveries.push(...(await Promise.all(some.map((update) => this.#executeOne(update, context, place)))));
    }
    return deliveries;
  }

  async #executeOne(
    { event, key, shape, doubtfulSince, number, place }: LiveUpdate<unknown>,
    contextValue: ServerContext,
    otherwise: Place,
  ) {
    const { prev, within } = place ?? event?.place ?? otherwise;
    const inOrder = this.order === undefined || number === undefined ? {} : { inOrder: { of: this.order.of, number } };
    const sees = this.log === undefined ? {} : { sees: this.log.sees };
    const cursor = this.#options.feed.cursorOf({ prev, within, ...inOrder, ...sees });
    const rootValue = { ...(shape as object), cursor };
    this.#options.onExecuted();
    const result = await executeSubscriptionEvent({ ...this.#options.args, rootValue, contextValue });
    return {
      result: this.#shared(result, contextValue, cursor),
      key: this.coalesces ? key : null,
      at: event?.at ?? null,
      page: event?.page ?? 0,
      doubtfulSince,
      number: number ?? null,
    };
  }

  #shared(result: ExecutionResult, context: ServerContext, cursor: string): SharedResult {
    try {
      return new SharedResult(this.#masked(result, context), cursor);
    } catch (cause) {
      // What is nested too deep, or too long, to be written.
      const error = new RequestError('LIMIT_EXCEEDED', 'This update cannot be written: ask for less at once.', {
        cause,
      });
      return new SharedResult({ data: null, errors: [this.#options.toClientError(error, context)] }, cursor);
    }
  }

  #masked(result: ExecutionResult, context: ServerContext): ExecutionResult {
    if (result.errors === undefined) return result;
    return { ...result, errors: result.errors.map((error) => this.#options.toClientError(error, context)) };
  }

  #deliver(deliveries: readonly GroupDelivery[]): void {
    const now = Date.now();
    for (const delivery of deliveries) {
      let count = 0;
      for (const subscriber of this.subscribers) {
        if (!isFor(subscriber, delivery)) continue;
        subscriber.push(delivery);
        count += 1;
      }
      if (delivery.at !== null) this.#options.onDelivered(now - Date.parse(delivery.at), count);
    }
  }

  /** Fresh for each page, so that no loader outlives it. */
  #context(): ServerContext {
    return { ...(this.#options.args.contextValue as ServerContext) };
  }

  #fail(error: unknown): void {
    // Logged once, for all of them; each goes on from its own cursor.
    if (!(error instanceof RequestError)) this.#options.toClientError(error, this.#context());
    const failure =
      error instanceof RequestError
        ? error
        : new RequestError(
            'RESYNC_REQUIRED',
            'The gateway could not read what changed: subscribe again with the cursor given.',
          );
    for (const subscriber of [...this.subscribers]) subscriber.fail(failure);
    this.#end();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#following.close();
    this.#options.onEnd();
  }
}

function isFor(
  subscriber: Subscriber,
  { page, doubtfulSince }: Pick<GroupDelivery, 'page' | 'doubtfulSince'>,
): boolean {
  return page > subscriber.page && (doubtfulSince === undefined || doubtfulSince <= subscriber.ownViewUntil);
}

/** Whoever replays reads each row as it now stands: of several events of one row, one tells it all. */
function mergeStates(events: readonly FeedEvent[]): FeedEvent[] {
  const merged = new Map<string, FeedEvent>();
  for (const event of events) {
    const key = `${event.topic}:${event.entity_id}`;
    const earlier = merged.get(key);
    merged.delete(key);
    merged.set(key, earlier === undefined ? event : merge(earlier, event));
  }
  return [...merged.values()];
}
