/**
 * `npm run bench [-- NAME]`: each benchmark measures Treeline beside a peer and beside the limit, in one run, in
 * interleaved rounds, and prints medians. Figures of different runs or machines say little; ratios within a run do.
 *
 *   BENCH_SECONDS   how long each round lasts (3)
 *   BENCH_ROUNDS    how many rounds each contender gets (5)
 *   DATABASE_URL    an empty database to fill; unset: a temporary embedded server
 */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { migrate } from '../src/db/migrator.ts';
import { startEmbedded } from '../src/embedded/embedded.ts';
import { createLogger } from '../src/kernel/logger.ts';
import { makeDataSet } from '../test/support/data-set.ts';
import { dashboard } from './dashboard.ts';
import { gitState } from './git-state.ts';

const benches = { dashboard, 'git-state': gitState };
const dataSet = { projects: 1_000, worktrees: 10_000, activities: 1_000_000 };
const log = createLogger('warn');

async function main(): Promise<void> {
  const [wanted] = process.argv.slice(2);
  const chosen = Object.entries(benches).filter(([name]) => wanted === undefined || name === wanted);
  if (chosen.length === 0) throw new Error(`Expected one of ${Object.keys(benches).join(', ')}, got ${wanted}.`);
  await using opened = new AsyncDisposableStack();
  const urls = await openDatabase(opened);
  await migrate(urls.ownerUrl, { log });
  const owner = new pg.Client({ connectionString: urls.ownerUrl });
  await owner.connect();
  opened.defer(() => owner.end());
  const startedAt = performance.now();
  await makeDataSet(owner, dataSet);
  console.log(
    `Data: ${dataSet.projects} projects, ${dataSet.worktrees} worktrees, ${dataSet.activities} activities, ` +
      `made in ${Math.round((performance.now() - startedAt) / 1_000)} s`,
  );
  for (const [name, bench] of chosen) {
    console.log(`\n## ${name}`);
    await bench(urls);
  }
}

export interface DatabaseUrls {
  ownerUrl: string;
  runtimeUrl: string | undefined;
}

async function openDatabase(opened: AsyncDisposableStack): Promise<DatabaseUrls> {
  const given = process.env.DATABASE_URL;
  if (given !== undefined && given !== '') return { ownerUrl: given, runtimeUrl: undefined };
  const dataDir = await mkdtemp(join(tmpdir(), 'treeline-bench-'));
  // Under root PostgreSQL runs as another user, which must get in.
  await chmod(dataDir, 0o755);
  opened.defer(() => rm(dataDir, { recursive: true, force: true }));
  const server = await startEmbedded({ dataDir, log });
  opened.defer(() => server.stop());
  return { ownerUrl: server.ownerUrl, runtimeUrl: server.runtimeUrl };
}

await main();
