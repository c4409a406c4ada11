import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Reply, Request } from './evaluator-program.ts';
import type { Answer, Failure, Questions } from './realm-program.ts';

/**
 * One process in which what registrants wrote is evaluated, started when first needed and again after it had to be ended.
 *
 * A process and not a worker thread: what asks for more memory than a thread's limit allows in one piece, such as
 * `$length($pad("x", 400000000))`, aborts the whole process that the thread is in. It gets nothing of the gateway's
 * environment, and keeps the gateway from ending only while it is asked.
 */
export interface Evaluator {
  /**
   * To be asked one thing at a time.
   * @param alone in a JSONata that nobody used before and nobody uses after
   * @returns an answer for each job: all are `LATE` if together they took too long, `ENDED` if the process did not survive them
   * @throws when it cannot be started, or was closed
   */
  ask(questions: Questions, alone: boolean): Promise<readonly Answer[]>;
  /** Ends the process. Who waits for an answer gets an error. */
  close(): Promise<void>;
}

/** V8's limit. What it uses by itself is some 10 MB. */
export const mostMemoryMb = 128;

/** Beyond what an answer may take by its own clock: for the case that nothing in there gets to look at one. */
const graceMs = 2_000;

/** @param mostMs for each job */
export function createEvaluator(mostMs: number): Evaluator {
  let running: Promise<ChildProcess> | null = null;
  let closed = false;
  const refuseIfClosed = () => {
    if (closed) throw new Error('Expressions were closed: nothing is evaluated any more.');
  };

  async function exchange(request: Request): Promise<Reply | null> {
    running ??= start();
    try {
      // It may have ended since it was last asked, when nobody listened: not the fault of who asks now.
      if (!(await running).connected) running = start();
      const reply = await askProcess(await running, request);
      if (reply === null) running = null;
      return reply;
    } catch (error) {
      running = null;
      throw error;
    }
  }

  return {
    async ask(questions, alone) {
      refuseIfClosed();
      const reply = await exchange({ questions: JSON.stringify(questions), alone, mostMs });
      refuseIfClosed();
      if (reply?.answers) return JSON.parse(reply.answers) as Answer[];
      const failure = reply === null ? failureBy('ENDED', mostMemoryMb) : failureBy('LATE', mostMs);
      return questions.jobs.map(() => ({ failure }));
    },
    async close() {
      closed = true;
      const child = await running?.catch(() => null);
      if (child) await end(child);
    },
  };
}

function failureBy(code: 'LATE' | 'ENDED', bound: number): Failure {
  return { code, message: '', expression: 0, position: null, token: null, value: String(bound) };
}

async function start(): Promise<ChildProcess> {
  const child = fork(fileURLToPath(new URL('evaluator-program.ts', import.meta.url)), [], {
    execArgv: [`--max-old-space-size=${mostMemoryMb}`],
    env: {},
    serialization: 'advanced',
    // V8 tells at length that it ran out of memory.
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  const { promise: ready, resolve, reject } = Promise.withResolvers<unknown>();
  const gone = (code: number | null, signal: string | null) =>
    reject(new Error(`Expected the evaluator of expressions to start, but it ended with ${signal ?? `code ${code}`}.`));
  // It stays, for what happens to a process that runs and that shows as its end.
  child.on('error', reject);
  child.once('exit', gone);
  child.once('message', resolve);
  await ready;
  child.removeListener('exit', gone);
  hold(child, false);
  return child;
}

/** @returns null if it ended, or had to be */
async function askProcess(child: ChildProcess, request: Request): Promise<Reply | null> {
  const { promise: reply, resolve } = Promise.withResolvers<Reply | null>();
  const told = (message: unknown) => resolve(message as Reply);
  const gone = () => resolve(null);
  const kill = () => void child.kill('SIGKILL');
  hold(child, true);
  child.once('message', told);
  child.once('exit', gone);
  const deadline = setTimeout(kill, request.mostMs + graceMs);
  try {
    child.send(request, (error) => error && kill());
    return await reply;
  } finally {
    clearTimeout(deadline);
    child.removeListener('message', told);
    child.removeListener('exit', gone);
    hold(child, false);
  }
}

/** Whether it keeps this process from ending. */
function hold(child: ChildProcess, held: boolean): void {
  for (const handle of [child, child.channel]) {
    if (held) handle?.ref();
    else handle?.unref();
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.ref();
  child.kill('SIGKILL');
  await ended;
}
