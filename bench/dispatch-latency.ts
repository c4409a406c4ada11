import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { activeWorktreeIds, type Databases, type DatabaseUrls, quickSize } from './databases.ts';
import { openGraphileWorker, registerTrigger } from './dispatch-queues.ts';
import { interleave, median, rounds } from './interleave.ts';
import { monotonicMs } from './processes/clients.ts';
import { type JobWorker, poolSize, startJobWorker } from './processes/job-worker.ts';

/**
 * How long after its commit a change's script begins: with the first statement that it sends, here; where a job is added to a
 * queue instead, with the first line of its task. Changes come at a fixed rate, whether or not the scripts of those before
 * have begun.
 */
interface Side {
  name: string;
  worker: JobWorker;
  /** By what the job of the change with this number is known; none of one round twice. */
  keyOf: (number: number) => string;
  /** Resolves when its writer knows that it is committed. */
  write: (number: number) => Promise<void>;
}

interface Round {
  /** Of each change, in milliseconds, in order of size. Below zero where the script began before its writer knew. */
  latenciesMs: Float64Array;
  writingMs: Float64Array;
}

const changesPerSecond = 50;
const seconds = Number(process.env.BENCH_SECONDS ?? 10);
const writers = 4;
const patienceMs = 10_000;

export async function dispatchLatency(databases: Databases): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const ours = await openTrigger(await databases.open('dispatch_latency', quickSize), opened);
  const sides = [ours, await openPeer(databases, opened)];
  print(await interleave(sides, run));
}

async function openTrigger(urls: DatabaseUrls, opened: AsyncDisposableStack): Promise<Side> {
  const ids = await activeWorktreeIds(urls.ownerUrl);
  const worker = await startJobWorker('dispatcher-program.ts', urls);
  opened.defer(() => worker.stop());
  await registerTrigger(urls, {
    document: 'query Changed($id: ID!) { worktree(by: { id: $id }) { id } }',
    variables: { id: '=entityId' },
    collection: 'worktrees',
  });
  const pool = openWriters(urls, opened);
  const keyOf = (number: number) => ids[number % ids.length] ?? '';
  return {
    name: 'Treeline: an update, and its trigger',
    worker,
    keyOf,
    write: async (number) => {
      const text = 'update registry.worktrees set uncommitted_files_count = $2 where id = $1';
      await pool.query({ name: 'change', text, values: [keyOf(number), number] });
    },
  };
}

async function openPeer(databases: Databases, opened: AsyncDisposableStack): Promise<Side> {
  const { worker, ownerUrl } = await openGraphileWorker(
    databases,
    {
      name: 'graphile-worker',
      database: 'dispatch_latency_graphile',
      settings: { concurrentJobs: poolSize, maxPoolSize: poolSize + 1 },
    },
    opened,
  );
  const pool = openWriters({ ownerUrl }, opened);
  return {
    name: 'graphile-worker: add_job',
    worker,
    keyOf: String,
    write: async (number) => {
      const text = `select graphile_worker.add_job('note', json_build_object('key', $1::text))`;
      await pool.query({ name: 'add', text, values: [String(number)] });
    },
  };
}

function openWriters({ ownerUrl }: Pick<DatabaseUrls, 'ownerUrl'>, opened: AsyncDisposableStack): pg.Pool {
  const pool = new pg.Pool({ connectionString: ownerUrl, max: writers });
  opened.defer(() => pool.end());
  return pool;
}

/** Tells changes apart, also those of different rounds. */
let lastNumber = 0;

async function run({ name, worker, keyOf, write }: Side): Promise<Round> {
  await worker.takeBeginnings();
  const committedAt = new Map<string, number>();
  const writingMs: number[] = [];
  const underWay: Promise<void>[] = [];
  const startedAt = monotonicMs();
  for (let change = 0; change < seconds * changesPerSecond; change += 1) {
    await sleep(Math.max(0, startedAt + (change * 1_000) / changesPerSecond - monotonicMs()));
    lastNumber += 1;
    const key = keyOf(lastNumber);
    const beganAt = monotonicMs();
    underWay.push(
      write(lastNumber).then(() => {
        const atMs = monotonicMs();
        committedAt.set(key, atMs);
        writingMs.push(atMs - beganAt);
      }),
    );
  }
  await Promise.all(underWay);
  const begunAt = new Map<string, number>();
  for (const latest = monotonicMs() + patienceMs; begunAt.size < committedAt.size; ) {
    if (monotonicMs() > latest) throw new Error(`${name}: ${begunAt.size} of ${committedAt.size} scripts began`);
    await sleep(100);
    for (const [key, atMs] of await worker.takeBeginnings()) {
      if (committedAt.has(key) && !begunAt.has(key)) begunAt.set(key, atMs);
    }
  }
  const latenciesMs = [...begunAt].map(([key, atMs]) => atMs - (committedAt.get(key) ?? Number.NaN));
  return { latenciesMs: Float64Array.from(latenciesMs).sort(), writingMs: Float64Array.from(writingMs).sort() };
}

function print(measured: ReadonlyMap<Side, readonly Round[]>): void {
  console.log(
    `${rounds} rounds of ${seconds} s each, ${changesPerSecond} changes/s; medians of the rounds, and the most of all`,
  );
  const width = Math.max(...[...measured.keys()].map(({ name }) => name.length));
  for (const [{ name }, list] of measured) {
    const at = (part: number, kind: keyof Round) =>
      list.map(
        (round) => round[kind][Math.min(round[kind].length - 1, Math.floor(round[kind].length * part))] ?? Number.NaN,
      );
    const p = (part: number) => `p${part * 100} ${median(at(part, 'latenciesMs')).toFixed(1)} ms`;
    console.log(
      `${name.padEnd(width)} ${[0.5, 0.95, 0.99].map(p).join('   ')}   most ${Math.max(...at(1, 'latenciesMs')).toFixed(1)} ms` +
        `   the write itself p50 ${median(at(0.5, 'writingMs')).toFixed(1)} ms`,
    );
  }
}
