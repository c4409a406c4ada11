import pg from 'pg';
import type { Passwords } from './cluster.ts';

export const superuser = 'postgres';
export const owner = 'treeline';
export const gatewayLogin = 'treeline_gateway';
/** Reads everything: what is private from the owner of the schema too belongs into a backup. */
export const backupLogin = 'treeline_backup';
export const runtimeRole = 'treeline_runtime';
export const database = 'treeline';

interface SetUpOptions {
  superuserUrl: string;
  passwords: Passwords;
  /** Of `treeline_backup`: another one at each start. */
  backupPassword: string;
  statStatements: boolean;
}

/**
 * Makes the roles and the database, as far as they are missing. At every start, so that a first start that was
 * interrupted half-way, or new passwords, need no case of their own.
 */
export async function setUpRoles({
  superuserUrl,
  passwords,
  backupPassword,
  statStatements,
}: SetUpOptions): Promise<void> {
  await withClient(superuserUrl, async (client) => {
    await ensureRole(client, owner, 'login createdb createrole', passwords.owner);
    await client.query(`grant pg_monitor to ${owner}`);
    // Made by the owner and not by us, so that it is as on any other server, where the owner's migration makes it.
    await client.query(`set role ${owner}`);
    await ensureRole(client, runtimeRole, 'nologin');
    await client.query(`grant ${runtimeRole} to ${owner}`);
    await client.query('reset role');
    await ensureRole(client, gatewayLogin, 'login', passwords.gateway);
    await client.query(`grant ${runtimeRole} to ${gatewayLogin}`);
    await ensureRole(client, backupLogin, 'login bypassrls', backupPassword);
    await client.query(`grant pg_read_all_data to ${backupLogin}`);
    const { rowCount } = await client.query('select from pg_database where datname = $1', [database]);
    if (rowCount === 0) await client.query(`create database ${database} owner ${owner}`);
    // Qualified names are for programs: somebody in psql wants to write `select register_project(…)`.
    await client.query(`alter role ${owner} in database ${database} set search_path = registry, public`);
  });
  if (!statStatements) return;
  const inDatabase = new URL(superuserUrl);
  inDatabase.pathname = `/${database}`;
  await withClient(inDatabase.href, (client) =>
    client.query('create extension if not exists pg_stat_statements with schema public'),
  );
}

async function ensureRole(client: pg.Client, name: string, attributes: string, password?: string): Promise<void> {
  const { rowCount } = await client.query('select from pg_roles where rolname = $1', [name]);
  const secret = password === undefined ? '' : ` password ${client.escapeLiteral(password)}`;
  await client.query(`${rowCount === 0 ? 'create' : 'alter'} role ${name} ${attributes}${secret}`);
}

async function withClient(url: string, action: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'treeline-setup',
    // "role is already a member" and "extension exists, skipping" are what is hoped for; and pg_stat_statements keeps
    // the text of utility statements, passwords included, for whoever may read statistics.
    options: '-c client_min_messages=warning -c pg_stat_statements.track_utility=off',
  });
  await client.connect();
  try {
    await action(client);
  } finally {
    await client.end();
  }
}
