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

/**
 * One page for each of several projects, in one statement.
 * @param roomBytes how much content may come; what does not fit, in its page or into this, comes without
 */
export function listMessages(
  context: RequestContext,
  projectIds: readonly string[],
  { names, page, roomBytes }: { names: readonly string[]; page: Page; roomBytes: number },
): Promise<MessageRow[]> {
  const light = names.filter((name) => !heavyColumns.includes(name));
  const heavy = heavyColumns.filter((name) => names.includes(name));
  const whole = heavy.length === 0;
  const pageRoom = sql.lit(Math.ceil(pageBytes / projectIds.length));
  return readChat(
    context,
    sql`select ${columns('m', light)} ${whole ? sql`` : sql`, m.fits ${ifFits('m', heavy)}`}
      from (
        select m.*, m.fits_page and ${bytesBefore(sql`m.ord, m.place`)} < ${roomBytes}::bigint as fits
        from (
          select project.ord, m.*, ${bytesBefore(sql`m.place`, sql`partition by project.ord`)} < ${pageRoom} as fits_page
          from (
            -- The sub-select hides the array's length: a plan that knows it looks better than it is, and is made each time.
            -- Whoever has no chat there does not make us look for messages that it may see.
            select p.id, p.ord from unnest((select ${projectIds}::uuid[])) with ordinality as p (id, ord)
            where chat.role_in(p.id) is not null offset 0
          ) as project
          cross join lateral (
            select ${columns('m', [...light, ...heavy])}, ${sql.raw(page.backwards ? '-' : '')} m.sequence_num as place
            from chat.project_messages m
            where m.project_id = project.id and ${pageCondition('m', messageOrder, page)}
            ${pageTail('m', messageOrder, page)}
          ) as m
        ) as m
      ) as m order by m.ord, m.place`,
  );
}

const heavyColumns: readonly string[] = ['content', 'annotations'];

/** Read only where they fit: the database need not take them from their place. */
function ifFits(alias: string, names: readonly string[]): RawBuilder<unknown> {
  return sql.join(
    names.map((name) => sql`, case when fits then ${sql.ref(`${alias}.${name}`)} end as ${sql.ref(name)}`),
    sql``,
  );
}

/** The bytes of all that comes before a row `m`. */
function bytesBefore(order: RawBuilder<unknown>, partition: RawBuilder<unknown> = sql``): RawBuilder<unknown> {
  return sql`coalesce(sum(m.bytes) over (${partition} order by ${order} rows between unbounded preceding and 1 preceding), 0)`;
}

export function listMessagesById(
  context: RequestContext,
  ids: readonly string[],
  roomBytes: number,
): Promise<MessageRow[]> {
  const light = messageColumns.filter((name) => !heavyColumns.includes(name));
  return readChat(
    context,
    sql`select ${columns('m', light)}, m.fits ${ifFits('m', heavyColumns)} from (
      select m.*, ${bytesBefore(sql`m.bytes, m.id`)} < ${roomBytes}::bigint as fits
      from (
        select ${columns('m', messageColumns)} from chat.project_messages m where m.id = any(${ids}::uuid[])
      ) as m
    ) as m`,
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

/** Who asks may look; a column of what is looked at is null otherwise, and nothing is searched. */
function readable(projectId: string): RawBuilder<unknown> {
  return sql`(select chat.role_in(${projectId}::uuid) is not null as readable offset 0) as asking`;
}

/** Messages of a chat, by their numbers, and whether whoever asks may still read it. */
export function readMessages(
  context: RequestContext,
  projectId: string,
  sequenceNums: readonly number[],
): Promise<{ readable: boolean; messages: MessageRow[] }> {
  return callChat(
    context,
    sql`(select asking.readable, case when asking.readable then ${jsonArray(
      sql`select ${columns('m', messageColumns)} from chat.project_messages m
        where m.project_id = ${projectId}::uuid and m.sequence_num = any(${sequenceNums}::int[])`,
    )} end as messages from ${readable(projectId)}) as chat`,
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
    sql`(select asking.readable, coalesce(progress.next_sequence, 0) as next_sequence, progress.cleared_through,
      case when asking.readable then ${jsonArray(
        sql`select ${columns('m', messageColumns)} from (
          select m.*, ${bytesBefore(sql`m.sequence_num`)} < ${sql.lit(after.mostBytes)} as fits
          from (
            select ${columns('m', messageColumns)} from chat.project_messages m
            where m.project_id = ${projectId}::uuid and m.sequence_num > ${after.sequenceNum}
            order by m.sequence_num limit ${sql.lit(after.limit)}
          ) as m
        ) as m where m.fits order by m.sequence_num`,
      )} end as messages
      from ${readable(projectId)}
      left join (
        select c.next_sequence, c.cleared_through from chat.project_counters c where c.project_id = ${projectId}::uuid
      ) as progress on true) as chat`,
  );
}
