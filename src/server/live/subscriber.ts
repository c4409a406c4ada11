import type { GraphQLError } from 'graphql';
import { RequestError } from '../../kernel/errors.ts';
import type { SharedResult } from './result.ts';

/** A result for one subscriber, and what it is about. */
export interface Delivery {
  result: SharedResult;
  /** What it is about, where a newer one takes its place; null where each counts. */
  key: string | null;
}

/**
 * One subscriber's end of a stream: a bounded queue that its transport empties as fast as its client reads. A client that
 * lags loses its stream with RESYNC_REQUIRED and the cursor to go on from; nobody else notices.
 *
 * While it is caught up from the log, what happens meanwhile waits apart; if that becomes too much it is dropped, because
 * the log has it.
 */
export class Subscriber implements AsyncIterableIterator<SharedResult> {
  /** The last page of the log that it is not to be sent from the group: until it is set, none. */
  page = Number.POSITIVE_INFINITY;
  readonly #onEnd: () => void;
  readonly #toFailure: (error: unknown) => GraphQLError;
  readonly #capacity: number;
  readonly #queue = new Map<string | number, SharedResult>();
  #live: Delivery[] | null = null;
  #liveOverflowed = false;
  #count = 0;
  #reader: { resolve: (result: IteratorResult<SharedResult>) => void; reject: (error: unknown) => void } | null = null;
  #room: (() => void) | null = null;
  #failure: unknown = null;
  #ended = false;
  #lastCursor: string | null;
  #waitingSince: number | null = null;

  constructor(options: {
    capacity: number;
    cursor: string | null;
    /** What the client is told of an error. */
    toFailure: (error: unknown) => GraphQLError;
    onEnd: () => void;
  }) {
    this.#onEnd = options.onEnd;
    this.#toFailure = options.toFailure;
    this.#capacity = options.capacity;
    this.#lastCursor = options.cursor;
  }

  get ended(): boolean {
    return this.#ended;
  }

  get depth(): number {
    return this.#queue.size;
  }

  /** Since when something has been waiting for a client that does not read; null while it keeps up. */
  get waitingSince(): number | null {
    return this.#waitingSince;
  }

  /** From the group: of what happens now. */
  push(delivery: Delivery): void {
    if (this.#ended) return;
    if (this.#live === null) {
      this.#enqueue(delivery);
    } else if (!this.#liveOverflowed) {
      this.#live.push(delivery);
      if (this.#live.length > this.#capacity) {
        this.#liveOverflowed = true;
        this.#live = [];
      }
    }
  }

  /** From the log: of what happened before. Waits until the client has read on. */
  async replay(delivery: Delivery): Promise<void> {
    if (this.#queue.size >= this.#capacity / 2) {
      await new Promise<void>((resolve) => {
        this.#room = resolve;
      });
    }
    if (!this.#ended) this.#enqueue(delivery);
  }

  /** From here on what happens now waits until `join`; of events nothing is taken until `page` is set. */
  hold(): void {
    this.page = Number.POSITIVE_INFINITY;
    this.#live = [];
    this.#liveOverflowed = false;
  }

  /** @returns false when too much came meanwhile: catch up once more */
  join(): boolean {
    if (this.#liveOverflowed) return false;
    const held = this.#live ?? [];
    this.#live = null;
    for (const delivery of held) this.#enqueue(delivery);
    return true;
  }

  #enqueue({ result, key }: Delivery): void {
    if (this.#ended) return;
    if (this.#reader !== null) {
      this.#handOver(result);
      return;
    }
    if (key === null) {
      this.#queue.set(this.#count, result);
      this.#count += 1;
    } else {
      // To the end: a client that has a cursor must have everything from before it.
      this.#queue.delete(key);
      this.#queue.set(key, result);
    }
    this.#waitingSince ??= performance.now();
    if (this.#queue.size > this.#capacity) {
      this.fail(
        new RequestError(
          'RESYNC_REQUIRED',
          'Updates came faster than they were read: subscribe again with the cursor given.',
        ),
      );
    }
  }

  #handOver(result: SharedResult): void {
    const reader = this.#reader;
    this.#reader = null;
    this.#lastCursor = result.cursor;
    reader?.resolve({ value: result, done: false });
  }

  /** Ends the stream with an error, which carries the last cursor that was handed over. */
  fail(error: unknown): void {
    if (this.#ended) return;
    const failure = this.#toFailure(error instanceof RequestError ? error.with({ cursor: this.#lastCursor }) : error);
    if (this.#reader === null) this.#failure = failure;
    else this.#reader.reject(failure);
    this.#reader = null;
    this.#end();
  }

  finish(): void {
    this.#reader?.resolve({ value: undefined, done: true });
    this.#reader = null;
    this.#end();
  }

  next(): Promise<IteratorResult<SharedResult>> {
    this.#waitingSince = null;
    for (const [key, result] of this.#queue) {
      this.#queue.delete(key);
      if (this.#queue.size > 0) this.#waitingSince = performance.now();
      if (this.#queue.size < this.#capacity / 2) this.#makeRoom();
      this.#lastCursor = result.cursor;
      return Promise.resolve({ value: result, done: false });
    }
    if (this.#failure !== null) {
      const failure = this.#failure;
      this.#failure = null;
      return Promise.reject(failure);
    }
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  return(): Promise<IteratorResult<SharedResult>> {
    this.finish();
    return Promise.resolve({ value: undefined, done: true });
  }

  throw(error: unknown): Promise<IteratorResult<SharedResult>> {
    this.finish();
    return Promise.reject(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #makeRoom(): void {
    this.#room?.();
    this.#room = null;
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#queue.clear();
    this.#live = null;
    this.#waitingSince = null;
    this.#makeRoom();
    this.#onEnd();
  }
}
