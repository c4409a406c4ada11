import { writeFileSync } from 'node:fs';
import { openRealm, type Realm } from './realm.ts';

/**
 * The process in which expressions are evaluated: see evaluator.ts. It ends when the gateway does, whatever it is doing
 * then, because nothing takes longer than its bound.
 */

/** @see Evaluator */
export interface Request {
  /** `Questions`, as JSON. */
  questions: string;
  /** In a realm of its own, that nobody had before and nobody has after. */
  alone: boolean;
  mostMs: number;
}

export interface Reply {
  /** A list of `Answer`, as JSON; null if the questions took too long together. */
  answers: string | null;
}

/** Longer than what bounds a job by itself, which tells more and leaves the realm as it was. */
const graceMs = 100;

let shared: Realm | null = null;

function answer({ questions, alone, mostMs }: Request): string | null {
  if (alone) return openRealm({ mostMs, shared: false }).evaluate(questions, mostMs + graceMs);
  shared ??= openRealm({ mostMs, shared: true });
  const answers = shared.evaluate(questions, mostMs + graceMs);
  if (answers === null) shared = null;
  return answers;
}

try {
  // V8's limit does not hold for one large text. Where the machine's memory ends, Linux shall end this process and no other.
  writeFileSync('/proc/self/oom_score_adj', '1000');
} catch {
  // Another system, or one that does not let us.
}
// A promise that an expression left behind, and that failed: nobody's concern.
process.on('unhandledRejection', () => {});
// A signal to the whole group is the gateway's to act on: it may need answers while it drains.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});

process.on('message', (request: Request) => {
  const reply: Reply = { answers: answer(request) };
  process.send?.(reply);
});
process.send?.('ready');
