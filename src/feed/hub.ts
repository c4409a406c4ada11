import { RequestError } from '../kernel/errors.ts';

/**
 * Hands the events of a topic to whoever watches it. Each subscriber has a queue of its own with a bound: one that does
 * not keep up loses its stream with RESYNC_REQUIRED, and nobody else notices. Events of one row that wait in a queue
 * coalesce, because whoever is told reads the row as it then stands.
 */
export interface FeedEvent {
  op: 'insert' | 'update' | 'delete';
  /** The key of the row. */
  id: string;
}

export interface Subscription extends AsyncIterableIterator<FeedEvent> {
  return(): Promise<IteratorResult<FeedEvent>>;
}

export interface Hub {
  subscribe(topic: string): Subscription;
  publish(topic: string, event: FeedEvent): void;
  /** Ends every stream with RESYNC_REQUIRED: events may have been missed. */
  interrupt(reason: string): void;
  /** Ends every stream as finished. */
  close(): void;
  readonly subscribers: number;
}

export const mostQueuedEvents = 1_000;

export function createHub(): Hub {
  const topics = new Map<string, Set<Queue>>();

  function remove(topic: string, queue: Queue): void {
    const queues = topics.get(topic);
    queues?.delete(queue);
    if (queues?.size === 0) topics.delete(topic);
  }

  function each(act: (queue: Queue) => void): void {
    for (const queues of [...topics.values()]) for (const queue of [...queues]) act(queue);
  }

  return {
    subscribe(topic) {
      const queue: Queue = new Queue(() => remove(topic, queue));
      const queues = topics.get(topic) ?? new Set();
      topics.set(topic, queues.add(queue));
      return queue;
    },
    publish(topic, event) {
      for (const queue of topics.get(topic) ?? []) queue.push(event);
    },
    interrupt: (reason) => each((queue) => queue.fail(new RequestError('RESYNC_REQUIRED', reason))),
    close: () => each((queue) => void queue.return()),
    get subscribers() {
      let count = 0;
      each(() => {
        count += 1;
      });
      return count;
    },
  };
}

interface Waiting {
  resolve(result: IteratorResult<FeedEvent>): void;
  reject(error: unknown): void;
}

class Queue implements Subscription {
  /** Insertion order is delivery order; the key is the row, so that a newer event of it takes the place of an older one. */
  readonly #events = new Map<string, FeedEvent>();
  readonly #onEnd: () => void;
  #waiting: Waiting | null = null;
  #failure: unknown = null;
  #ended = false;

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  push(event: FeedEvent): void {
    if (this.#ended) return;
    if (this.#waiting !== null) {
      const { resolve } = this.#waiting;
      this.#waiting = null;
      resolve({ value: event, done: false });
      return;
    }
    const earlier = this.#events.get(event.id);
    // What came and changed meanwhile still came, for whoever has not been told yet.
    const op = earlier?.op === 'insert' && event.op === 'update' ? 'insert' : event.op;
    this.#events.set(event.id, op === event.op ? event : { ...event, op });
    if (this.#events.size > mostQueuedEvents) {
      this.#events.clear();
      this.fail(
        new RequestError('RESYNC_REQUIRED', 'Events came faster than they were read: query again, then subscribe.'),
      );
    }
  }

  fail(error: unknown): void {
    if (this.#ended) return;
    this.#end();
    if (this.#waiting === null) this.#failure = error;
    else this.#waiting.reject(error);
    this.#waiting = null;
  }

  next(): Promise<IteratorResult<FeedEvent>> {
    const [first] = this.#events;
    if (first !== undefined) {
      this.#events.delete(first[0]);
      return Promise.resolve({ value: first[1], done: false });
    }
    if (this.#failure !== null) {
      const failure = this.#failure;
      this.#failure = null;
      return Promise.reject(failure);
    }
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<FeedEvent>>();
    this.#waiting = { resolve, reject };
    return promise;
  }

  return(): Promise<IteratorResult<FeedEvent>> {
    this.#events.clear();
    this.#end();
    this.#waiting?.resolve({ value: undefined, done: true });
    this.#waiting = null;
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd();
  }
}
