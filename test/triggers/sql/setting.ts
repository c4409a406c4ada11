import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { value } from '../../support/sql.ts';
import { as } from '../../sync/transaction.ts';

/** A database of the test file's own. What is imported from here is there once the tests run. */
export let database: TestDatabase;
/** As the owner of the schema: a SQL user, and the dispatcher. */
export let owner: pg.Pool;
beforeAll(async () => {
  database = await createTestDatabase();
  owner = database.owner;
  // As on the gateway's connections: where plans are told to scan nothing they look dear, and would be compiled each time.
  await owner.query(
    `do $$ begin execute format('alter database %I set jit = off', current_database()); end $$; set jit = off`,
  );
});
afterAll(() => database.close());

const connected: pg.Client[] = [];
/** One more connection as the owner; closed after the test. */
export async function connect(): Promise<pg.Client> {
  const client = await database.connect();
  connected.push(client);
  return client;
}
afterEach(async () => {
  await Promise.all(connected.splice(0).map((client) => client.end()));
});

/** A principal, and the scopes of the token that it asks with. */
export interface Person {
  id: string;
  scopes: readonly string[];
}

const manager = ['registry:read', 'registry:write', 'triggers:admin', 'chat'];
export const everyScope = [...manager, 'sync', 'maintenance', 'admin'];

/** Somebody who may manage triggers, unless other scopes are given. */
export async function person(scopes: readonly string[] = manager): Promise<Person> {
  const id = await value<string>(
    owner,
    `insert into auth.principals (kind, handle, scopes) values ('user', gen_random_uuid()::text, $1) returning id`,
    [scopes],
  );
  return { id, scopes };
}

export const disable = (who: Person) =>
  owner.query('update auth.principals set disabled_at = now() where id = $1', [who.id]);

/** The same principal with a token of fewer scopes. */
export const withScopes = (who: Person, ...scopes: string[]): Person => ({ ...who, scopes });

export async function project(ownedBy: Person | null): Promise<string> {
  return value<string>(owner, 'insert into registry.projects (slug, name, owner_id) values ($1, $1, $2) returning id', [
    randomUUID(),
    ownedBy?.id ?? null,
  ]);
}

/** @param role null: a member no longer */
export async function member(projectId: string, who: Person, role: 'owner' | 'editor' | 'viewer' | null) {
  await owner.query('select registry.set_project_member($1, $2, $3)', [projectId, who.id, role]);
}

/** A transaction of somebody's, as request work. */
export function asking<T>(who: Person, action: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  return as(database.runtime, who.id, action, who.scopes.join(','));
}

/** What a function answers to somebody's request. */
export function ask<T>(who: Person, call: string, values: unknown[] = []): Promise<T> {
  return asking(who, (client) => value<T>(client, `select ${call}`, values));
}

/** A stored operation of somebody's, unless more is given; @returns its id */
export function saveScript(who: Person, projectId: string | null, more: Record<string, unknown> = {}): Promise<string> {
  return ask(who, 'triggers.save_script(null, $1)', [
    {
      project_id: projectId,
      name: randomUUID(),
      kind: 'operation',
      document: '{ cursor }',
      timeout_ms: 10_000,
      ...more,
    },
  ]);
}

/** What makes a script a webhook. */
export const webhook = {
  kind: 'webhook',
  document: null,
  url: 'https://receiver.example/hook',
  secret: 'whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0',
};

/** A trigger's columns; its script is made unless one is given. */
export interface TriggerColumns {
  script_id?: string;
  enabled?: boolean;
  condition?: string;
  dispatch_mode?: string;
  retry_max_attempts?: number;
  retry_backoff?: string;
  retry_base_ms?: number;
}

export const anything = { kind: 'kv', collection_glob: '*' };

/** Registers a trigger as somebody's request; @returns its id */
export async function createTrigger(
  who: Person,
  projectId: string | null,
  spec: Record<string, unknown> = anything,
  columns: TriggerColumns = {},
): Promise<string> {
  const script_id = columns.script_id ?? (await saveScript(who, projectId));
  return ask(who, 'triggers.create_trigger($1, $2)', [{ ...columns, project_id: projectId, script_id }, spec]);
}

export const updateTrigger = (
  who: Person,
  id: string,
  patch: Record<string, unknown>,
  spec: Record<string, unknown> | null = null,
) => ask<string>(who, 'triggers.update_trigger($1, $2, $3)', [id, patch, spec]);

/** Registers a route as somebody's request, unsigned unless more is given; @returns its id */
export async function saveRoute(
  who: Person,
  projectId: string | null,
  more: Record<string, unknown> = {},
): Promise<string> {
  return ask(who, 'triggers.save_route(null, $1)', [
    {
      project_id: projectId,
      method: 'POST',
      path: `/hooks/${randomUUID()}`,
      script_id: more.script_id ?? (await saveScript(who, projectId)),
      dispatch_mode: 'async',
      signature: 'none',
      ...more,
    },
  ]);
}
