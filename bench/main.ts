/**
 * `npm run bench [-- NAME]`: each benchmark measures Treeline beside a peer and beside the limit, in one run, in
 * interleaved rounds, and prints medians. Figures of different runs or machines say little; ratios within a run do.
 *
 *   BENCH_SECONDS   how long each round lasts (3)
 *   BENCH_ROUNDS    how many rounds each contender gets (5)
 *   BENCH_JOBS      how many jobs each round of `dispatch` has (10,000)
 *   BENCH_PROFILE   a folder in which each gateway leaves its processor profile (as `node --cpu-prof`)
 *   BENCH_VERBOSE   show what the servers write to standard error
 *   DATABASE_URL    a server to make databases on, as a role with CREATEDB and CREATEROLE; unset: a temporary embedded one
 */
import { chatAppend } from './chat-append.ts';
import { chatOpen } from './chat-open.ts';
import { chatSnapshot } from './chat-snapshot.ts';
import { dashboard } from './dashboard.ts';
import { openDatabases } from './databases.ts';
import { dispatch } from './dispatch.ts';
import { dispatchLatency } from './dispatch-latency.ts';
import { fanOut } from './fan-out.ts';
import { feedMutation } from './feed-mutation.ts';
import { feedWrite } from './feed-write.ts';
import { gitState } from './git-state.ts';
import { liveLatency } from './live-latency.ts';
import { mirrorHeal } from './mirror-heal.ts';
import { mirrorWrite } from './mirror-write.ts';
import { syncExport } from './sync-export.ts';
import { syncImport } from './sync-import.ts';
import { syncPull } from './sync-pull.ts';
import { syncPush } from './sync-push.ts';

const benches = {
  dashboard,
  'git-state': gitState,
  'feed-write': feedWrite,
  'feed-mutation': feedMutation,
  'fan-out': fanOut,
  'live-latency': liveLatency,
  'chat-append': chatAppend,
  'chat-open': chatOpen,
  'chat-snapshot': chatSnapshot,
  'sync-push': syncPush,
  'sync-pull': syncPull,
  'sync-export': syncExport,
  'sync-import': syncImport,
  'mirror-write': mirrorWrite,
  'mirror-heal': mirrorHeal,
  dispatch,
  'dispatch-latency': dispatchLatency,
};

async function main(): Promise<void> {
  const [wanted] = process.argv.slice(2);
  const chosen = Object.entries(benches).filter(([name]) => wanted === undefined || name === wanted);
  if (chosen.length === 0) throw new Error(`Expected one of ${Object.keys(benches).join(', ')}, got ${wanted}.`);
  await using opened = new AsyncDisposableStack();
  const databases = await openDatabases(opened);
  for (const [name, bench] of chosen) {
    console.log(`\n## ${name}`);
    await bench(databases);
  }
}

await main();
