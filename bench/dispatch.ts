import { setTimeout as sleep } from 'node:timers/promises';
import { asOwner, type Databases } from './databases.ts';
import {
  type GraphileWorkerOptions,
  type JobQueue,
  openGraphileWorker,
  openPgBoss,
  openTreeline,
} from './dispatch-queues.ts';
import { interleave, median, ratio, rounds, spread } from './interleave.ts';
import { poolSize } from './processes/job-worker.ts';

/**
 * How many jobs that do nothing a dispatcher gets through: so many are committed at once while it waits for any, and it is done
 * when none is left. Here each is a stored operation, with an execution and its event; the peers delete a job when it
 * is done, or mark it so.
 */
interface Round {
  jobsPerSecond: number;
  cpuMicrosPerJob: number;
}

const jobs = Number(process.env.BENCH_JOBS ?? 10_000);
/** The same for all: each look goes through what is left of the jobs that are done. */
const lookEveryMs = 25;
const patienceMs = 180_000;

/** As a trigger has it; the same for all. */
const payloads = Array.from({ length: jobs }, (_, number) => ({
  type: 'claims.update',
  timestamp: '2026-11-21T04:15:00.123456Z',
  position: String(number),
  collection: 'claims',
  op: 'UPDATE',
  entityId: `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`,
  projectId: '6f8d4d0e-5d0b-4c3a-9a5e-2f8f3b1f7c11',
  agentId: 'agent-17',
  principalId: '0b6d6a0c-7a53-4a8f-8f43-0d2f2a3f9c55',
  changed: ['status'],
  depth: 0,
  data: { before: { status: 'active' }, after: { status: 'released' }, reason: 'done' },
}));

const graphileWorkers: readonly GraphileWorkerOptions[] = [
  { name: 'graphile-worker, by default', database: 'dispatch_graphile', settings: {} },
  {
    name: `graphile-worker, ${poolSize} at a time`,
    database: 'dispatch_graphile_many',
    settings: { concurrentJobs: poolSize, maxPoolSize: poolSize + 1 },
  },
  {
    // As its documentation has it for the figures that it gives.
    name: 'graphile-worker, local queue',
    database: 'dispatch_graphile_local',
    settings: {
      concurrentJobs: 24,
      maxPoolSize: 25,
      localQueue: { size: 500 },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
    },
  },
];

export async function dispatch(databases: Databases): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const queues = [await openTreeline(databases, opened)];
  for (const options of graphileWorkers) queues.push(await openGraphileWorker(databases, options, opened));
  queues.push(await openPgBoss(databases, opened));
  print(await interleave(queues, run));
}

function run({ name, ownerUrl, worker, enqueue, anyLeft, doneWell, tables }: JobQueue): Promise<Round> {
  return asOwner(ownerUrl, async (client) => {
    const ask = async <Value>(expression: string) =>
      (await client.query<{ value: Value }>(`select ${expression} as value`)).rows[0]?.value;
    await client.query(`vacuum (analyze) ${tables}`);
    const countDone = async () => (doneWell === null ? 0 : Number(await ask(doneWell)));
    const doneBefore = await countDone();
    await client.query('begin');
    await enqueue(client, payloads);
    const cpuBefore = await worker.cpuSeconds();
    const startedAt = performance.now();
    await client.query('commit');
    worker.wake();
    do {
      if (performance.now() - startedAt > patienceMs) throw new Error(`${name}: not all of ${jobs} jobs were done`);
      await sleep(lookEveryMs);
    } while ((await ask<boolean>(anyLeft)) === true);
    const seconds = (performance.now() - startedAt) / 1_000;
    const cpuSeconds = (await worker.cpuSeconds()) - cpuBefore;
    const done = (await countDone()) - doneBefore;
    if (doneWell !== null && done !== jobs) throw new Error(`${name}: expected ${jobs} jobs done well, got ${done}`);
    return { jobsPerSecond: jobs / seconds, cpuMicrosPerJob: (cpuSeconds * 1e6) / jobs };
  });
}

function print(measured: ReadonlyMap<JobQueue, readonly Round[]>): void {
  const ratesOf = (list: readonly Round[] = []) => list.map((round) => round.jobsPerSecond);
  const [ours] = measured.keys();
  const width = Math.max(...[...measured.keys()].map(({ name }) => name.length));
  console.log(`${rounds} rounds of ${jobs} jobs each, medians (least to most)`);
  for (const [queue, list] of measured) {
    const beside =
      ours === undefined || queue === ours
        ? ''
        : `   ${ours.name} is ${ratio(ratesOf(measured.get(ours)), ratesOf(list))} times that`;
    console.log(
      `${queue.name.padEnd(width)} ${spread(ratesOf(list))} jobs/s` +
        `   ${median(list.map((round) => round.cpuMicrosPerJob)).toFixed(0)} µs CPU each, without the database's${beside}`,
    );
  }
}
