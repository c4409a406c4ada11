import {
  createSourceEventStream,
  type ExecutionArgs,
  type ExecutionResult,
  type ValidatedSubscriptionArgs,
  validateSubscriptionArgs,
} from 'graphql';
import type { Viewer } from '../../auth/context.ts';
import type { Place } from '../../feed/cursor.ts';
import type { Feed } from '../../feed/feed.ts';
import { LiveSource } from '../../graphql/live.ts';
import { RequestError } from '../../kernel/errors.ts';
import type { ServerContext } from '../plugins.ts';
import { catchUp } from './catch-up.ts';
import { Group, type GroupOptions } from './group.ts';
import { createHeld } from './held.ts';
import { keyOf } from './key.ts';
import type { Handed } from './result.ts';
import { Subscriber } from './subscriber.ts';

/**
 * Subscriptions, for every transport: ten thousand who watch the same thing cost one execution per event. Those share who
 * sent the same document with the same variables (but for `after`) and may see the same.
 */
export interface Live {
  subscribe(args: ExecutionArgs): Promise<AsyncIterableIterator<Handed> | ExecutionResult>;
  readonly figures: LiveFigures;
  close(): void;
}

export interface LiveFigures {
  subscribers: number;
  /** Since the start. */
  begun: number;
  groups: number;
  /** Results that wait for their clients, over all subscribers. */
  queued: number;
  longestQueue: number;
  /** What waits, in bytes. */
  queuedBytes: number;
}

export interface LiveOptions
  extends Pick<GroupOptions, 'feed' | 'queueSize' | 'toClientError' | 'onExecuted' | 'onDelivered'> {
  /** How long a client may read nothing while something waits for it. */
  stallMs: number;
  /** What may wait for all clients together. */
  heldBytes: number;
  onDropped: (reason: 'resync' | 'stalled') => void;
}

/** Each holds a queue and a result set in memory: what one caller can make of it has an end. */
const mostGroupsPerPrincipal = 500;
const sweepMs = 250;

