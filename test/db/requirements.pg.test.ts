import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { migrate, type Queryable } from '../../src/db/migrator.ts';
import { checkRequirements, checkRuntime } from '../../src/db/requirements.ts';
import { type EmbeddedServer, startEmbedded } from '../../src/embedded/embedded.ts';
import { StartupError } from '../../src/kernel/errors.ts';
import { createLogger } from '../../src/kernel/logger.ts';
import { createTestDatabase, inDatabase, type TestDatabase } from '../support/database.ts';

const log = createLogger('silent');

async function connected<T>(url: string, action: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await action(client);
  } finally {
    await client.end();
  }
}

function newName(kind: string): string {
  return `treeline_${kind}_${randomUUID().replaceAll('-', '')}`;
}

function asLogin(url: string, login: string): string {
  const other = new URL(url);
  other.username = login;
  other.password = 'secret';
  return other.href;
}

async function refusal(check: Promise<void>): Promise<string> {
  const error = await check.then(
    () => new Error('nothing was refused'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(StartupError);
  return (error as StartupError).message;
}

/** The statements that a message tells the operator to run. */
function statementsIn(message: string): string[] {
  return message.split('\n').flatMap((line) => /^ {6}(.*;)$/.exec(line)?.[1] ?? []);
}

describe('the requirements', () => {
  let database: TestDatabase;
  let stranger: string;

  beforeEach(async () => {
    database = await createTestDatabase({ migrated: false });
    stranger = newName('stranger');
    await database.owner.query(`create role ${stranger} login password 'secret'`);
  });
  afterEach(async () => {
    await database.close();
    await connected(inDatabase(database.ownerUrl, 'postgres'), (client) => client.query(`drop role ${stranger}`));
  });

  it('are met by the owner of an empty database, and again after its migration', async () => {
    await checkRequirements(database.owner);
    await migrate(database.ownerUrl, { log });
    await checkRequirements(database.owner);
  });

  it('name every missing right with the statement that grants it, and those statements are enough', async () => {
    const url = asLogin(database.ownerUrl, stranger);
    const message = await refusal(connected(url, checkRequirements));
    const statements = statementsIn(message);
    expect(statements).toEqual([
      expect.stringMatching(/^GRANT CREATE ON DATABASE "treeline_test_\w+" TO "treeline_stranger_\w+";$/),
      expect.stringMatching(/^GRANT treeline_runtime TO "treeline_stranger_\w+"( WITH SET TRUE)?;$/),
    ]);
    for (const statement of statements) await database.owner.query(statement);
    await connected(url, checkRequirements);
    expect(await migrate(url, { log })).toContain('0001_roles');
    const asRuntime = await connected(url, async (client) => {
      await client.query('set role treeline_runtime');
      await checkRuntime(client);
      return (await client.query('select current_user as me')).rows;
    });
    expect(asRuntime).toEqual([{ me: 'treeline_runtime' }]);
  });

  it("refuse a database in which somebody else's schema has the name of ours", async () => {
    await database.owner.query('create schema auth');
    expect(await refusal(checkRequirements(database.owner))).toMatch(
      /schemas auth exist.*\n.*CREATE DATABASE treeline/,
    );
  });

  it('refuse an encoding that cannot hold every name', async () => {
    const name = newName('ascii');
    await database.owner.query(
      `create database ${name} encoding 'SQL_ASCII' locale_provider libc locale 'C' template template0`,
    );
    try {
      const message = await refusal(connected(inDatabase(database.ownerUrl, name), checkRequirements));
      expect(message).toMatch(/SQL_ASCII.*\n.*CREATE DATABASE treeline OWNER .* ENCODING 'UTF8'/);
    } finally {
      await database.owner.query(`drop database ${name}`);
    }
  });

  it('refuse a server that is too old, and say what it is', async () => {
    // No such server can be had from a package registry; this is all that is asked of one before it is refused.
    const old = { query: async () => ({ rows: [{ version: '14.13', major: 14 }] }) } as unknown as Queryable;
    expect(await refusal(checkRequirements(old))).toMatch(/needs PostgreSQL 15 or newer.*version 14\.13/);
  });

  it.each([
    ['a server that is not there', (url: URL) => Object.assign(url, { port: '1' }), /ECONNREFUSED/],
    ['a wrong password', (url: URL) => Object.assign(url, { username: 'nobody_here' }), /nobody_here/],
    ['a database that does not exist', (url: URL) => Object.assign(url, { pathname: '/nowhere' }), /"nowhere"/],
  ])('say that %s cannot be reached, and why', async (_, change, reason) => {
    const pool = new pg.Pool({ connectionString: change(new URL(database.ownerUrl)).href });
    try {
      const message = await refusal(checkRequirements(pool));
      expect(message).toMatch(/cannot be reached with DATABASE_URL/);
      expect(message).toMatch(reason);
    } finally {
      await pool.end();
    }
  });
});

describe('request work', () => {
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database.close());

  it('may run as treeline_runtime', async () => {
    await checkRuntime(database.runtime);
  });

  it('may not run as the owner of the tables', async () => {
    const message = await refusal(connected(database.ownerUrl, checkRuntime));
    expect(message).toMatch(/superuser|owns the tables/);
    expect(message).toContain('DATABASE_RUNTIME_URL');
  });
});

describe('on a server of its own', () => {
  let dataDir: string;
  let server: EmbeddedServer;
  let superuserUrl: string;

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'treeline-requirements-'));
    await chmod(dataDir, 0o755);
    server = await startEmbedded({ dataDir, log, durable: false });
    const { superuser } = JSON.parse(await readFile(join(dataDir, 'postgres', 'passwords.json'), 'utf8'));
    superuserUrl = Object.assign(new URL(server.ownerUrl), { username: 'postgres', password: superuser }).href;
  });
  afterAll(async () => {
    await server.stop();
    await rm(dataDir, { recursive: true });
  });

  it('whoever may not create roles is told to have treeline_runtime created, and that is enough', async () => {
    await connected(superuserUrl, async (client) => {
      await client.query('drop role treeline_runtime');
      await client.query(`create role plain login password 'secret'`);
      await client.query('create database plain owner plain');
    });
    const url = inDatabase(asLogin(server.ownerUrl, 'plain'), 'plain');
    const statements = statementsIn(await refusal(connected(url, checkRequirements)));
    expect(statements).toEqual([
      'CREATE ROLE treeline_runtime NOLOGIN; GRANT treeline_runtime TO "plain" WITH SET TRUE;',
    ]);
    await connected(superuserUrl, (client) => client.query(statements.join('\n')));
    await connected(url, checkRequirements);
    await migrate(url, { log });
  });

  it('a pg_trgm that is where the search does not look is named, and moved by the statement given', async () => {
    const owner = new pg.Pool({ connectionString: server.ownerUrl, max: 1 });
    try {
      await owner.query('create schema elsewhere; create extension pg_trgm with schema elsewhere');
      const message = await refusal(checkRequirements(owner));
      expect(message).toContain('pg_trgm is in the schema elsewhere');
      const superuserHere = inDatabase(superuserUrl, 'treeline');
      await connected(superuserHere, (client) => client.query(statementsIn(message).join('\n')));
      await checkRequirements(owner);
    } finally {
      await owner.end();
    }
  });

  it.each([
    ['superuser', 'a superuser'],
    ['bypassrls', 'a role with BYPASSRLS'],
  ])('a %s may not do request work', async (attribute, words) => {
    const role = newName(attribute);
    await connected(superuserUrl, (client) => client.query(`create role ${role} login password 'secret' ${attribute}`));
    expect(await refusal(connected(asLogin(server.ownerUrl, role), checkRuntime))).toContain(words);
  });

  it('a login without the rights of treeline_runtime is told how to get them', async () => {
    const role = newName('login');
    await connected(superuserUrl, (client) => client.query(`create role ${role} login password 'secret'`));
    const message = await refusal(connected(asLogin(server.ownerUrl, role), checkRuntime));
    expect(message).toContain(`GRANT treeline_runtime TO "${role}"`);
  });
});
