import { type RawBuilder, sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import { columns } from '../../db/json-rows.ts';
import { type Order, type Page, pageCondition, pageTail } from '../../db/keyset.ts';
import { readTriggers } from '../call.ts';
import { idsInSight } from '../sight.ts';
import {
  type AbandonedRow,
  abandonedColumns,
  type ExecutionFilter,
  type ExecutionRow,
  executionColumns,
} from './model.ts';

/** The newest first. */
export const executionOrder: Order = {
  tag: 'execution.started',
  descending: true,
  keys: [
    { column: 'started_at', type: 'timestamptz' },
    { column: 'id', type: 'uuid' },
  ],
};

/** The newest first. */
export const abandonedOrder: Order = {
  tag: 'abandoned.created',
  descending: true,
  keys: [
    { column: 'created_at', type: 'timestamptz' },
    { column: 'id', type: 'uuid' },
  ],
};

const selected = columns('e', executionColumns);

export function listExecutionsById(context: RequestContext, ids: readonly string[]): Promise<ExecutionRow[]> {
  return readTriggers(context, sql`select ${selected} from triggers.executions e where e.id = any(${ids}::uuid[])`);
}

export function listExecutions(context: RequestContext, filter: ExecutionFilter, page: Page): Promise<ExecutionRow[]> {
  const conditions: RawBuilder<unknown>[] = [];
  if (filter.triggerId != null) conditions.push(sql`e.trigger_id = ${filter.triggerId}::uuid`);
  if (filter.scriptId != null) conditions.push(sql`e.script_id = ${filter.scriptId}::uuid`);
  // Of one trigger or script there is an index, and mostly all of it is seen, or nothing.
  conditions.push(
    conditions.length > 0
      ? pageCondition('e', executionOrder, page)
      : sql`e.id in (${idsInSight({ table: 'executions', order: executionOrder, page })})`,
  );
  return readTriggers(
    context,
    sql`select ${selected} from triggers.executions e where ${sql.join(conditions, sql` and `)}
      ${pageTail('e', executionOrder, page)}`,
  );
}

/** One page of executions for each of several triggers. */
export function listExecutionsOfTriggers(
  context: RequestContext,
  triggerIds: readonly string[],
  page: Page,
): Promise<(ExecutionRow & { trigger_id: string })[]> {
  return readTriggers(
    context,
    sql`select ${selected} from unnest(${triggerIds}::uuid[]) as trigger (id)
      cross join lateral (
        select ${selected} from triggers.executions e
        where e.trigger_id = trigger.id and ${pageCondition('e', executionOrder, page)}
        ${pageTail('e', executionOrder, page)}
      ) as e`,
  );
}

export function listAbandoned(context: RequestContext, page: Page): Promise<AbandonedRow[]> {
  return readTriggers(
    context,
    sql`select ${columns('a', abandonedColumns)} from triggers.abandoned_executions a
      where a.id in (${idsInSight({ table: 'abandoned_executions', order: abandonedOrder, page })})
      ${pageTail('a', abandonedOrder, page)}`,
  );
}
