import { type RawBuilder, sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import { columns } from '../../db/json-rows.ts';
import { type Order, type Page, pageCondition, pageTail } from '../../db/keyset.ts';
import type { ProjectReference } from '../../registry/project/model.ts';
import { callTriggersOnce, columnsArgument, ofProject, readTriggers } from '../call.ts';
import { mostCounted, type TriggerFilter, type TriggerRow, type TriggerStatsRow, triggerColumns } from './model.ts';

/** The newest first. */
export const triggerOrder: Order = {
  tag: 'trigger.created',
  descending: true,
  keys: [
    { column: 'created_at', type: 'timestamptz' },
    { column: 'id', type: 'uuid' },
  ],
};

const own = columns('t', triggerColumns);

/** Triggers, chosen from `triggers.triggers t`, with the details of their kinds. */
function withDetails(chosen: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`select ${own}, k.collection_glob, k.ops, d.source_filter, d.trigger_id_filter, d.script_id_filter,
      c.expression, c.timezone, nullif(c.next_due_at, 'infinity') as next_due_at, c.catch_up
    from (${chosen}) as t
    left join triggers.kv_trigger_details k on k.trigger_id = t.id
    left join triggers.dead_letter_trigger_details d on d.trigger_id = t.id
    left join triggers.cron_trigger_details c on c.trigger_id = t.id`;
}

/** A page of those for which a condition holds. */
function pageOf(condition: RawBuilder<unknown>, page: Page): RawBuilder<unknown> {
  const tail = pageTail('t', triggerOrder, page);
  const chosen = sql`select ${own} from triggers.triggers t where ${condition} and ${pageCondition('t', triggerOrder, page)} ${tail}`;
  // Ordered again: a join need not keep the order.
  return sql`${withDetails(chosen)} ${tail}`;
}

export function listTriggersById(context: RequestContext, ids: readonly string[]): Promise<TriggerRow[]> {
  return readTriggers(
    context,
    withDetails(sql`select ${own} from triggers.triggers t where t.id = any(${ids}::uuid[])`),
  );
}

export function listTriggers(
  context: RequestContext,
  { project, kind, scriptId }: TriggerFilter,
  page: Page,
): Promise<TriggerRow[]> {
  const conditions: RawBuilder<unknown>[] = [ofProject(sql`t.project_id`, project)];
  if (kind != null) conditions.push(sql`t.kind = any(${kind}::text[])`);
  if (scriptId != null) conditions.push(sql`t.script_id = ${scriptId}::uuid`);
  return readTriggers(context, pageOf(sql.join(conditions, sql` and `), page));
}

/** One page of triggers for each of several projects. */
export function listTriggersOfProjects(
  context: RequestContext,
  projectIds: readonly string[],
  page: Page,
): Promise<(TriggerRow & { project_id: string })[]> {
  return readTriggers(
    context,
    sql`select t.* from unnest(${projectIds}::uuid[]) as project (id)
      cross join lateral (${pageOf(sql`t.project_id = project.id`, page)}) as t`,
  );
}

/** Of each trigger, what waits, what nobody has seen to, and how its last executions of the last day ended. */
export function listTriggerStats(context: RequestContext, ids: readonly string[]): Promise<TriggerStatsRow[]> {
  return readTriggers(
    context,
    sql`select t.id,
        (select count(*) from triggers.outbox o where o.trigger_id = t.id and o.claimed_by is null) as waiting,
        (select count(*) from triggers.dead_letters d where d.trigger_id = t.id and d.resolved_at is null) as unresolved_dead_letters,
        e.running, e.succeeded, e.failed, e.timed_out, e.lost
      from unnest(${ids}::uuid[]) as t (id)
      cross join lateral (
        select count(*) filter (where e.status = 'running') as running, count(*) filter (where e.status = 'succeeded') as succeeded,
          count(*) filter (where e.status = 'failed') as failed, count(*) filter (where e.status = 'timed_out') as timed_out,
          count(*) filter (where e.status = 'lost') as lost
        from (
          select e.status from triggers.executions e
          where e.trigger_id = t.id and e.started_at > now() - interval '24 hours'
          order by e.started_at desc, e.id desc limit ${sql.lit(mostCounted)}
        ) as e
      ) as e`,
  );
}

/** @returns its id */
export async function createTrigger(
  context: RequestContext,
  trigger: { columns: Readonly<Record<string, unknown>>; project: ProjectReference | null | undefined },
  spec: object,
): Promise<string> {
  const argument = columnsArgument(trigger.columns, trigger.project);
  const created = await callTriggersOnce<{ id: string }>(
    context,
    sql`triggers.create_trigger(${argument}, ${JSON.stringify(spec)}::jsonb) as id`,
  );
  return created.id;
}

/** @param spec null: as it is */
export async function updateTrigger(
  context: RequestContext,
  id: string,
  { patch, spec }: { patch: object; spec: object | null },
): Promise<void> {
  await callTriggersOnce(
    context,
    sql`triggers.update_trigger(${id}::uuid, ${JSON.stringify(patch)}::jsonb,
      ${spec === null ? null : JSON.stringify(spec)}::jsonb) as id`,
  );
}

export async function deleteTrigger(context: RequestContext, id: string): Promise<void> {
  await callTriggersOnce(context, sql`triggers.delete_trigger(${id}::uuid) as id`);
}