export function createLive(options: LiveOptions): Live {
  const { feed } = options;
  const groups = new Map<string, Group>();
  /** What each principal watches, and with how many subscriptions. */
  const watchedBy = new Map<string, Map<string, number>>();
  const subscribers = new Map<Subscriber, ServerContext>();
  const held = createHeld();
  let begun = 0;

  // One look at all of them, instead of a timer for each that comes and goes with every result.
  const sweep = setInterval(() => {
    const latest = performance.now() - options.stallMs;
    // Many streams that each wait within bounds can be too much together: the heaviest goes first.
    while (held.bytes > options.heldBytes) {
      const [heaviest] = [...subscribers.keys()].toSorted((one, other) => other.weight - one.weight);
      if (heaviest === undefined || heaviest.weight === 0) break;
      heaviest.fail(
        new RequestError('RESYNC_REQUIRED', 'Too much waits for clients: subscribe again with the cursor given.'),
      );
    }
    for (const [subscriber, context] of subscribers) {
      if (subscriber.waitingSince !== null && subscriber.waitingSince < latest) {
        options.onDropped('stalled');
        context.connection?.end('stalled');
        subscriber.finish();
      }
    }
  }, sweepMs);
  sweep.unref();

  function groupOf(key: string, args: ValidatedSubscriptionArgs, source: LiveSource): Group {
    const known = groups.get(key);
    if (known !== undefined) return known;
    const group: Group = new Group({
      ...options,
      args,
      source,
      onEnd: () => {
        if (groups.get(key) === group) groups.delete(key);
      },
    });
    groups.set(key, group);
    return group;
  }

  /** @throws RequestError LIMIT_EXCEEDED when a principal would watch too many different things */
  function countFor({ principalId }: Viewer, key: string): () => void {
    const watched = watchedBy.get(principalId) ?? new Map<string, number>();
    if (!watched.has(key) && watched.size >= mostGroupsPerPrincipal) {
      throw new RequestError(
        'LIMIT_EXCEEDED',
        `A principal watches at most ${mostGroupsPerPrincipal} different things at once: ask for the same ones, or for less.`,
      );
    }
    watchedBy.set(principalId, watched.set(key, (watched.get(key) ?? 0) + 1));
    return () => {
      const left = (watched.get(key) ?? 1) - 1;
      if (left > 0) watched.set(key, left);
      else watched.delete(key);
      if (watched.size === 0 && watchedBy.get(principalId) === watched) watchedBy.delete(principalId);
    };
  }

  async function begin(
    args: ValidatedSubscriptionArgs,
    source: LiveSource,
    key: string,
  ): Promise<AsyncIterableIterator<Handed>> {
    const context = args.contextValue as ServerContext;
    // What is no cursor is said before anything is set up for it.
    const { after, from } = beginningOf(source, feed);
    const isNew = after === null && from === null;
    context.connection?.hold();
    const uncount = countFor(context.viewer, key);
    const group = groupOf(key, args, source);
    let forget: (() => void) | undefined;
    const subscriber: Subscriber = new Subscriber({
      capacity: options.queueSize,
      cursor: source.after,
      held,
      toFailure: (error) => {
        if (error instanceof RequestError && error.code === 'RESYNC_REQUIRED') options.onDropped('resync');
        return options.toClientError(error, context);
      },
      onEnd: () => {
        uncount();
        forget?.();
        subscribers.delete(subscriber);
        group.leave(subscriber);
      },
    });
    // Nothing reaches it yet: it is told either what came after its cursor or what comes after now.
    group.subscribers.add(subscriber);
    // A transport that goes before it is given the stream cannot end it.
    forget = context.connection?.onRelease(() => subscriber.finish());
    if (subscriber.ended) return subscriber;
    try {
      if (isNew) subscriber.begin(await present(source, feed));
      await group.opened;
    } catch (error) {
      subscriber.finish();
      throw error;
    }
    if (!subscriber.ended) subscribers.set(subscriber, context);
    begun += 1;
    if (!isNew) {
      catchUp({ feed, subscriber, group, after, from }).catch((error: unknown) => subscriber.fail(error));
    }
    return subscriber;
  }

  return {
    async subscribe(args) {
      const context = args.contextValue as ServerContext;
      const refused = (errors: readonly unknown[]) => ({
        errors: errors.map((error) => options.toClientError(error, context)),
      });
      try {
        const validated = validateSubscriptionArgs(args);
        if (!('schema' in validated)) return refused(validated);
        const source = await createSourceEventStream(validated);
        if (source instanceof LiveSource) return await begin(validated, source, keyOf(args));
        return refused((source as ExecutionResult).errors ?? []);
      } catch (error) {
        return refused([error]);
      }
    },
    get figures() {
      let queued = 0;
      let longestQueue = 0;
      for (const { depth } of subscribers.keys()) {
        queued += depth;
        longestQueue = Math.max(longestQueue, depth);
      }
      return {
        subscribers: subscribers.size,
        begun,
        groups: groups.size,
        queued,
        longestQueue,
        queuedBytes: held.bytes,
      };
    },
    close: () => {
      clearInterval(sweep);
      for (const subscriber of [...subscribers.keys()]) subscriber.finish();
    },
  };
}

/** Where a client wants to go on: after a cursor, or also after a number in an order that what it watches keeps itself. */
function beginningOf({ after: cursor, options }: LiveSource, feed: Feed): { after: Place | null; from: number | null } {
  const after = cursor === null ? null : feed.placeOf(cursor, options.log === undefined ? 'feed' : 'sync');
  const given = after?.inOrder?.of === options.order?.of ? after?.inOrder?.number : null;
  return { after, from: options.from ?? given ?? null };
}

/** How far whoever begins now need not be told, and its cursor. */
async function present({ options: { log } }: LiveSource, feed: Feed): Promise<{ page: number; cursor: string }> {
  const { page, place } = await feed.fresh();
  return { page, cursor: feed.cursorOf(log === undefined ? place : { ...place, sees: log.sees }) };
}
