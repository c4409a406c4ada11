import { parseArgs } from 'node:util';
import { type App, startApp } from './app.ts';
import { optionDocs, readConfig } from './config.ts';
import { StartupError } from './kernel/errors.ts';
import { createLogger } from './kernel/logger.ts';

const help = `Starts the Treeline gateway.

  --no-migrate   refuse to start on a database whose schema is behind, instead of migrating it
  --help         this text

Settings are environment variables:
${optionDocs.map(({ name, description }) => `  ${name.padEnd(30)} ${description}`).join('\n')}
`;

async function main(): Promise<void> {
  const flags = readFlags();
  if (flags.help === true) {
    process.stdout.write(help);
    return;
  }
  const config = readConfig();
  const log = createLogger(config.TREELINE_LOG);
  const app = await startApp({ config, log, migrate: flags['no-migrate'] !== true });
  // The fragment stays in the browser: no server, proxy or log sees the token.
  const link = app.token === null ? `${app.url}/graphql` : `${app.url}/graphql#token=${app.token}`;
  // Before it says that it is ready: whoever reads that may stop it at once.
  stopOnSignal(app);
  process.stdout.write(`Treeline is ready: ${link}\n`);
}

function readFlags() {
  try {
    return parseArgs({ options: { help: { type: 'boolean' }, 'no-migrate': { type: 'boolean' } } }).values;
  } catch (error) {
    throw new StartupError(`${(error as Error).message}\n\n${help}`);
  }
}

function stopOnSignal(app: App): void {
  let asked = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      // Asked twice, somebody is in a hurry: the embedded database recovers at the next start.
      if (asked) process.exit(130);
      asked = true;
      app.stop().then(() => process.exit(0), fail);
    });
  }
}

function fail(error: unknown): void {
  const text = error instanceof StartupError ? error.message : error instanceof Error ? error.stack : String(error);
  process.stderr.write(`${text}\n`);
  process.exit(1);
}

main().catch(fail);
