import { type RawBuilder, sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import { columns, jsonArray } from '../../db/json-rows.ts';
import { type Order, type Page, pageCondition, pageTail } from '../../db/keyset.ts';
import type { ProjectReference } from '../../registry/project/model.ts';
import { callChat, projectArgument, readChat } from '../call.ts';
import { type MessageRow, messageColumns, type Progress, pageBytes } from './model.ts';

export const messageOrder: Order = {
  tag: 'message.sequence',
  descending: false,
  keys: [{ column: 'sequence_num', type: 'int4' }],
};

/** A message of a page, or, where the page is full of bytes, the mere sign that there is another one. */
export interface PagedRow extends MessageRow {
  fits: boolean;
}

/** One page for each of several projects, in one statement. */
export function listMessages(
  context: RequestContext,
  projectIds: readonly string[],
  names: readonly string[],
  page: Page,
): Promise<PagedRow[]> {
  const light = names.filter((name) => !heavyColumns.includes(name));
  const heavy = heavyColumns.filter((name) => names.includes(name));
  return readChat(
    context,
    // The sub-select hides the array's length: a plan that knows it looks better than it is, and would be made each time.
    sql`select m.* from unnest((select ${projectIds}::uuid[])) as project (id)
      cross join lateral (
        select ${columns('m', light)}, fits ${heavyOnes('m', heavy)} from (
          select m.*, ${heavy.length === 0 ? sql`true` : fitting(page, pageBytes / projectIds.length)} as fits
          from (
            select ${columns('m', [...light, ...heavy])} from chat.project_messages m
            where m.project_id = project.id and ${pageCondition('m', messageOrder, page)}
            ${pageTail('m', messageOrder, page)}
          ) as m
        ) as m
      ) as m`,
  );
}

const heavyColumns: readonly string[] = ['content', 'annotations'];

/** Read only where they fit: the database need not take them from their place. */
function heavyOnes(alias: string, names: readonly string[]): RawBuilder<unknown> {
  const values = names.map((name) => sql`, case when fits then ${sql.ref(`${alias}.${name}`)} end as ${sql.ref(name)}`);
  return values.length === 0 ? sql`` : sql.join(values, sql``);
}

/** Whether all that comes before it in the page leaves room. */
function fitting(page: Pick<Page, 'backwards'>, mostBytes: number): RawBuilder<unknown> {
  const direction = sql.raw(page.backwards ? 'desc' : 'asc');
  return sql`coalesce(sum(m.bytes) over (
    order by m.sequence_num ${direction} rows between unbounded preceding and 1 preceding
  ), 0) < ${sql.lit(Math.ceil(mostBytes))}`;
}

export function listMessagesById(context: RequestContext, ids: readonly string[]): Promise<MessageRow[]> {
  return readChat(
    context,
    sql`select ${columns('m', messageColumns)} from chat.project_messages m where m.id = any(${ids}::uuid[])`,
  );
}

/** What is there for whoever asks: null for what is unknown, and for somebody else's. */
export interface Chat {
  project_id: string | null;
  role: 'owner' | 'editor' | 'viewer' | null;
}

export function findChat(context: RequestContext, reference: ProjectReference): Promise<Chat> {
  return callChat(
    context,
    sql`(select found.id as project_id, chat.role_in(found.id) as role
      from (select ${projectArgument(reference)} as id offset 0) as found) as chat`,
  );
}

/** Messages of a chat, by their numbers, and whether whoever asks may still read it. */
export function readMessages(
  context: RequestContext,
  projectId: string,
  sequenceNums: readonly number[],
): Promise<{ readable: boolean; messages: MessageRow[] }> {
  return callChat(
    context,
    sql`(select chat.role_in(${projectId}::uuid) is not null as readable, ${jsonArray(
      sql`select ${columns('m', messageColumns)} from chat.project_messages m
        where m.project_id = ${projectId}::uuid and m.sequence_num = any(${sequenceNums}::int[])`,
    )} as messages) as chat`,
  );
}

/** What comes after a message in a chat, as much as makes a page, and how far the chat has come. */
export function readMessagesAfter(
  context: RequestContext,
  projectId: string,
  after: { sequenceNum: number; limit: number; mostBytes: number },
): Promise<{ readable: boolean; messages: MessageRow[] } & Progress> {
  return callChat(
    context,
    sql`(select chat.role_in(${projectId}::uuid) is not null as readable,
      coalesce(progress.next_sequence, 0) as next_sequence, progress.cleared_through, ${jsonArray(
        sql`select ${columns('m', messageColumns)} from (
          select m.*, ${fitting({ backwards: false }, after.mostBytes)} as fits
          from (
            select ${columns('m', messageColumns)} from chat.project_messages m
            where m.project_id = ${projectId}::uuid and m.sequence_num > ${after.sequenceNum}
            order by m.sequence_num limit ${sql.lit(after.limit)}
          ) as m
        ) as m where m.fits order by m.sequence_num`,
      )} as messages
      from (select 1 as one) as always
      left join (
        select c.next_sequence, c.cleared_through from chat.project_counters c where c.project_id = ${projectId}::uuid
      ) as progress on true) as chat`,
  );
}
