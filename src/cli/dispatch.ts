import { type App, startApp } from '../app.ts';
import type { Config } from '../config.ts';
import { StartupError } from '../kernel/errors.ts';
import { createLogger } from '../kernel/logger.ts';

/**
 * Runs triggers without serving anybody, beside gateways of the same database, until it is told to stop; what runs then is
 * waited for.
 */
export async function runDispatch(config: Config): Promise<void> {
  // A second process cannot have the embedded server; and a gateway that started it dispatches already.
  if (config.DATABASE_URL === undefined) {
    throw new StartupError(
      'Expected DATABASE_URL: a dispatcher of its own shares the database of gateways. The embedded one has its gateway for it.',
    );
  }
  const app = await startApp({ config, log: createLogger(config.TREELINE_LOG), serve: false });
  // Before it says that it is ready: whoever reads that may stop it at once.
  const told = untilTold();
  process.stdout.write('Treeline dispatches.\n');
  await told;
  await stopUnlessHurried(app);
}

function untilTold(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
}

/** Told twice, somebody is in a hurry: what runs is begun again elsewhere, once its lease ends. */
async function stopUnlessHurried(app: App): Promise<void> {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
  await app.stop();
  process.exit(0);
}
