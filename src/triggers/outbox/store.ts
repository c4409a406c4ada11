import { type RawBuilder, sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import { columns } from '../../db/json-rows.ts';
import { type Order, type Page, pageTail } from '../../db/keyset.ts';
import { fits, readTriggers } from '../call.ts';
import { idsInSight } from '../sight.ts';
import { type OutboxRow, type OutboxStatsRow, outboxColumns } from './model.ts';

/** The newest first. */
export const outboxOrder: Order = {
  tag: 'outbox.created',
  descending: true,
  keys: [
    { column: 'created_at', type: 'timestamptz' },
    { column: 'id', type: 'uuid' },
  ],
};

export function listOutbox(context: RequestContext, page: Page): Promise<OutboxRow[]> {
  return readTriggers(context, pageOf(columns('o', outboxColumns), page));
}

/** As `listOutbox`, with as many payloads as there is room for. */
export function listOutboxWithPayloads(
  context: RequestContext,
  page: Page,
  roomBytes: number,
): Promise<(OutboxRow & { bytes: number })[]> {
  const whole = sql`${columns('o', outboxColumns)}, o.payload, octet_length(o.payload::text) as bytes`;
  const read = sql`${columns('v', outboxColumns)}, v.bytes`;
  return readTriggers(
    context,
    sql`select ${read}, v.fits, case when v.fits then v.payload end as payload
      from (select ${read}, v.payload, ${fits('v', roomBytes)} as fits from (${pageOf(whole, page)}) as v) as v
      ${pageTail('v', outboxOrder, page)}`,
  );
}

function pageOf(selected: RawBuilder<unknown>, page: Page): RawBuilder<unknown> {
  return sql`select ${selected} from triggers.outbox o
    where o.id in (${idsInSight({ table: 'outbox', order: outboxOrder, page })}) ${pageTail('o', outboxOrder, page)}`;
}

export async function getOutboxStats(context: RequestContext): Promise<OutboxStatsRow> {
  const [stats] = await readTriggers<OutboxStatsRow>(
    context,
    sql`select count(*) filter (where o.claimed_by is null and o.due_at <= now()) as due,
        count(*) filter (where o.claimed_by is not null) as claimed,
        count(*) filter (where o.claimed_by is null and o.due_at > now()) as waiting,
        min(o.due_at) filter (where o.claimed_by is null and o.due_at <= now()) as oldest_due_at,
        (select count(*) from triggers.dead_letters d where d.resolved_at is null) as unresolved_dead_letters
      from triggers.outbox o`,
  );
  if (stats === undefined) throw new Error('Counting answers one row.');
  return stats;
}
