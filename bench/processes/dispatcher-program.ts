/**
 * See job-worker.ts. The dispatcher as `treeline dispatch` runs it. A script that asks the database for anything begins with its
 * first statement, and is known by the ids that it asks for.
 */
import { startApp } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import { createLogger } from '../../src/kernel/logger.ts';
import { monotonicMs } from './clients.ts';
import { openJobProgram } from './job-program.ts';

const uuids = /[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g;

const program = openJobProgram();
const app = await startApp({
  config: readConfig(),
  log: createLogger('warn'),
  serve: false,
  onStatement: ({ query, queryDurationMillis }) => {
    const beganAtMs = monotonicMs() - queryDurationMillis;
    for (const [id] of JSON.stringify(query.parameters).matchAll(uuids)) program.note(id, beganAtMs);
  },
});
program.ready({ stop: () => app.stop() });
