import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { inject } from 'vitest';
// For its declaration of what the run provides.
import type {} from './global-setup.ts';

/** A migrated database of a test file's own. */
export interface TestDatabase {
  /** As the role that owns the schema. */
  ownerUrl: string;
  /** As the login for request work; it takes on `treeline_runtime` only if asked to: see `runtimeClient`. */
  runtimeUrl: string;
  owner: pg.Pool;
  /** A connection that works as a request does: as `treeline_runtime`. Closed with the database. */
  runtime: pg.Pool;
  /** One more connection as the owner; whoever asks ends it. */
  connect(): Promise<pg.Client>;
  /**
   * Drops the database.
   * @throws Error when connections that the test opened itself are still there
   */
  close(): Promise<void>;
}

export interface TestDatabaseOptions {
  /** False: an empty database, for tests of the migrations themselves. */
  migrated?: boolean;
}

/** Clones the run's template database (some 50 ms). Call it in `beforeAll`, and `close` in `afterAll`. */
export async function createTestDatabase({ migrated = true }: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const server = inject('ownerUrl');
  const name = `treeline_test_${randomUUID().replaceAll('-', '')}`;
  await onServer(server, async (client) => {
    await client.query(`create database ${name} template ${migrated ? inject('template') : 'template1'}`);
    await client.query(`alter role current_user in database ${name} set search_path = registry, public`);
  });
  const ownerUrl = inDatabase(server, name);
  const runtimeUrl = inDatabase(inject('runtimeUrl') ?? server, name);
  const owner = new pg.Pool({ connectionString: ownerUrl, max: 10, application_name: 'test-owner' });
  const runtime = new pg.Pool({
    connectionString: runtimeUrl,
    max: 10,
    application_name: 'test-runtime',
    options: '-c role=treeline_runtime -c timezone=UTC',
  });
  return {
    ownerUrl,
    runtimeUrl,
    owner,
    runtime,
    connect: async () => {
      const client = new pg.Client({ connectionString: ownerUrl, application_name: 'test-client' });
      await client.connect();
      return client;
    },
    close: async () => {
      await Promise.all([owner.end(), runtime.end()]);
      await onServer(server, (client) => drop(client, name));
    },
  };
}

/** The same server's URL for another of its databases. */
export function inDatabase(url: string, name: string): string {
  const other = new URL(url);
  other.pathname = `/${name}`;
  return other.href;
}

async function drop(client: pg.Client, name: string): Promise<void> {
  const leaked = await connectionsLeft(client, name);
  await dropForGood(client, name);
  if (leaked.length > 0) throw new Error(`the test left connections open: ${leaked.join(', ')}`);
}

/** Where the server itself is at it (autovacuum), the owner may not send it away: it is gone in a moment. */
async function dropForGood(client: pg.Client, name: string): Promise<void> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    try {
      await client.query(`drop database ${name} with (force)`);
      return;
    } catch (error) {
      const passing = error instanceof pg.DatabaseError && ['42501', '55006'].includes(error.code ?? '');
      if (!passing || Date.now() > deadline) throw error;
      await sleep(100);
    }
  }
}

/** The server learns of a closed connection a moment after the client did. */
async function connectionsLeft(client: pg.Client, name: string): Promise<string[]> {
  const deadline = Date.now() + 2_000;
  for (;;) {
    const { rows } = await client.query<{ application_name: string }>(
      `select application_name from pg_stat_activity where datname = $1 and backend_type = 'client backend'`,
      [name],
    );
    if (rows.length === 0 || Date.now() > deadline) return rows.map((row) => row.application_name);
    await sleep(10);
  }
}

async function onServer(url: string, action: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await action(client);
  } finally {
    await client.end();
  }
}
