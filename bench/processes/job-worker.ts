import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cpuSecondsOf } from '../contender.ts';
import type { DatabaseUrls } from '../databases.ts';

/** Whatever takes jobs from a database and does them, in a process of its own. */
export interface JobWorker {
  cpuSeconds(): Promise<number>;
  /** There is work, for those who would not hear of it. */
  wake(): void;
  /** What jobs began since the last call, by what their programs know them by, and when (`monotonicMs`). */
  takeBeginnings(): Promise<[key: string, atMs: number][]>;
  stop(): Promise<void>;
}

/** What a program is told; each answers the second with its beginnings, and says when it is ready. */
export type Message = 'wake' | 'beginnings';
export type Answer = { kind: 'ready' } | { kind: 'beginnings'; beginnings: [key: string, atMs: number][] };

/** Connections: a gateway's by default, and as many jobs at a time of peers that are told how many. */
export const poolSize = 10;

/**
 * @param program where it is, from this folder
 * @param settings what it is told at its start, as its first argument in JSON
 */
export async function startJobWorker(
  program: string,
  { ownerUrl, runtimeUrl }: DatabaseUrls,
  settings: object = {},
): Promise<JobWorker> {
  const dataDir = await mkdtemp(join(tmpdir(), 'treeline-bench-worker-'));
  const profile = process.env.BENCH_PROFILE;
  const child = fork(fileURLToPath(new URL(program, import.meta.url)), [JSON.stringify(settings)], {
    execArgv: profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`],
    env: {
      ...process.env,
      NODE_ENV: 'production',
      DATABASE_URL: ownerUrl,
      ...(runtimeUrl === undefined ? {} : { DATABASE_RUNTIME_URL: runtimeUrl }),
      // Makes the principal as whom scripts run.
      TREELINE_ADMIN_TOKEN: `tl_${randomBytes(32).toString('base64url')}`,
      TREELINE_DATA_DIR: dataDir,
      TREELINE_MAINTENANCE: 'off',
      TREELINE_LOG: 'warn',
      TREELINE_POOL_SIZE: String(poolSize),
      // Of graphile-worker: a line for each job would be most of what is measured.
      NO_LOG_SUCCESS: '1',
    },
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', process.env.BENCH_VERBOSE === undefined ? 'ignore' : 'inherit', 'ipc'],
  });
  let stopping = false;
  const gone = once(child, 'exit').then(() => {
    if (!stopping) throw new Error(`${program} ended; set BENCH_VERBOSE=1 to see why`);
  });
  // Also while nobody waits for it.
  gone.catch(() => {});

  async function hear<Kind extends Answer['kind']>(kind: Kind): Promise<Extract<Answer, { kind: Kind }>> {
    for (;;) {
      const [answer] = ((await Promise.race([once(child, 'message'), gone])) ?? []) as [Answer];
      if (answer.kind === kind) return answer as Extract<Answer, { kind: Kind }>;
    }
  }

  await hear('ready');
  return {
    cpuSeconds: () => cpuSecondsOf(child.pid ?? 0),
    wake: () => void child.send('wake' satisfies Message),
    takeBeginnings: async () => {
      const answer = hear('beginnings');
      child.send('beginnings' satisfies Message);
      return (await answer).beginnings;
    },
    stop: async () => {
      stopping = true;
      if (child.connected) child.disconnect();
      await gone;
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
