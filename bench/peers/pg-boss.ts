/**
 * pg-boss: workers that take jobs in batches and do nothing. One that had any looks for more at once, as its documentation has it
 * for those who know that there is more, instead of after its polling interval.
 */
import PgBoss from 'pg-boss';
import { openJobProgram } from '../processes/job-program.ts';

const { queue, workers, batchSize } = JSON.parse(process.argv[2] ?? '') as {
  queue: string;
  workers: number;
  batchSize: number;
};
const boss = new PgBoss({ connectionString: process.env.DATABASE_URL ?? '' });
boss.on('error', (error) => console.error(error));
await boss.start();
await boss.createQueue(queue);
const ids = await Promise.all(Array.from({ length: workers }, startWorker));

async function startWorker(): Promise<string> {
  const id: string = await boss.work(queue, { batchSize }, async () => boss.notifyWorker(id));
  return id;
}

const program = openJobProgram();
program.ready({
  wake: () => {
    for (const id of ids) boss.notifyWorker(id);
  },
  stop: () => boss.stop({ graceful: false }),
});
