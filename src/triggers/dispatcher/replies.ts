import type { Feed } from '../../feed/feed.ts';

/** Those of this gateway who wait for a script's result. A signal says that it may be there; the database, whether it is. */
export interface Replies {
  /**
   * Waits for a result. To be called before the script is asked for, or the word of it could come before anybody listens.
   * @param replyTo under what it is told: a UUID
   */
  expect(replyTo: string): ExpectedReply;
}

export interface ExpectedReply {
  /**
   * What `look` finds, looked for whenever there may be something, or null when time is over.
   * @param look answers null while there is nothing
   */
  within<Result>(waitMs: number, look: () => Promise<Result | null>): Promise<Result | null>;
  /** Nobody waits any more. */
  forget(): void;
}

export const repliesChannel = 'treeline_replies';

export function createReplies(feed: Feed): Replies & { close(): void } {
  const waiting = new Map<string, { told: boolean; wake: () => void }>();
  const tell = (entry: { told: boolean; wake: () => void } | undefined) => {
    if (entry === undefined) return;
    entry.told = true;
    entry.wake();
  };
  const unhear = feed.onSignal(repliesChannel, (replyTo) => {
    if (replyTo !== '') tell(waiting.get(replyTo));
    // Signals may have been missed.
    else for (const entry of waiting.values()) tell(entry);
  });

  return {
    expect(replyTo) {
      const entry = { told: false, wake: () => {} };
      waiting.set(replyTo, entry);
      return {
        async within(waitMs, look) {
          const late = performance.now() + waitMs;
          for (;;) {
            const leftMs = late - performance.now();
            if (!entry.told && leftMs > 0) await wakened(entry, leftMs);
            const isOver = !entry.told;
            entry.told = false;
            // Once more when time is over: the word of it may have been lost.
            const found = await look();
            if (found !== null || isOver) return found;
          }
        },
        forget: () => void waiting.delete(replyTo),
      };
    },
    close: () => {
      unhear();
      for (const entry of waiting.values()) tell(entry);
    },
  };
}

/** Resolves when it is told, or after so long. */
async function wakened(entry: { wake: () => void }, mostMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  entry.wake = resolve;
  const timer = setTimeout(resolve, mostMs);
  await promise;
  clearTimeout(timer);
}
