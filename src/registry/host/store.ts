import { type Kysely, sql } from 'kysely';
import type { DB } from '../../db/database.generated.ts';
import { columns, jsonRows } from '../../db/json-rows.ts';
import { type Order, type Page, pageCondition, pageTail } from '../../db/keyset.ts';
import { type HostRow, hostColumns } from './model.ts';

export const hostOrder: Order = {
  tag: 'host.name',
  descending: false,
  keys: [
    { column: 'name', type: 'text' },
    { column: 'id', type: 'uuid' },
  ],
};

export function listHosts(db: Kysely<DB>, page: Page): Promise<HostRow[]> {
  return jsonRows(
    db,
    sql`select ${columns('h', hostColumns)} from registry.hosts h where ${pageCondition('h', hostOrder, page)} ${pageTail('h', hostOrder, page)}`,
  );
}

export function listHostsById(db: Kysely<DB>, ids: readonly string[]): Promise<HostRow[]> {
  return jsonRows(db, sql`select ${columns('h', hostColumns)} from registry.hosts h where h.id = any(${ids}::uuid[])`);
}
