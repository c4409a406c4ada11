import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { DB } from '../../db/database.generated.ts';
import { jsonRows } from '../../db/json-rows.ts';
import type { ClaimRow } from './model.ts';

/** The columns of a claim of the given alias, its 64-bit fence as text. */
export function claimSelect(alias: string): RawBuilder<unknown> {
  const ref = (name: string) => sql.ref(`${alias}.${name}`);
  return sql`${ref('worktree_id')}, ${ref('agent_id')}, ${ref('session')}, ${ref('fence')}::text as fence,
    ${ref('acquired_at')}, ${ref('renewed_at')}, ${ref('expires_at')}`;
}

/** Claims that have not lapsed. */
export function listClaims(db: Kysely<DB>, worktreeIds: readonly string[]): Promise<ClaimRow[]> {
  return jsonRows(
    db,
    sql`select ${claimSelect('c')} from registry.worktree_claims c
      where c.worktree_id = any(${worktreeIds}::uuid[]) and c.agent_id is not null and c.expires_at > now()`,
  );
}
