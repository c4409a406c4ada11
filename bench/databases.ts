import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { migrate } from '../src/db/migrator.ts';
import { startEmbedded } from '../src/embedded/embedded.ts';
import { createLogger } from '../src/kernel/logger.ts';
import { type DataSetSize, makeDataSet } from '../test/support/data-set.ts';

export interface DatabaseUrls {
  ownerUrl: string;
  runtimeUrl: string | undefined;
}

/** Databases of one server, made when a benchmark asks for them, so that each waits for its own data only. */
export interface Databases {
  /** Migrated and filled with a fleet of that size. Whoever asks for the same name gets the same database. */
  open(name: string, size: DataSetSize): Promise<DatabaseUrls>;
}

/** What the dashboard's figures are promised for. */
export const fullSize: DataSetSize = { projects: 1_000, worktrees: 10_000, activities: 1_000_000 };
/** As many worktrees; made in seconds, for what does not read activities. */
export const quickSize: DataSetSize = { ...fullSize, activities: 10_000 };

const log = createLogger('warn');

export async function openDatabases(opened: AsyncDisposableStack): Promise<Databases> {
  const server = await openServer(opened);
  const suffix = randomBytes(4).toString('hex');
  const known = new Map<string, Promise<DatabaseUrls>>();

  async function make(name: string, size: DataSetSize): Promise<DatabaseUrls> {
    const database = `treeline_bench_${name}_${suffix}`;
    await asOwner(server.ownerUrl, async (client) => {
      await client.query(`create database ${database}`);
      await client.query(`alter role current_user in database ${database} set search_path = registry, public`);
    });
    // Without force, which may not end an autovacuum of the server's own: it is told to go all the same.
    opened.defer(() =>
      asOwner(server.ownerUrl, async (client) => void (await client.query(`drop database ${database}`))),
    );
    const urls = {
      ownerUrl: inDatabase(server.ownerUrl, database),
      runtimeUrl: server.runtimeUrl === undefined ? undefined : inDatabase(server.runtimeUrl, database),
    };
    await migrate(urls.ownerUrl, { log });
    const startedAt = performance.now();
    await asOwner(urls.ownerUrl, (client) => makeDataSet(client, size));
    console.log(
      `Data: ${size.projects} projects, ${size.worktrees} worktrees, ${size.activities} activities, ` +
        `made in ${Math.round((performance.now() - startedAt) / 1_000)} s`,
    );
    return urls;
  }

  return {
    open(name, size) {
      const made = known.get(name) ?? make(name, size);
      known.set(name, made);
      return made;
    },
  };
}

async function openServer(opened: AsyncDisposableStack): Promise<DatabaseUrls> {
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

function inDatabase(url: string, name: string): string {
  const other = new URL(url);
  other.pathname = `/${name}`;
  return other.href;
}

export async function asOwner<Result>(
  ownerUrl: string,
  action: (client: pg.Client) => Promise<Result>,
): Promise<Result> {
  const client = new pg.Client({ connectionString: ownerUrl });
  await client.connect();
  try {
    return await action(client);
  } finally {
    await client.end();
  }
}

/** The owner of the schema, as the principal of the gateways that the benchmarks start: the first of them makes it. */
export function asLocal<Result>(
  { ownerUrl }: DatabaseUrls,
  action: (client: pg.Client, principalId: string) => Promise<Result>,
): Promise<Result> {
  return asOwner(ownerUrl, async (client) => {
    const { rows } = await client.query<{ id: string }>(`select id from auth.principals where handle = 'local'`);
    const principalId = rows[0]?.id;
    if (principalId === undefined) throw new Error('no gateway has been started on this database yet');
    await client.query(`select set_config('app.current_user_id', $1, false)`, [principalId]);
    return action(client, principalId);
  });
}

export function activeWorktreeIds(ownerUrl: string): Promise<string[]> {
  return asOwner(ownerUrl, async (client) => {
    const { rows } = await client.query<{ id: string }>('select id from registry.worktrees where active order by path');
    return rows.map((row) => row.id);
  });
}

/** Whether changes of worktrees are written to the log. */
export async function setLogged(ownerUrl: string, logged: boolean): Promise<void> {
  const triggers = ['insert', 'update', 'delete', 'truncate'].map(
    (operation) => `${logged ? 'enable' : 'disable'} trigger feed_worktrees_${operation}`,
  );
  await asOwner(ownerUrl, (client) => client.query(`alter table registry.worktrees ${triggers.join(', ')}`));
}
