import { type Kysely, sql } from 'kysely';
import type { RequestContext, Viewer } from '../../auth/context.ts';
import type { DB } from '../../db/database.generated.ts';
import { callSync } from '../call.ts';
import type { VersionCount } from './model.ts';

/** Where an export is: up to which snapshot, and after which change. */
export interface ExportPlace {
  next: string | null;
  appId: string;
  position: string;
}

export interface ExportPage {
  /** Each with its newline. */
  lines: string;
  counts: VersionCount[];
  /** Null where it is the last page. */
  after: ExportPlace | null;
}

const mostPageChanges = 1_000;
const mostPageBytes = 500_000;

/** @param appIds null: of all apps */
export async function readExportPage(
  context: RequestContext,
  appIds: readonly string[] | null,
  { next, appId, position }: ExportPlace,
): Promise<ExportPage> {
  const page = await callSync<{
    next: string;
    lines: string;
    counts: VersionCount[];
    last_app_id: string | null;
    last_position: string | null;
    complete: boolean;
  }>(
    context,
    sql`sync.export_changes(${appIds}::text[], ${next}::pg_snapshot, ${appId}, ${position}::bigint, ${mostPageChanges},
      ${mostPageBytes}::bigint)`,
  );
  const { lines, counts } = page;
  if (page.complete || page.last_app_id === null || page.last_position === null) return { lines, counts, after: null };
  return { lines, counts, after: { next: page.next, appId: page.last_app_id, position: page.last_position } };
}

/** Says who asks, for all that follows in the transaction; whoever commits it rings the feed afterwards. */
export async function enterAs(transaction: Kysely<DB>, { principalId, scopes }: Viewer): Promise<void> {
  await sql`select set_config('app.current_user_id', ${principalId}, true),
    set_config('app.current_user_scopes', ${[...scopes].join(',')}, true),
    set_config('feed.notify', 'after_commit', true)`.execute(transaction);
}

export interface ImportedLines {
  /** How many of them are new. */
  stored: number;
  counts: VersionCount[];
}

/** @param document the lines as the binary form of a jsonb array */
export async function importLines(
  transaction: Kysely<DB>,
  document: Buffer,
  firstLine: number,
): Promise<ImportedLines> {
  const { rows } = await sql<ImportedLines>`select stored, counts
    from sync.import_changes(${document}::jsonb, ${firstLine}::bigint)`.execute(transaction);
  const [row] = rows;
  if (row === undefined) throw new Error('sync.import_changes answered no row.');
  return row;
}
