import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { migrationsDirectory } from '../../src/db/migrations.ts';
import { migrate, migrationState, requireCurrent } from '../../src/db/migrator.ts';
import { StartupError } from '../../src/kernel/errors.ts';
import { createLogger } from '../../src/kernel/logger.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const log = createLogger('silent');

describe('the migrator', () => {
  let database: TestDatabase;
  let directory: string;

  beforeEach(async () => {
    database = await createTestDatabase({ migrated: false });
    directory = await mkdtemp(join(tmpdir(), 'treeline-migrations-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
    await database.close();
  });

  it('applies each migration exactly once when eight gateways start at once on an empty database', async () => {
    const starters = Array.from({ length: 8 }, () => migrate(database.ownerUrl, { log }));
    const applied = (await Promise.all(starters)).flat();
    const { rows } = await database.owner.query('select name from treeline.migrations order by name');
    expect(applied.toSorted()).toEqual(rows.map((row) => row.name));
    expect(new Set(applied).size).toBe(applied.length);
    expect(await migrationState(database.owner)).toEqual({ state: 'current', pending: [], unknown: [] });
  });

  it('migrates two databases of one cluster at once, though roles belong to the cluster', async () => {
    const other = await createTestDatabase({ migrated: false });
    try {
      const [here, there] = await Promise.all([database, other].map(({ ownerUrl }) => migrate(ownerUrl, { log })));
      expect(here).toEqual(there);
    } finally {
      await other.close();
    }
  });

  it('applies nothing to a database that is current', async () => {
    await migrate(database.ownerUrl, { log });
    expect(await migrate(database.ownerUrl, { log })).toEqual([]);
  });

  it('refuses a database that a newer version has migrated, and names what it does not know', async () => {
    await migrate(database.ownerUrl, { log });
    await cp(migrationsDirectory, directory, { recursive: true });
    await writeFile(join(directory, '9999_from_the_future.sql'), 'create table registry.future (id int);');
    expect(await migrate(database.ownerUrl, { log, directory })).toEqual(['9999_from_the_future']);
    const refusal = /does not know \(9999_from_the_future\).*newer Treeline/;
    await expect(migrate(database.ownerUrl, { log })).rejects.toThrow(refusal);
    await expect(migrate(database.ownerUrl, { log })).rejects.toBeInstanceOf(StartupError);
    await expect(requireCurrent(database.owner)).rejects.toThrow(refusal);
    expect(await migrationState(database.owner)).toMatchObject({ state: 'ahead', unknown: ['9999_from_the_future'] });
  });

  it('tells a start without migrations what is missing and what to run', async () => {
    await expect(requireCurrent(database.owner)).rejects.toThrow(/0001_roles.*"treeline migrate"/s);
    await migrate(database.ownerUrl, { log });
    await expect(requireCurrent(database.owner)).resolves.toBeUndefined();
  });

  it('keeps the migrations before a failed one, rolls that one back whole, and names its file and line', async () => {
    await writeFile(join(directory, '0001_good.sql'), 'create table public.good (id int);');
    await writeFile(join(directory, '0002_bad.sql'), 'create table public.half (id int);\n\nselect nonsense;');
    await expect(migrate(database.ownerUrl, { log, directory })).rejects.toThrow(/0002_bad\.sql:3: .*nonsense/);
    const { rows } = await database.owner.query(
      `select to_regclass('public.good') is not null as good, to_regclass('public.half') is not null as half`,
    );
    expect(rows).toEqual([{ good: true, half: false }]);
    expect(await migrationState(database.owner, directory)).toMatchObject({ state: 'behind', pending: ['0002_bad'] });
  });

  it('continues where a failed migration stopped, once it is mended', async () => {
    await writeFile(join(directory, '0001_good.sql'), 'select 1;');
    await writeFile(join(directory, '0002_bad.sql'), 'select nonsense;');
    await expect(migrate(database.ownerUrl, { log, directory })).rejects.toThrow();
    await writeFile(join(directory, '0002_bad.sql'), 'select 2;');
    expect(await migrate(database.ownerUrl, { log, directory })).toEqual(['0002_bad']);
  });

  it('lets the runtime role neither read nor write its bookkeeping', async () => {
    await migrate(database.ownerUrl, { log });
    await expect(database.runtime.query('select name from treeline.migrations')).rejects.toThrow(/permission denied/);
  });
});
