import type { GraphQLObjectType, GraphQLResolveInfo } from 'graphql';
import { type RawBuilder, sql } from 'kysely';
import { columns, jsonObject } from '../../db/json-rows.ts';
import { type Selected, selectedOn, selectedOnNodes } from '../../graphql/selection.ts';
import { hostColumns } from '../host/model.ts';
import { projectColumns } from '../project/model.ts';
import { worktreeTypeColumns } from '../worktree-type/model.ts';

/**
 * What a query selects on worktrees comes along in the statement that fetches them, as JSON columns: a page with its
 * projects, hosts, types and last activities is one round trip. Loaders still serve every other way to the same fields,
 * so bringing along is never needed for a right answer.
 */
interface Bringable {
  /** The fields of `Worktree` that want it. */
  fields: readonly string[];
  /** The column for worktree `w`, or null where the way it is selected cannot be brought along. */
  column(selected: readonly Selected[], type: GraphQLObjectType): RawBuilder<unknown> | null;
}

const bringables: Bringable[] = [
  {
    fields: ['project', 'baseBranch'],
    column: () =>
      sql`${jsonObject(sql`select ${columns('p', projectColumns)} from registry.projects p where p.id = w.project_id`)} as project`,
  },
  {
    fields: ['host'],
    column: () =>
      sql`${jsonObject(sql`select ${columns('h', hostColumns)} from registry.hosts h where h.id = w.host_id`)} as host`,
  },
  {
    fields: ['type'],
    column: () =>
      sql`${jsonObject(sql`select ${columns('t', worktreeTypeColumns)} from registry.worktree_types t where t.id = w.type_id`)} as type`,
  },
];

/** For entities that hang on worktrees and can come along with them. */
export function addBringable(bringable: Bringable): void {
  bringables.push(bringable);
}

/** The columns to bring along for a field that answers a connection of worktrees. */
export function broughtToNodes(info: GraphQLResolveInfo): RawBuilder<unknown>[] {
  return brought(selectedOnNodes(info), info);
}

/** The columns to bring along for a field that answers one worktree. */
export function broughtToOne(info: GraphQLResolveInfo): RawBuilder<unknown>[] {
  return brought(selectedOn(info), info);
}

function brought(selected: ReadonlyMap<string, Selected[]>, info: GraphQLResolveInfo): RawBuilder<unknown>[] {
  const type = info.schema.getType('Worktree') as GraphQLObjectType;
  return bringables.flatMap(({ fields, column }) => {
    const asked = fields.flatMap((field) => selected.get(field) ?? []);
    const made = asked.length === 0 ? null : column(asked, type);
    return made === null ? [] : [made];
  });
}
