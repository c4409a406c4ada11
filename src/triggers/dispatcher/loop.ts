import type { Logger } from '../../kernel/logger.ts';

/**
 * Work that is done when somebody says that there may be some, one round at a time, with a rest in between; and by itself
 * after a while, because a signal can be lost.
 */
export interface Loop {
  /** There may be something to do. */
  wake(): void;
  /** There will be something to do in so many milliseconds. */
  wakeIn(delayMs: number): void;
  /** No more rounds; resolves when the one under way is over. */
  stop(): Promise<void>;
}

export interface LoopOptions {
  /** As it stands in logs. */
  name: string;
  log: Logger;
  /** Between the beginnings of two rounds, at least. */
  restMs: number;
  /** After how long there is a round without any signal, asked at the beginning of each. */
  backstopMs: () => number;
  round: () => Promise<void>;
}

const longestTimerMs = 2 ** 31 - 1;
/** After a failure: the database is away more often than not. */
const againMs = 1_000;

export function startLoop({ name, log, restMs, backstopMs, round }: LoopOptions): Loop {
  let timer: NodeJS.Timeout | null = null;
  let dueAt = Number.POSITIVE_INFINITY;
  let running: Promise<void> | null = null;
  let wanted = false;
  let stopped = false;
  let lastBeganAt = Number.NEGATIVE_INFINITY;

  function setDue(at: number): void {
    if (stopped || at >= dueAt) return;
    dueAt = at;
    if (timer !== null) clearTimeout(timer);
    timer = setTimeout(begin, Math.min(Math.max(at - performance.now(), 0), longestTimerMs));
    timer.unref();
  }

  function begin(): void {
    if (running !== null || stopped) return;
    if (timer !== null) clearTimeout(timer);
    timer = null;
    dueAt = Number.POSITIVE_INFINITY;
    wanted = false;
    lastBeganAt = performance.now();
    setDue(lastBeganAt + backstopMs());
    running = round()
      .catch((error: unknown) => {
        if (!stopped) log.warn({ err: error }, `${name} failed; it is tried again`);
        setDue(performance.now() + againMs);
      })
      .finally(() => {
        running = null;
        if (wanted) wake();
      });
  }

  function wake(): void {
    wanted = true;
    if (running !== null || stopped) return;
    const restedAt = lastBeganAt + restMs;
    if (restedAt <= performance.now()) begin();
    else setDue(restedAt);
  }

  wake();
  return {
    wake,
    wakeIn: (delayMs) => setDue(performance.now() + delayMs),
    stop: async () => {
      stopped = true;
      if (timer !== null) clearTimeout(timer);
      await running;
    },
  };
}
