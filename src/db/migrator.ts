import { Kysely, PostgresDialect } from 'kysely';
import { Migrator } from 'kysely/migration';
import pg from 'pg';
import { StartupError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { listMigrations, migrationsDirectory, sqlMigrations } from './migrations.ts';
import { sqlstate } from './sqlstate.ts';

/**
 * Brings a database to the schema of this version. Several gateways may start at once: one migrates, the others wait for
 * it and find nothing left to do.
 *
 * Kysely's own lock begins only after it has made its tables, and `create table if not exists` is no protection against
 * another session that makes the same table; so a session lock of ours is around everything.
 */

export interface MigrationOptions {
  log: Logger;
  /** Another folder of migrations: for tests. */
  directory?: string;
}

/** Anything of node-postgres that runs a statement. */
export type Queryable = Pick<pg.Pool, 'query'>;

export interface MigrationState {
  /** `ahead`: the database has migrations that this version does not know, whatever else it lacks. */
  state: 'current' | 'behind' | 'ahead';
  /** Migrations of this version that the database has not, in order. */
  pending: string[];
  /** Migrations of the database that this version does not know, in order. */
  unknown: string[];
}

const bookkeeping = { schema: 'treeline', table: 'migrations', lockTable: 'migration_lock' } as const;

/** "treeline" in ASCII as a number: any will do that no other program locks. */
const lockKey = '8390880542029606501';

/**
 * Applies what is missing, each migration in a transaction of its own, and returns the names of those it applied.
 * @param ownerUrl a direct connection (no transaction-mode pooler) as the role that owns the schema
 * @throws StartupError when the database is newer than this version
 * @throws Error naming file and line when a migration fails; the ones before it stay applied
 */
export async function migrate(
  ownerUrl: string,
  { log, directory = migrationsDirectory }: MigrationOptions,
): Promise<string[]> {
  const pool = new pg.Pool({
    connectionString: ownerUrl,
    max: 2,
    application_name: 'treeline-migrate',
    // A migration may take its time, and its notices ("extension exists, skipping") are not news.
    options:
      '-c search_path=public -c timezone=UTC -c statement_timeout=0 -c idle_session_timeout=0 -c client_min_messages=warning',
  });
  // An idle connection that breaks; a statement under way fails by itself.
  const noted = ({ message }: Error) => log.debug(`a connection of the migrations ended: ${message}`);
  pool.on('error', noted);
  pool.on('connect', (client) => client.on('error', noted));
  try {
    // A connection for the lock alone: the pool drops one in which a statement failed, and the lock with it.
    const locker = await pool.connect();
    try {
      await locker.query('select pg_advisory_lock($1::bigint)', [lockKey]);
      const state = await migrationState(pool, directory);
      refuseNewer(state);
      // As at nearly every start: Kysely would read the whole catalog several times to find that out.
      if (state.pending.length === 0) return [];
      return await applyAll(new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) }), directory, log);
    } finally {
      // Ends the session, which frees the lock, whatever state it is in.
      locker.release(true);
    }
  } finally {
    await pool.end();
  }
}

async function applyAll(db: Kysely<unknown>, directory: string, log: Logger): Promise<string[]> {
  const migrator = new Migrator({
    db,
    provider: sqlMigrations(directory),
    migrationTableSchema: bookkeeping.schema,
    migrationTableName: bookkeeping.table,
    migrationLockTableName: bookkeeping.lockTable,
  });
  const applied: string[] = [];
  for (;;) {
    // Kysely's "to latest" is one transaction around all of them; one step at a time is one transaction each.
    const { error, results = [] } = await migrator.migrateUp();
    if (error !== undefined) throw error;
    const [step] = results;
    if (step === undefined) return applied;
    log.info({ migration: step.migrationName }, 'applied a migration');
    applied.push(step.migrationName);
  }
}

/**
 * How the database's schema stands to this version; one cheap statement, for `/ready` too.
 * @param owner a connection as the role that owns the schema
 */
export async function migrationState(owner: Queryable, directory = migrationsDirectory): Promise<MigrationState> {
  const known = await listMigrations(directory);
  const applied = await appliedMigrations(owner);
  const pending = known.filter((name) => !applied.includes(name));
  const unknown = applied.filter((name) => !known.includes(name));
  return { state: unknown.length > 0 ? 'ahead' : pending.length > 0 ? 'behind' : 'current', pending, unknown };
}

/**
 * For a start that does not migrate.
 * @throws StartupError when the schema is older or newer than this version
 */
export async function requireCurrent(owner: Queryable): Promise<void> {
  const state = await migrationState(owner);
  refuseNewer(state);
  if (state.state === 'behind') {
    throw new StartupError(
      `The database lacks ${count(state.pending.length, 'migration')} (${state.pending.join(', ')}). ` +
        'Run "treeline migrate", or start without --no-migrate.',
    );
  }
}

function refuseNewer({ unknown }: MigrationState): void {
  if (unknown.length === 0) return;
  throw new StartupError(
    `The database has ${count(unknown.length, 'migration')} that this version does not know (${unknown.join(', ')}). ` +
      'Install a newer Treeline, or point DATABASE_URL at another database.',
  );
}

async function appliedMigrations(owner: Queryable): Promise<string[]> {
  try {
    const { rows } = await owner.query<{ name: string }>(
      `select name from ${bookkeeping.schema}.${bookkeeping.table} order by name collate "C"`,
    );
    return rows.map((row) => row.name);
  } catch (error) {
    if (error instanceof pg.DatabaseError && error.code === sqlstate.undefinedTable) return [];
    throw error;
  }
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
