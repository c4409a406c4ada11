import type { Outcome } from './model.ts';

/** How long an attempt may take, and that it ends when its dispatcher does. */
export interface Deadline extends Disposable {
  signal: AbortSignal;
  /** Rejects when it is reached, and never resolves. */
  reached: Promise<never>;
  /** What the attempt comes to when it was reached; null: it was not. */
  outcome(): Outcome | null;
}

export interface DeadlineOptions {
  timeoutMs: number;
  stop: AbortSignal | undefined;
  /** What is said of an attempt that took too long. */
  late: string;
  /** And of one that was ended because its dispatcher goes away. */
  stopped: string;
}

/** Not `AbortSignal.any` and `timeout`: their timer and listener would outlive the attempt. */
export function createDeadline({ timeoutMs, stop, late, stopped }: DeadlineOptions): Deadline {
  const controller = new AbortController();
  const { promise: reached, reject } = Promise.withResolvers<never>();
  reached.catch(() => {});
  let outcome: Outcome | null = null;
  const endWith = (ended: Outcome) => {
    outcome ??= ended;
    controller.abort();
    reject(controller.signal.reason);
  };
  const onStop = () => endWith({ status: 'failed', error: stopped, permanent: false, retryAfterMs: null });
  const timer = setTimeout(() => endWith({ status: 'timed_out', error: late }), timeoutMs);
  stop?.addEventListener('abort', onStop, { once: true });
  if (stop?.aborted) onStop();
  return {
    signal: controller.signal,
    reached,
    outcome: () => outcome,
    [Symbol.dispose]() {
      clearTimeout(timer);
      stop?.removeEventListener('abort', onStop);
    },
  };
}
