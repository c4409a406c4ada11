import pg from 'pg';
import type { Config } from '../config.ts';
import { migrate } from '../db/migrator.ts';
import { checkRequirements } from '../db/requirements.ts';
import { startEmbedded } from '../embedded/embedded.ts';
import { createLogger } from '../kernel/logger.ts';

/** Brings the schema up to date, of DATABASE_URL or of the embedded server, which is started for it. */
export async function runMigrate(config: Config): Promise<string> {
  const log = createLogger(config.TREELINE_LOG);
  await using opened = new AsyncDisposableStack();
  let ownerUrl = config.DATABASE_URL;
  if (ownerUrl === undefined) {
    const embedded = await startEmbedded({ dataDir: config.TREELINE_DATA_DIR, log });
    opened.defer(() => embedded.stop());
    ownerUrl = embedded.ownerUrl;
  }
  const owner = new pg.Pool({ connectionString: ownerUrl, max: 1 });
  opened.defer(() => owner.end());
  await checkRequirements(owner);
  const applied = await migrate(ownerUrl, { log });
  return applied.length === 0 ? 'The schema is current.' : `Applied ${applied.join(', ')}.`;
}
