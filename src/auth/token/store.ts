import { sql } from 'kysely';
import { callAuth } from '../call.ts';
import type { RequestContext } from '../context.ts';
import type { Scope } from '../scopes.ts';
import type { TokenRow } from './model.ts';

const selected = sql`t.id, t.principal_id, t.name, t.scopes, t.created_at, t.expires_at, t.last_used_at, t.revoked_at`;

export function listTokensOf(context: RequestContext, principalId: string): Promise<TokenRow[]> {
  return callAuth(
    context,
    sql`(select ${selected} from auth.tokens t where t.principal_id = ${principalId}::uuid order by t.created_at, t.id) as token`,
  );
}

export async function getToken(context: RequestContext, id: string): Promise<TokenRow> {
  const [token] = await callAuth<TokenRow>(
    context,
    sql`(select ${selected} from auth.tokens t where t.id = ${id}::uuid) as token`,
  );
  if (token === undefined) throw new Error(`the token ${id} is not to be seen by whom it was made for`);
  return token;
}

export interface NewToken {
  principalId: string;
  name: string;
  hash: Buffer;
  scopes: readonly Scope[];
  expiresAt: string | null;
}

/** @returns the token's id */
export async function insertToken(context: RequestContext, input: NewToken): Promise<string> {
  const [row] = await callAuth<{ id: string }>(
    context,
    sql`auth.create_token(${input.principalId}::uuid, ${input.name}, ${input.hash}, ${input.scopes}::text[],
      ${input.expiresAt}::timestamptz) as id`,
  );
  if (row === undefined) throw new Error('auth.create_token answered no row');
  return row.id;
}

export async function revokeToken(context: RequestContext, id: string): Promise<void> {
  await callAuth(context, sql`auth.revoke_token(${id}::uuid) as id`);
}
