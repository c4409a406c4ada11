import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../../../src/cli/treeline.ts', import.meta.url));

/** `treeline dispatch` as an operator runs it: a process that a test can kill. */
export interface DispatcherProcess {
  child: ChildProcess;
  /** As a machine that fails: no goodbye. */
  kill(): Promise<void>;
  /** Asks it to end; @returns how it ended, and what it had to say */
  stop(): Promise<Ended>;
}

export interface Ended {
  code: number | null;
  signal: string | null;
  stderr: string;
}

/** Resolves when it dispatches. */
export async function spawnDispatcher(environment: Record<string, string>): Promise<DispatcherProcess> {
  const child = spawn(process.execPath, [program, 'dispatch'], {
    env: { ...process.env, TREELINE_MAINTENANCE: 'off', TREELINE_LOG: 'error', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = Promise.all([once(child, 'exit'), text(child.stderr)]).then(
    ([[code, signal], stderr]): Ended => ({ code, signal, stderr }),
  );
  await Promise.race([
    saying(child, 'Treeline dispatches.'),
    ended.then(({ stderr }) => Promise.reject(new Error(`the dispatcher ended before it dispatched: ${stderr}`))),
  ]);
  const end = (signal: NodeJS.Signals) => {
    child.kill(signal);
    return ended;
  };
  return { child, kill: async () => void (await end('SIGKILL')), stop: () => end('SIGTERM') };
}

async function saying({ stdout }: ChildProcess, words: string): Promise<void> {
  if (stdout === null) throw new Error('expected a standard output');
  for await (const line of createInterface({ input: stdout })) if (line === words) return;
}
