import type { GraphQLError } from 'graphql';
import { RequestError } from '../../kernel/errors.ts';
import type { Held } from './held.ts';
import { Handed, type SharedResult } from './result.ts';

/** A result for one subscriber, and what it is about. */
export interface Delivery {
  result: SharedResult;
  /** What it is about, where a newer one may take its place; null where each counts. */
  key: string | null;
  /** Where it stands in the order of what it is about; null where that has none. */
  number: number | null;
}

/** How much may wait for one client, besides how many. */
export const mostWaitingBytes = 16_000_000;

/**
 * One subscriber's end of a stream: a bounded queue that its transport empties as fast as its client reads. A client that
 * lags loses its stream with RESYNC_REQUIRED and the cursor to go on from; nobody else notices.
 *
 * While it is caught up from the log, what happens meanwhile waits apart; if that becomes too much it is dropped, because
 * the log has it.
 */
export class Subscriber implements AsyncIterableIterator<Handed> {
  /** The last page of the log that it is not to be sent from the group: until it is set, none. */
  page = Number.POSITIVE_INFINITY;
  /** The last page of the log of which its client may have seen something on its own: while it comes back, any. */
  ownViewUntil = Number.POSITIVE_INFINITY;
  /** How far it has been told in an order that what it watches keeps itself: nothing from before comes again. */
  toldThrough = Number.NEGATIVE_INFINITY;
  readonly #onEnd: () => void;
  readonly #toFailure: (error: unknown) => GraphQLError;
  readonly #capacity: number;
  readonly #held: Held;
  readonly #queue = new Map<string | number, Delivery>();
  #condensed = false;
  #bytes = 0;
  #live: Delivery[] | null = null;
  #liveBytes = 0;
  #liveOverflowed = false;
  #count = 0;
  #reader: { resolve: (result: IteratorResult<Handed>) => void; reject: (error: unknown) => void } | null = null;
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
    /** What waits for it is noted here. */
    held: Held;
    onEnd: () => void;
  }) {
    this.#onEnd = options.onEnd;
    this.#toFailure = options.toFailure;
    this.#capacity = options.capacity;
    this.#held = options.held;
    this.#lastCursor = options.cursor;
  }

  get ended(): boolean {
    return this.#ended;
  }

  get depth(): number {
    return this.#queue.size;
  }

  /** What waits for it, in bytes. */
  get weight(): number {
    return this.#bytes + this.#liveBytes;
  }

  /** Since when something has been waiting for a client that does not read; null while it keeps up. */
  get waitingSince(): number | null {
    return this.#waitingSince;
  }

  /** It hears of what happens after this page; its client has read up to this cursor. */
  begin({ page, cursor }: { page: number; cursor: string }): void {
    this.page = page;
    this.ownViewUntil = page;
    this.#lastCursor ??= cursor;
  }

  /** From the group: of what happens now. */
  push(delivery: Delivery): void {
    if (this.#ended) return;
    if (this.#live === null) {
      if (!this.#wasTold(delivery)) this.#enqueue(delivery);
    } else if (!this.#liveOverflowed) {
      this.#live.push(delivery);
      this.#held.add(delivery.result);
      this.#liveBytes += delivery.result.bytes;
      if (this.#live.length > this.#capacity || this.#liveBytes > mostWaitingBytes) {
        this.#liveOverflowed = true;
        this.#forgetLive();
      }
    }
  }

  /** From the log: of what happened before. Waits until the client has read on. */
  async replay(delivery: Delivery): Promise<void> {
    if (this.#isHalfFull) {
      await new Promise<void>((resolve) => {
        this.#room = resolve;
      });
    }
    if (!this.#ended) this.#enqueue(delivery);
  }

  /** From here on what happens now waits until `join`; of events nothing is taken until `page` is set. */
  hold(): void {
    this.page = Number.POSITIVE_INFINITY;
    this.#forgetLive();
    this.#liveOverflowed = false;
  }

  #forgetLive(): void {
    for (const { result } of this.#live ?? []) this.#held.drop(result);
    this.#live = [];
    this.#liveBytes = 0;
  }

  get #isHalfFull(): boolean {
    return this.#queue.size >= this.#capacity / 2 || this.#bytes >= mostWaitingBytes / 2;
  }

  #wasTold({ number }: Delivery): boolean {
    return number !== null && number <= this.toldThrough;
  }

  /** @returns false when too much came meanwhile: catch up once more */
  join(): boolean {
    if (this.#liveOverflowed) {
      this.hold();
      return false;
    }
    const waiting = this.#live ?? [];
    this.#live = null;
    for (const delivery of waiting) if (!this.#wasTold(delivery)) this.#enqueue(delivery);
    for (const { result } of waiting) this.#held.drop(result);
    return true;
  }

  #enqueue(delivery: Delivery): void {
    if (this.#ended) return;
    if (this.#reader !== null) {
      this.#handOver(delivery.result);
      return;
    }
    this.#append(delivery);
    this.#waitingSince ??= performance.now();
    // One alone may be as large as it is.
    if (this.#queue.size > this.#capacity || (this.#bytes > mostWaitingBytes && this.#queue.size > 1)) {
      this.fail(
        new RequestError(
          'RESYNC_REQUIRED',
          'Updates came faster than they were read: subscribe again with the cursor given.',
        ),
      );
    }
  }

  /** Everything is told while there is room; then of each thing the newest, until the client has caught up. */
  #append(delivery: Delivery): void {
    if (!this.#condensed && this.#queue.size >= this.#capacity / 2) {
      const waiting = [...this.#queue.values()];
      this.#forgetQueue();
      this.#condensed = true;
      for (const earlier of waiting) this.#append(earlier);
    }
    const key = this.#condensed ? delivery.key : null;
    this.#bytes += delivery.result.bytes;
    this.#held.add(delivery.result);
    if (key === null) {
      this.#queue.set(this.#count, delivery);
      this.#count += 1;
    } else {
      // To the end: a client that has a cursor must have everything from before it.
      this.#remove(key);
      this.#queue.set(key, delivery);
    }
  }

  #handOver(result: SharedResult): void {
    const reader = this.#reader;
    this.#reader = null;
    this.#lastCursor = result.cursor;
    reader?.resolve({ value: new Handed(result, this.#take), done: false });
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

  next(): Promise<IteratorResult<Handed>> {
    const result = this.#take();
    if (result !== null) return Promise.resolve({ value: new Handed(result, this.#take), done: false });
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

  /** What has waited longest; it counts as sent. */
  readonly #take = (): SharedResult | null => {
    for (const [key, { result }] of this.#queue) {
      this.#remove(key);
      if (this.#queue.size === 0) this.#condensed = false;
      this.#waitingSince = this.#queue.size > 0 ? performance.now() : null;
      if (!this.#isHalfFull) this.#makeRoom();
      this.#lastCursor = result.cursor;
      return result;
    }
    return null;
  };

  return(): Promise<IteratorResult<Handed>> {
    this.finish();
    return Promise.resolve({ value: undefined, done: true });
  }

  throw(error: unknown): Promise<IteratorResult<Handed>> {
    this.finish();
    return Promise.reject(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #remove(key: string | number): void {
    const delivery = this.#queue.get(key);
    if (delivery === undefined) return;
    this.#queue.delete(key);
    this.#bytes -= delivery.result.bytes;
    this.#held.drop(delivery.result);
  }

  #forgetQueue(): void {
    for (const key of [...this.#queue.keys()]) this.#remove(key);
  }

  #makeRoom(): void {
    this.#room?.();
    this.#room = null;
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#forgetQueue();
    this.#forgetLive();
    this.#live = null;
    this.#waitingSince = null;
    this.#makeRoom();
    this.#onEnd();
  }
}
