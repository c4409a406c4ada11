import { RequestError } from '../kernel/errors.ts';
import { type FeedEvent, merge, type Owner, ownersOf, type Topic, weightOf } from './event.ts';

/**
 * Hands the log's events to whoever follows their topic. Each follower has a queue of its own with a bound; one that does
 * not keep up loses its stream, and nobody else notices. Where events are states, those of one row that wait coalesce,
 * because whoever is told reads the row as it then stands; where each counts, none is ever merged or skipped.
 */
export interface Following {
  /**
   * Waits for events and takes those that there are, up to `most` and up to the first whose rows make `mostBytes` together;
   * null once the following was closed.
   */
  take(most?: number, mostBytes?: number): Promise<FeedEvent[] | null>;
  close(): void;
}

export interface FollowOptions {
  topics: readonly Topic[];
  /** Only events of these; left out: of all. */
  of?: readonly Owner[];
  /** Whether events of one row coalesce while they wait. */
  coalesce: boolean;
  /** How many events may wait: a bound on memory. */
  capacity?: number;
}

export interface Hub {
  follow(options: FollowOptions): Following;
  /** Called with each page as it is published: for the gateway's own needs, which keep no queue. */
  tap(topics: readonly Topic[], listener: (events: readonly FeedEvent[]) => void): () => void;
  publish(events: readonly FeedEvent[]): void;
  /** Ends every following with this error: the log cannot be followed from where it was. */
  interrupt(error: RequestError): void;
  /** Resolves once no queue is more than half full, or after so long: whoever catches up waits for those who follow. */
  settled(patienceMs: number): Promise<void>;
  /** Ends every following as finished. */
  close(): void;
  readonly followers: number;
  /** Events that wait, over all queues. */
  readonly depth: number;
  readonly overflows: number;
}

const usualCapacity = 5_000;

export function createHub(): Hub {
  const queues = new Set<Queue>();
  /** By topic, or by topic and owner: who follows one project is not asked about the others. */
  const byKey = new Map<string, Set<Queue>>();
  const taps = new Map<Topic, Set<(events: readonly FeedEvent[]) => void>>();
  const settling = new Set<() => void>();
  let overflows = 0;

  function checkSettled(): void {
    if (settling.size === 0 || [...queues].some((queue) => queue.isCrowded && !queue.isStuck)) return;
    for (const resolve of settling) resolve();
    settling.clear();
  }

  return {
    follow({ topics, of, coalesce, capacity = usualCapacity }) {
      const keys = topics.flatMap((topic) => of?.map((owner) => keyOf(topic, owner)) ?? [topic]);
      const queue = new Queue({
        coalesce,
        capacity,
        onTaken: checkSettled,
        onEnd: () => {
          queues.delete(queue);
          for (const key of keys) {
            const others = byKey.get(key);
            others?.delete(queue);
            if (others?.size === 0) byKey.delete(key);
          }
          checkSettled();
        },
        onOverflow: () => {
          overflows += 1;
        },
      });
      queues.add(queue);
      for (const key of keys) byKey.set(key, (byKey.get(key) ?? new Set()).add(queue));
      return queue;
    },
    tap(topics, listener) {
      for (const topic of topics) taps.set(topic, (taps.get(topic) ?? new Set()).add(listener));
      return () => {
        for (const topic of topics) taps.get(topic)?.delete(listener);
      };
    },
    publish(events) {
      for (const [topic, ofTopic] of Map.groupBy(events, (event) => event.topic)) {
        for (const listener of taps.get(topic) ?? []) listener(ofTopic);
      }
      // Event by event: a follower of two topics gets them in the log's order.
      for (const event of events) {
        for (const queue of byKey.get(event.topic) ?? []) queue.push(event);
        const followers = ownersOf(event).flatMap((owner) => [...(byKey.get(keyOf(event.topic, owner)) ?? [])]);
        // Whoever follows two of its owners is told once.
        for (const queue of followers.length > 1 ? new Set(followers) : followers) queue.push(event);
      }
    },
    interrupt: (error) => {
      for (const queue of [...queues]) queue.fail(error);
    },
    settled(patienceMs) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(() => {
        for (const queue of queues) queue.isStuck = queue.isCrowded;
        resolve();
      }, patienceMs);
      settling.add(resolve);
      checkSettled();
      return promise.finally(() => {
        clearTimeout(timer);
        settling.delete(resolve);
      });
    },
    close: () => {
      for (const queue of [...queues]) queue.close();
    },
    get followers() {
      return queues.size;
    },
    get depth() {
      let depth = 0;
      for (const queue of queues) depth += queue.size;
      return depth;
    },
    get overflows() {
      return overflows;
    },
  };
}

function keyOf(topic: Topic, owner: Owner): string {
  return `${topic}:${owner}`;
}

interface QueueOptions {
  coalesce: boolean;
  capacity: number;
  onTaken: () => void;
  onEnd: () => void;
  onOverflow: () => void;
}

class Queue implements Following {
  readonly #options: QueueOptions;
  /** Insertion order is delivery order; the key is the row where events coalesce, else the event's number. */
  readonly #events = new Map<string | number, FeedEvent>();
  #count = 0;
  #wake: (() => void) | null = null;
  #failure: RequestError | null = null;
  #ended = false;
  /** It was waited for in vain; not again before it moves. */
  isStuck = false;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#events.size;
  }

  get isCrowded(): boolean {
    return this.#events.size > this.#options.capacity / 2;
  }

  push(event: FeedEvent): void {
    if (this.#ended) return;
    if (this.#options.coalesce) {
      const key = `${event.topic}:${event.entity_id}`;
      const earlier = this.#events.get(key);
      // To the end: cursors are handed out in the order of the log, and a client goes on from its last.
      this.#events.delete(key);
      this.#events.set(key, earlier === undefined ? event : merge(earlier, event));
    } else {
      this.#events.set(this.#count, event);
      this.#count += 1;
    }
    if (this.#events.size > this.#options.capacity) {
      this.#options.onOverflow();
      this.fail(
        new RequestError(
          'RESYNC_REQUIRED',
          'Events came faster than they could be told: subscribe again with your last cursor.',
        ),
      );
      return;
    }
    this.#wake?.();
  }

  fail(error: RequestError): void {
    if (this.#ended) return;
    this.#failure = error;
    this.#end();
  }

  async take(most = this.#options.capacity, mostBytes = Number.POSITIVE_INFINITY): Promise<FeedEvent[] | null> {
    if (this.#events.size === 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = null;
    }
    if (this.#failure !== null) throw this.#failure;
    if (this.#ended) return null;
    const events: FeedEvent[] = [];
    let bytes = 0;
    for (const [key, event] of this.#events) {
      if (events.length === most || bytes >= mostBytes) break;
      this.#events.delete(key);
      events.push(event);
      bytes += weightOf(event);
    }
    this.isStuck = false;
    this.#options.onTaken();
    return events;
  }

  close(): void {
    this.#end();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#events.clear();
    this.#options.onEnd();
    this.#wake?.();
  }
}
