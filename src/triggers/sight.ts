import { type RawBuilder, sql } from 'kysely';
import { hasScope, type Viewer } from '../auth/context.ts';
import { type Order, type Page, pageCondition, pageTail } from '../db/keyset.ts';
import type { FeedEvent } from '../feed/event.ts';

/**
 * Whether an event of executions or dead letters may be for a viewer to see, by its own facts: of a project it may be its
 * owner's, which row-level security decides.
 */
export function mayBeFor({ project_id: projectId, user_id: userId }: FeedEvent, viewer: Viewer): boolean {
  return projectId !== null || userId === viewer.principalId || hasScope(viewer, 'admin');
}

const me = sql`(select auth.current_principal_id())`;
const isAdmin = sql`(select auth.is_admin())`;

/** Projects whose owner the viewer is; to an administrator, also those that have none. */
const ownProjects = sql`
  select p.id from registry.projects p where p.owner_id = ${me}
  union
  select m.project_id from auth.project_members m where m.principal_id = ${me} and m.role = 'owner'
  union
  select p.id from registry.projects p
  where ${isAdmin} and p.owner_id is null
    and not exists (select from auth.project_members m where m.project_id = p.id and m.role = 'owner')`;

/**
 * The ids of one page of a table whose rows are for their registrant, their project's owners and administrators.
 *
 * Row-level security alone would do, but reads and passes over all that others have, which may be millions: so the page is
 * put together of a page of each place in which the viewer can see something, each along its index.
 * @param of.condition what else must hold, of `row`
 */
export function idsInSight(of: {
  table: 'executions' | 'outbox' | 'dead_letters' | 'abandoned_executions';
  order: Order;
  page: Page;
  condition?: RawBuilder<unknown>;
}): RawBuilder<unknown> {
  const { table, order, page, condition = sql`true` } = of;
  const keys = sql.join(order.keys.map((key) => sql.ref(`row.${key.column}`)));
  const within = (place: RawBuilder<unknown>) => sql`select ${keys} from ${sql.ref(`triggers.${table}`)} as row
    where ${place} and ${condition} and ${pageCondition('row', order, page)} ${pageTail('row', order, page)}`;
  return sql`select found.id from (
      (${within(sql`row.principal_id = ${me}`)})
      union
      select found.* from (${ownProjects}) as own cross join lateral (${within(sql`row.project_id = own.id`)}) as found
      union
      (${within(sql`${isAdmin} and row.project_id is null`)})
    ) as found ${pageTail('found', order, page)}`;
}
