import { startEmbedded } from '../../src/embedded/embedded.ts';
import { StartupError } from '../../src/kernel/errors.ts';
import { createLogger } from '../../src/kernel/logger.ts';

/**
 * What a gateway does with its embedded server, as a process that a test can kill: reports in one line of JSON, then
 * stays until a line on standard input says how to end.
 */
const dataDir = process.argv[2];
if (dataDir === undefined) throw new Error('expected a data directory');

try {
  const server = await startEmbedded({ dataDir, log: createLogger('error'), durable: false });
  report({ started: true, ownerUrl: server.ownerUrl, serverPid: server.pid });
  process.stdin.once('data', async (line) => {
    if (line.toString().trim() === 'exit') process.exit(0);
    await server.stop();
    process.exit(0);
  });
} catch (error) {
  if (!(error instanceof StartupError)) throw error;
  report({ started: false, refusal: error.message });
}

function report(message: object): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
