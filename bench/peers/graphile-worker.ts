/** graphile-worker, with whichever settings it is told: tasks that do nothing but say that they began. */
import { run } from 'graphile-worker';
import { openJobProgram } from '../processes/job-program.ts';

const settings = JSON.parse(process.argv[2] ?? '') as object;
const program = openJobProgram();
const runner = await run({
  preset: { worker: { connectionString: process.env.DATABASE_URL ?? '', ...settings } },
  noHandleSignals: true,
  taskList: {
    nothing: async () => {},
    note: async (payload) => program.note((payload as { key: string }).key),
  },
});
program.ready({ stop: () => runner.stop() });
