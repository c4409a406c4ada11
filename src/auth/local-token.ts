import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Pool } from 'pg';
import { scopes } from './scopes.ts';
import { hashToken, isToken, makeToken } from './token/model.ts';

/**
 * The first admin token. Made at the first start, kept in a file that only its owner can read, and registered again when
 * the database is new but the file is not: the file is what the command line and the printed link use.
 *
 * @param adminToken a token for scripted set-ups, instead of a made one
 * @param file where the token is kept; null: nowhere, so that only a given one is registered
 * @returns the token, or null when there is nowhere to keep one and none was given
 */
export async function ensureLocalToken(options: {
  ownerPool: Pool;
  file: string | null;
  adminToken?: string | undefined;
}): Promise<string | null> {
  const { ownerPool, file, adminToken } = options;
  const kept = file === null ? null : await readToken(file);
  if (adminToken === undefined && file === null) return null;
  const keepable = kept !== null && !(await hasEnded(ownerPool, kept));
  const token = adminToken ?? (keepable ? kept : makeToken());
  await registerAdmin(ownerPool, token);
  if (file !== null && token !== kept) await writeToken(file, token);
  return token;
}

async function readToken(file: string): Promise<string | null> {
  try {
    const token = (await readFile(file, 'utf8')).trim();
    return isToken(token) ? token : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/**
 * A token that was revoked or has expired stays so, and another one takes its place. One that the database has never seen is
 * from before the database; and where the principal is disabled, another token would do no better.
 */
async function hasEnded(pool: Pool, token: string): Promise<boolean> {
  const { rows } = await pool.query<{ outcome: string }>('select outcome from auth.authenticate($1)', [
    hashToken(token),
  ]);
  return rows[0]?.outcome === 'revoked' || rows[0]?.outcome === 'expired';
}

/**
 * In one statement, so that several gateways that start at once make one principal. The update changes nothing: it waits for
 * a principal that another one is making, which a mere look would not see.
 */
async function registerAdmin(pool: Pool, token: string): Promise<void> {
  await pool.query(
    `with made as (
       insert into auth.principals (kind, handle, display_name, scopes) values ('user', 'local', 'The local administrator', $2)
       on conflict (handle) do update set handle = excluded.handle
       returning id
     )
     insert into auth.tokens (principal_id, name, hash, scopes)
     select id, 'local', $1, $2 from made
     on conflict (hash) do nothing`,
    [hashToken(token), [...scopes]],
  );
}

/** Written beside and renamed: a reader never sees half a token. */
async function writeToken(file: string, token: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const beside = `${file}.${process.pid}`;
  await writeFile(beside, `${token}\n`, { mode: 0o600 });
  await rename(beside, file);
}
