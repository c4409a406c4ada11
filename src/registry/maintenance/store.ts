import { type Kysely, sql } from 'kysely';
import type { Pool } from 'pg';
import type { DB } from '../../db/database.generated.ts';
import { jsonRows } from '../../db/json-rows.ts';
import type { RegistryStatsRow } from './model.ts';

export async function getRegistryStats(db: Kysely<DB>): Promise<RegistryStatsRow> {
  const [stats] = await jsonRows<RegistryStatsRow>(
    db,
    sql`select total_projects, active_projects, total_worktrees, active_worktrees, in_flight_worktrees,
        total_activities::text as total_activities, activities_last_24h::text as activities_last_24h, schema_version
      from registry.get_registry_stats()`,
  );
  if (stats === undefined) throw new Error('registry.get_registry_stats() answered no row');
  return stats;
}

/**
 * Vacuums as the owner, statement by statement: VACUUM cannot run inside a transaction, and the runtime role owns nothing.
 * @returns the statements that were run
 */
export async function vacuumRegistry(ownerPool: Pool): Promise<string[]> {
  const { rows } = await ownerPool.query<{ statement: string }>(
    'select statement from registry.maintenance_vacuum() as statement',
  );
  for (const { statement } of rows) await ownerPool.query(statement);
  return rows.map((row) => row.statement);
}
