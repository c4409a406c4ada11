import { type RawBuilder, sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import { columns } from '../../db/json-rows.ts';
import { type Order, type Page, pageTail } from '../../db/keyset.ts';
import type { RefusalCode } from '../../kernel/errors.ts';
import {
  callTriggersOnce,
  columnsArgument,
  ofProject,
  readTriggers,
  requireKeyAt,
  requireSourceKeyAt,
} from '../call.ts';
import { idsInSight } from '../sight.ts';
import { type DeadLetterFilter, type DeadLetterRow, deadLetterColumns, mostResolved } from './model.ts';

/** The newest first. */
export const deadLetterOrder: Order = {
  tag: 'dead-letter.created',
  descending: true,
  keys: [
    { column: 'created_at', type: 'timestamptz' },
    { column: 'id', type: 'uuid' },
  ],
};

const selected = columns('d', deadLetterColumns);

export function listDeadLettersById(context: RequestContext, ids: readonly string[]): Promise<DeadLetterRow[]> {
  return readTriggers(context, sql`select ${selected} from triggers.dead_letters d where d.id = any(${ids}::uuid[])`);
}

export function listDeadLetters(
  context: RequestContext,
  filter: DeadLetterFilter,
  page: Page,
): Promise<DeadLetterRow[]> {
  const { unresolved, source, trigger, script, project, since } = filter;
  const conditions: RawBuilder<unknown>[] = [ofProject(sql`row.project_id`, project)];
  if (unresolved != null) conditions.push(unresolved ? sql`row.resolved_at is null` : sql`row.resolved_at is not null`);
  if (source != null) conditions.push(sql`row.source_kind = any(${source}::text[])`);
  if (trigger != null) conditions.push(sql`row.trigger_id = ${requireSourceKeyAt([], trigger)}::uuid`);
  if (script != null) conditions.push(sql`row.script_id = ${requireKeyAt([], 'Script', script)}::uuid`);
  if (since != null) conditions.push(sql`row.created_at >= ${since}::timestamptz`);
  const condition = sql.join(conditions, sql` and `);
  return readTriggers(
    context,
    sql`select ${selected} from triggers.dead_letters d
      where d.id in (${idsInSight({ table: 'dead_letters', order: deadLetterOrder, page, condition })})
      ${pageTail('d', deadLetterOrder, page)}`,
  );
}

export interface Resolved {
  resolved_ids: string[];
  /** A filter met the bound: there may be more. */
  has_more: boolean;
  refused: { id: string; code: RefusalCode; message: string }[];
}

/** By ids, or of what a filter says the oldest that are unresolved. */
export function resolveDeadLetters(
  context: RequestContext,
  which: { ids: readonly string[] } | { filter: Omit<DeadLetterFilter, 'unresolved'> },
  resolution: 'replayed' | 'ignored',
): Promise<Resolved> {
  const ids = 'ids' in which ? which.ids : null;
  const filter = 'ids' in which ? sql`null::jsonb` : filterArgument(which.filter);
  return callTriggersOnce(
    context,
    sql`(select resolved_ids, has_more, refused
      from triggers.resolve_dead_letters(${ids}::uuid[], ${filter}, ${mostResolved}::int, ${resolution})) as resolved`,
  );
}

function filterArgument({ source, trigger, script, project, since }: DeadLetterFilter): RawBuilder<unknown> {
  const path = ['input', 'filter'];
  return columnsArgument(
    {
      ...(source == null ? {} : { source }),
      ...(trigger == null ? {} : { trigger_id: requireSourceKeyAt([...path, 'trigger'], trigger) }),
      ...(script == null ? {} : { script_id: requireKeyAt([...path, 'script'], 'Script', script) }),
      ...(since == null ? {} : { since }),
    },
    project,
  );
}
