import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { migrate } from '../../src/db/migrator.ts';
import { startEmbedded } from '../../src/embedded/embedded.ts';
import { createLogger } from '../../src/kernel/logger.ts';

/** What every test file gets from the run: one server, and on it one migrated database to clone. */
declare module 'vitest' {
  export interface ProvidedContext {
    /** The server's own database, as the owner: for `create database`. */
    ownerUrl: string;
    /** A login of its own for request work; null where the owner's takes on the runtime role. */
    runtimeUrl: string | null;
    template: string;
  }
}

const log = createLogger('error');

/** Starts an embedded server in a fresh folder, or uses `TEST_DATABASE_URL` (an owner with CREATEDB and CREATEROLE). */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // Every file is a process of its own, and so is every gateway and command that is started: compiled once, for all of them.
  process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL('../../node_modules/.cache/compiled', import.meta.url));
  const server = await openServer();
  try {
    const template = await createTemplate(server.ownerUrl);
    project.provide('ownerUrl', server.ownerUrl);
    project.provide('runtimeUrl', server.runtimeUrl);
    project.provide('template', template);
    return async () => {
      await dropTemplate(server.ownerUrl, template);
      await server.close();
    };
  } catch (error) {
    await server.close();
    throw error;
  }
}

interface Server {
  ownerUrl: string;
  runtimeUrl: string | null;
  close(): Promise<void>;
}

async function openServer(): Promise<Server> {
  const given = process.env.TEST_DATABASE_URL;
  if (given !== undefined && given !== '') {
    return { ownerUrl: given, runtimeUrl: null, close: async () => {} };
  }
  const dataDir = await mkdtemp(join(tmpdir(), 'treeline-test-'));
  // mkdtemp makes it private, but under root PostgreSQL runs as another user.
  await chmod(dataDir, 0o755);
  const server = await startEmbedded({ dataDir, log, durable: false });
  return {
    ownerUrl: server.ownerUrl,
    runtimeUrl: server.runtimeUrl,
    close: async () => {
      await server.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function createTemplate(ownerUrl: string): Promise<string> {
  const name = `treeline_template_${randomUUID().replaceAll('-', '')}`;
  await query(ownerUrl, `create database ${name}`);
  const url = new URL(ownerUrl);
  url.pathname = `/${name}`;
  await migrate(url.href, { log });
  // A database that nobody can connect to is never "being accessed by other users" when it is cloned.
  await query(ownerUrl, `alter database ${name} allow_connections false`);
  return name;
}

async function dropTemplate(ownerUrl: string, name: string): Promise<void> {
  await query(ownerUrl, `drop database if exists ${name} with (force)`);
}

async function query(url: string, text: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(text);
  } finally {
    await client.end();
  }
}
