import { type Kysely, sql } from 'kysely';
import type { DB } from '../../db/database.generated.ts';
import { columns, jsonRows } from '../../db/json-rows.ts';
import { type WorktreeTypeRow, worktreeTypeColumns } from './model.ts';

/** All of them: there are about as many as there are kinds of work. */
export function listWorktreeTypes(db: Kysely<DB>): Promise<WorktreeTypeRow[]> {
  return jsonRows(db, sql`select ${columns('t', worktreeTypeColumns)} from registry.worktree_types t order by t.id`);
}
