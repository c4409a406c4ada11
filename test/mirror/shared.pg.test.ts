import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { migrate } from '../../src/db/migrator.ts';
import { createLogger, type Logger } from '../../src/kernel/logger.ts';
import { attachMirror } from '../../src/mirror/attach.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startGateway } from '../support/gateway.ts';
import { refusalOf, rows, value } from '../support/sql.ts';

/**
 * A database that the older system had first: its table is its own, and an operator has to let the mirror in. The login that
 * owns it is one of a kind for the file, because logins belong to the whole server.
 */
describe('a database that the older system shares', () => {
  const login = `mai_owner_${randomUUID().replaceAll('-', '')}`;
  let database: TestDatabase;
  let older: pg.Pool;
  let me: string;

  beforeEach(async () => {
    database = await createTestDatabase({ migrated: false });
    me = await value<string>(database.owner, 'select quote_ident(current_user)');
    await database.owner.query(`grant create on database ${new URL(database.ownerUrl).pathname.slice(1)} to ${login}`);
    const url = new URL(database.ownerUrl);
    url.username = login;
    url.password = 'older';
    older = new pg.Pool({ connectionString: url.href, max: 2, application_name: 'test-older' });
    await older.query(`
      create schema mai;
      create table mai.projects (id varchar(40) primary key, name text not null, goal text, repo text, path text, memory_group text,
        status text check (status in ('active', 'archived', 'sleeping', 'paused')), metadata jsonb, created_at timestamptz default now(),
        updated_at timestamptz default now(), extra int default 7);
      insert into mai.projects (id, name, status) values ('old-one', 'Old one', 'sleeping'), ('old-two', 'Old two', 'paused')`);
  });
  afterEach(async () => {
    await older.query('drop schema mai cascade');
    await older.end();
    await database.close();
  });
  beforeAll(() => onServer(`create role ${login} login password 'older'`));
  afterAll(() => onServer(`drop role ${login}`));

  async function onServer(statement: string): Promise<void> {
    const any = await createTestDatabase({ migrated: false });
    await any.owner.query(statement);
    await any.close();
  }

  /** What is said of the mirror. */
  type Said = { msg: string; statement?: string }[];

  function listen(): { said: Said; log: Logger } {
    const said: Said = [];
    return {
      said,
      log: pino({ level: 'warn', base: null }, { write: (line: string) => void said.push(JSON.parse(line)) }),
    };
  }

  /** What a gateway says of the mirror while it starts, and when it is asked. */
  async function start(): Promise<{ said: Said; status: MirrorStatus }> {
    const { said, log } = listen();
    const gateway = await startGateway({ database, log });
    try {
      const { mirrorStatus } = await gateway.ask<{ mirrorStatus: MirrorStatus }>(
        '{ mirrorStatus { attached projectCount rowCount problems { problem statement } } }',
      );
      return { said, status: mirrorStatus };
    } finally {
      await gateway.close();
    }
  }

  /** The part of a start that is about the mirror, which takes less. */
  async function attach(): Promise<{ said: Said; attached: boolean }> {
    const { said, log } = listen();
    await migrate(database.ownerUrl, { log });
    await attachMirror({ ownerPool: database.owner, log, mayChange: true });
    return { said, attached: await value<boolean>(database.owner, 'select mirror.is_attached()') };
  }

  interface MirrorStatus {
    attached: boolean;
    projectCount: number;
    rowCount: number | null;
    problems: { problem: string; statement: string }[];
  }

  test('says at start what is missing, with the statement to run, until it is there; then both sides are joined', async () => {
    const ran: string[] = [];
    for (let starts = 0; starts < 6; starts += 1) {
      const { said, status } = await start();
      expect(said.map(({ statement }) => statement)).toEqual(status.problems.map(({ statement }) => statement));
      if (status.problems.length === 0) {
        expect(status).toMatchObject({ attached: true, projectCount: 0, rowCount: 2 });
        break;
      }
      expect(status).toMatchObject({ attached: false, rowCount: null });
      for (const { msg, statement } of said) {
        expect(msg).toContain('the mirror with mai.projects is off');
        expect(msg).toContain(statement);
        await older.query(statement ?? '');
        ran.push(statement ?? '');
      }
    }
    expect(ran).toEqual([
      `grant usage on schema mai to ${me};`,
      `grant select, insert, update, delete, trigger on mai.projects to ${me};`,
    ]);
    await database.owner.query(`select * from mirror.reconcile('from_mai')`);
    const told = await rows(database.owner, 'select slug, status, metadata from registry.projects order by slug');
    expect(told).toEqual([
      { slug: 'old-one', status: 'archived', metadata: {} },
      { slug: 'old-two', status: 'active', metadata: { mai_status: 'paused' } },
    ]);
    await database.owner.query(`update registry.projects set description = 'from here' where slug = 'old-two'`);
    await older.query(`update mai.projects set path = '/there' where id = 'old-two'`);
    expect(await rows(older, `select goal, status, extra from mai.projects where id = 'old-two'`)).toEqual([
      { goal: 'from here', status: 'paused', extra: 7 },
    ]);
    expect(await value(database.owner, `select trunk_path from registry.projects where slug = 'old-two'`)).toBe(
      '/there',
    );
    expect(await rows(database.owner, 'select * from mirror.drift()')).toEqual([]);
  });

  test('with row-level security wants a policy of its own, or updates would silently hit no row', async () => {
    await older.query(`
      grant usage on schema mai to ${me};
      grant select, insert, update, delete, trigger on mai.projects to ${me};
      alter table mai.projects enable row level security;
      create policy everybody_reads on mai.projects for select using (true)`);
    const { said, attached } = await attach();
    expect(attached).toBe(false);
    const policy = `create policy projax_write on mai.projects to ${me} using (true) with check (true);`;
    expect(said.map(({ statement }) => statement)).toEqual([policy]);
    await older.query(policy);
    expect(await attach()).toEqual({ said: [], attached: true });
    await database.owner.query(`insert into registry.projects (slug, name, managed_by) values ('new', 'New', '{mai}')`);
    expect(await value(older, `select name from mai.projects where id = 'new'`)).toBe('New');
    // Taken away again, writes here are refused and not lost.
    await older.query('drop policy projax_write on mai.projects');
    const refused = await refusalOf(
      database.owner.query(`update registry.projects set name = 'Newer' where slug = 'new'`),
    );
    expect(refused).toMatchObject({ code: 'FORBIDDEN', message: expect.stringContaining(policy) });
    expect(await value(database.owner, `select name from registry.projects where slug = 'new'`)).toBe('New');
  });

  test('whose policies might hide some rows is told of that', async () => {
    await older.query(`
      grant usage on schema mai to ${me};
      grant select, insert, update, delete, trigger on mai.projects to ${me};
      alter table mai.projects enable row level security;
      create policy projax_write on mai.projects to ${me} using (status = 'active');
      create policy not_all on mai.projects as restrictive using (name <> 'Secret')`);
    const { said } = await attach();
    expect(said.map(({ msg }) => msg)).toEqual([
      expect.stringContaining('The restrictive policy not_all may hide rows'),
      expect.stringContaining('no policy projax_write that opens it'),
    ]);
    await older.query(`drop policy not_all on mai.projects; ${said[1]?.statement}`);
    expect(await attach()).toEqual({ said: [], attached: true });
  });

  test('that lacks a column or a key is told how to add it', async () => {
    await older.query(`
      grant usage on schema mai to ${me};
      grant select, insert, update, delete, trigger on mai.projects to ${me};
      alter table mai.projects drop column goal, drop constraint projects_pkey`);
    const { said } = await attach();
    for (const { statement } of said) await older.query(statement ?? '');
    expect(said.map(({ statement }) => statement)).toEqual([
      'alter table mai.projects add column goal text;',
      'alter table mai.projects add primary key (id);',
    ]);
    expect(await attach()).toEqual({ said: [], attached: true });
  });

  test('whose rights are taken away again refuses writes of mirrored projects, and no others', async () => {
    await older.query(`
      grant usage on schema mai to ${me};
      grant select, insert, update, delete, trigger on mai.projects to ${me}`);
    await migrate(database.ownerUrl, { log: createLogger('silent') });
    await database.owner.query(
      `insert into registry.projects (slug, name, managed_by) values ('both', 'Both', '{mai}'), ('ours', 'Ours', '{}')`,
    );
    await older.query(`revoke update on mai.projects from ${me}`);
    const refused = await refusalOf(
      database.owner.query(`update registry.projects set name = 'X' where slug = 'both'`),
    );
    expect(refused).toMatchObject({
      code: 'FORBIDDEN',
      message: expect.stringContaining(`grant update on mai.projects to ${me};`),
    });
    await database.owner.query(`update registry.projects set name = 'X' where slug = 'ours'`);
    const drift = await refusalOf(database.owner.query('select * from mirror.drift()'));
    expect(drift).toMatchObject({
      code: 'FORBIDDEN',
      message: expect.stringContaining(`grant update on mai.projects to ${me};`),
    });
  });

  test('whose table is being written when a gateway starts is not waited for: the mirror is off, and made by hand later', async () => {
    await older.query(`
      grant usage on schema mai to ${me};
      grant select, insert, update, delete, trigger on mai.projects to ${me}`);
    const writer = await older.connect();
    try {
      await writer.query(`begin; update mai.projects set goal = 'open' where id = 'old-one'`);
      const { said, attached } = await attach();
      expect(said.map(({ statement }) => statement)).toContain('select * from mirror.attach();');
      expect(attached).toBe(false);
      await writer.query('commit');
    } finally {
      writer.release();
    }
    expect(await rows(database.owner, 'select * from mirror.attach()')).toEqual([]);
    expect(await attach()).toEqual({ said: [], attached: true });
  });

  test('what the older system refuses by rules of its own is refused here, with its words', async () => {
    await older.query(`
      grant usage on schema mai to ${me};
      grant select, insert, update, delete, trigger on mai.projects to ${me};
      alter table mai.projects add constraint short_goal check (length(goal) < 10)`);
    await migrate(database.ownerUrl, { log: createLogger('silent') });
    await database.owner.query(
      `insert into registry.projects (slug, name, managed_by) values ('both', 'Both', '{mai}')`,
    );
    const refused = await refusalOf(
      database.owner.query(`update registry.projects set description = 'longer than that' where slug = 'both'`),
    );
    expect(refused).toMatchObject({ code: 'CONFLICT', details: { constraint: 'short_goal' } });
    const long = await refusalOf(
      database.owner.query(
        `insert into registry.projects (slug, name, managed_by) values (repeat('s', 60), 'Long', '{mai}')`,
      ),
    );
    expect(long).toMatchObject({ code: 'CONFLICT', message: expect.stringContaining('character varying(40)') });
  });
});
