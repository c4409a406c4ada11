import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, describe, expect, inject, test } from 'vitest';
import { migrate } from '../../src/db/migrator.ts';
import { startEmbedded } from '../../src/embedded/embedded.ts';
import { createLogger } from '../../src/kernel/logger.ts';
import { createTestDatabase, inDatabase, type TestDatabase } from '../support/database.ts';
import { type GatewayProcess, makeToken, spawnGateway } from '../support/gateway-process.ts';
import { rows } from '../support/sql.ts';
import { watch } from '../support/watch.ts';

const document = 'subscription ($after: Cursor) { events(after: $after) { cursor data } }';
const schemas = ['auth', 'registry', 'feed', 'chat', 'sync', 'mirror', 'mai', 'triggers'];
const log = createLogger('error');

/** A copy counts its transactions anew, or in its own way: what is in it must not be taken for its own history. */
describe('a database that was copied', () => {
  const opened: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of opened.splice(0).reverse()) await close();
  });
  const token = makeToken();

  async function gatewayOf(databaseUrl: string): Promise<GatewayProcess> {
    const gateway = await spawnGateway({ databaseUrl, token });
    opened.push(() => gateway.stop());
    return gateway;
  }

  /** A database in which much has happened, and cursors from before, between and after it. */
  async function original(): Promise<{ database: TestDatabase; cursors: string[] }> {
    const database = await createTestDatabase();
    opened.push(() => database.close());
    const gateway = await spawnGateway({ databaseUrl: database.ownerUrl, token });
    const cursors: string[] = [];
    for (let n = 0; n < 3; n += 1) {
      cursors.push((await gateway.ask<{ cursor: string }>('{ cursor }')).cursor);
      await database.owner.query(
        `select registry.register_worktree(registry.register_project('copied', null), 'feat', $1, 'feat/x', $2)`,
        [`w${n}`, `/copied/${n}`],
      );
    }
    cursors.push((await gateway.ask<{ cursor: string }>('{ cursor }')).cursor);
    await gateway.stop();
    return { database, cursors };
  }

  async function worksAnew(databaseUrl: string, cursors: readonly string[]): Promise<void> {
    const gateway = await gatewayOf(databaseUrl);
    for (const after of cursors) {
      const refused = await watch(gateway, document, { after });
      expect(await refused.failure()).toMatchObject({ extensions: { code: 'CURSOR_EXPIRED' } });
      await refused.close();
    }
    const { cursor } = await gateway.ask<{ cursor: string }>('{ cursor }');
    const live = await watch<{ cursor: string; data: { name: string } }>(gateway, document);
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    await client.query(`update registry.worktrees set behind_trunk = 9 where name = 'w1'`);
    await client.end();
    expect(await live.next()).toMatchObject({ data: { name: 'w1' } });
    const resumed = await watch<{ data: { name: string } }>(gateway, document, { after: cursor });
    expect(await resumed.next()).toMatchObject({ data: { name: 'w1' } });
    await live.close();
    await resumed.close();
  }

  test('by a dump that is restored into a new cluster: nothing is stuck, new cursors work, old ones have expired', async () => {
    const { database, cursors } = await original();
    // Let the old cluster be far ahead of the new one.
    await database.owner.query(
      `do $$ begin for n in 1..3000 loop perform pg_current_xact_id(); commit; end loop; end $$`,
    );
    const dataDir = await mkdtemp(join(tmpdir(), 'treeline-restore-'));
    await chmod(dataDir, 0o755);
    opened.push(() => rm(dataDir, { recursive: true, force: true }));
    const server = await startEmbedded({ dataDir, log, durable: false });
    opened.push(() => server.stop());
    await migrate(server.ownerUrl, { log });
    await restore(database.owner, server.ownerUrl);
    await worksAnew(server.ownerUrl, cursors);
  });

  test('within its cluster', async () => {
    const { database, cursors } = await original();
    const name = new URL(database.ownerUrl).pathname.slice(1);
    const admin = new pg.Client({ connectionString: inject('ownerUrl') });
    await admin.connect();
    opened.push(() => admin.end());
    // A template may have no other connections.
    database.owner.on('error', () => {});
    await admin.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [name]);
    await admin.query(`create database ${name}_copy template ${name}`);
    opened.push(() => admin.query(`drop database ${name}_copy with (force)`));
    await worksAnew(inDatabase(database.ownerUrl, `${name}_copy`), cursors);
    // The original goes on as it was.
    const gateway = await gatewayOf(database.ownerUrl);
    const resumed = await watch<{ data: { name: string } }>(gateway, document, { after: cursors[2] });
    expect(await resumed.until((event) => event.data.name === 'w2')).toHaveLength(2);
    await resumed.close();
  });
});

/** As pg_dump and psql do it, with the data of all tables and sequences; the embedded server brings no pg_dump. */
async function restore(from: pg.Pool, toUrl: string): Promise<void> {
  const to = new pg.Client({ connectionString: toUrl });
  await to.connect();
  const tables = await rows<{ name: string; columns: string }>(
    from,
    `select c.oid::regclass::text as name, string_agg(quote_ident(attname), ', ' order by attnum) as columns
     from pg_class c join pg_attribute a on attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated = ''
     where relnamespace = any ($1::regnamespace[]) and relkind in ('r', 'p') and not relispartition
     group by c.oid`,
    [schemas],
  );
  await to.query('begin');
  for (const { name } of tables) await to.query(`alter table ${name} disable trigger user`);
  await to.query(`truncate ${tables.map((table) => table.name).join(', ')}`);
  const missing = new Set(tables.map((table) => table.name));
  // In any order that the foreign keys allow: a savepoint takes back what came too early.
  while (missing.size > 0) {
    const left = missing.size;
    for (const { name, columns } of tables.filter((table) => missing.has(table.name))) {
      const { rows: content } = await from.query<{ data: string }>(
        `select coalesce(json_agg(t), '[]')::text as data from ${name} t`,
      );
      await to.query('savepoint one');
      try {
        await to.query(
          `insert into ${name} (${columns}) overriding system value select ${columns} from json_populate_recordset(null::${name}, $1)`,
          [content[0]?.data],
        );
        missing.delete(name);
      } catch (error) {
        if (!(error instanceof pg.DatabaseError && error.code === '23503')) throw error;
        await to.query('rollback to one');
      }
    }
    if (missing.size === left) throw new Error(`cannot restore ${[...missing].join(', ')}`);
  }
  const { rows: sequences } = await from.query<{ name: string }>(
    `select oid::regclass::text as name from pg_class where relkind = 'S' and relnamespace = any ($1::regnamespace[])`,
    [schemas],
  );
  for (const { name } of sequences) {
    const { rows: last } = await from.query<{ last_value: string }>(`select last_value::text from ${name}`);
    await to.query('select setval($1, $2)', [name, last[0]?.last_value]);
  }
  for (const { name } of tables) await to.query(`alter table ${name} enable trigger user`);
  await to.query('commit');
  await to.end();
}
