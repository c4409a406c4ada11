import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LogEvent } from 'kysely';
import { type App, startApp } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import { createLogger, type Logger } from '../../src/kernel/logger.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';

/** What a GraphQL server answers. */
export interface Answer<Data> {
  status: number;
  data: Data;
  errors?: { message: string; path?: (string | number)[]; extensions: { code: string; requestId?: string } }[];
}

/** A gateway of a test file's own, on a database of its own, as `npm start` would run it. */
export interface TestGateway {
  url: string;
  wsUrl: string;
  /** The local admin token. */
  token: string;
  database: TestDatabase;
  app: App;
  /** Statements of request work since the last `takeStatements`. */
  takeStatements(): LogEvent[];
  /** Any other answer than the expected errors fails where it is used: nothing is checked here. */
  request<Data = Record<string, never>>(
    query: string,
    variables?: Record<string, unknown>,
    options?: { token?: string | null },
  ): Promise<Answer<Data>>;
  /** As `request`, but fails on errors. */
  ask<Data>(query: string, variables?: Record<string, unknown>, options?: { token?: string | null }): Promise<Data>;
  close(): Promise<void>;
}

export interface GatewayOptions {
  environment?: Record<string, string>;
  log?: Logger;
  /** Share a database with another gateway; whoever made it closes it. */
  database?: TestDatabase;
}

export async function startGateway({
  environment = {},
  log,
  database: shared,
}: GatewayOptions = {}): Promise<TestGateway> {
  const database = shared ?? (await createTestDatabase());
  const dataDir = await mkdtemp(join(tmpdir(), 'treeline-test-'));
  const token = `tl_${randomBytes(32).toString('base64url')}`;
  const statements: LogEvent[] = [];
  const config = readConfig({
    PORT: '0',
    DATABASE_URL: database.ownerUrl,
    TREELINE_DATA_DIR: dataDir,
    TREELINE_ADMIN_TOKEN: token,
    TREELINE_MAINTENANCE: 'off',
    // What a test does not ask for must not happen by itself.
    TREELINE_DISPATCH: 'off',
    TREELINE_LOG: 'error',
    ...environment,
  });
  const app = await startApp({
    config,
    log: log ?? createLogger(config.TREELINE_LOG),
    onStatement: (event) => void statements.push(event),
  });
  const request: TestGateway['request'] = async (query, variables = {}, options = {}) => {
    const bearer = options.token === undefined ? token : options.token;
    const response = await fetch(`${app.url}/graphql`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
      },
      body: JSON.stringify({ query, variables }),
    });
    return { status: response.status, ...((await response.json()) as object) } as never;
  };
  return {
    url: app.url,
    wsUrl: app.url.replace('http', 'ws'),
    token,
    database,
    app,
    takeStatements: () => statements.splice(0),
    request,
    ask: async (query, variables, options) => {
      const { data, errors } = await request<never>(query, variables, options);
      if (errors !== undefined) throw new Error(`unexpected errors: ${JSON.stringify(errors)}`);
      return data;
    },
    close: async () => {
      await app.stop();
      await rm(dataDir, { recursive: true, force: true });
      if (shared === undefined) await database.close();
    },
  };
}
