import type { GraphQLObjectType, GraphQLResolveInfo } from 'graphql';
import { type RawBuilder, sql } from 'kysely';
import { columns, jsonObject } from '../../db/json-rows.ts';
import type { Order } from '../../db/keyset.ts';
import { type Selected, selectedColumns, selectedOn, selectedOnNodes } from '../../graphql/selection.ts';
import { hostFieldColumns } from '../host/model.ts';
import { projectFieldColumns } from '../project/model.ts';
import { worktreeTypeFieldColumns } from '../worktree-type/model.ts';
import { gitStateFieldColumns, worktreeFieldColumns } from './model.ts';

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
    column: (selected) => {
      const names = selectedColumns(belowAll(selected), projectFieldColumns);
      return sql`${jsonObject(sql`select ${columns('p', names)} from registry.projects p where p.id = w.project_id`)} as project`;
    },
  },
  {
    fields: ['host'],
    column: (selected) => {
      const names = selectedColumns(belowAll(selected), hostFieldColumns);
      return sql`${jsonObject(sql`select ${columns('h', names)} from registry.hosts h where h.id = w.host_id`)} as host`;
    },
  },
  {
    fields: ['type'],
    column: (selected) => {
      const names = selectedColumns(belowAll(selected), worktreeTypeFieldColumns);
      return sql`${jsonObject(sql`select ${columns('t', names)} from registry.worktree_types t where t.id = w.type_id`)} as type`;
    },
  },
];

/** What is selected below any of several selections of one field: aliases and fragments may name it more than once. */
function belowAll(selected: readonly Selected[]): Map<string, Selected[]> {
  return new Map(selected.flatMap((selection) => [...selection.below()]));
}

/** For entities that hang on worktrees and can come along with them. */
export function addBringable(bringable: Bringable): void {
  bringables.push(bringable);
}

/** What to fetch of each worktree. */
export interface Wanted {
  columns: readonly string[];
  brought: readonly RawBuilder<unknown>[];
}

/** For a field that answers a connection of worktrees: what is selected on them, and the keys of their order. */
export function wantedOnNodes(info: GraphQLResolveInfo, order: Order): Wanted {
  const wanted = wantedOf(selectedOnNodes(info), info);
  const keys = order.keys.map((key) => key.column);
  return { ...wanted, columns: [...new Set([...wanted.columns, ...keys])] };
}

/** For a field that answers one worktree. */
export function wantedOnOne(info: GraphQLResolveInfo): Wanted {
  return wantedOf(selectedOn(info), info);
}

function wantedOf(selected: ReadonlyMap<string, Selected[]>, info: GraphQLResolveInfo): Wanted {
  const type = info.schema.getType('Worktree') as GraphQLObjectType;
  const gitState = belowAll(selected.get('gitState') ?? []);
  return {
    columns: [
      ...selectedColumns<string>(selected, worktreeFieldColumns),
      ...selectedColumns<string>(gitState, gitStateFieldColumns),
    ],
    brought: bringables.flatMap(({ fields, column }) => {
      const asked = fields.flatMap((field) => selected.get(field) ?? []);
      const made = asked.length === 0 ? null : column(asked, type);
      return made === null ? [] : [made];
    }),
  };
}
