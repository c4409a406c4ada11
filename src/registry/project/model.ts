import type { FieldColumns } from '../../graphql/selection.ts';
import { Refusal } from '../../kernel/errors.ts';
import { isUuid, keyOf } from '../../kernel/ids.ts';
import type { Json } from '../../kernel/json.ts';

/** A project as it is stored; timestamps are RFC 3339 text. */
export interface ProjectRow {
  id: string;
  slug: string;
  name: string;
  description: string | null;
  kinds: string[];
  status: ProjectStatus;
  remote_origin: string | null;
  remote_key: string | null;
  default_branch: string;
  trunk_path: string | null;
  url_id: string | null;
  owner_id: string | null;
  managed_by: string[];
  unclassified: boolean;
  metadata: unknown;
  created_at: string;
  updated_at: string;
  deleted_at: string | null;
  active: boolean;
}

export const projectColumns = [
  'id',
  'slug',
  'name',
  'description',
  'kinds',
  'status',
  'remote_origin',
  'remote_key',
  'default_branch',
  'trunk_path',
  'url_id',
  'owner_id',
  'managed_by',
  'unclassified',
  'metadata',
  'created_at',
  'updated_at',
  'deleted_at',
  'active',
] as const satisfies readonly (keyof ProjectRow)[];

export const projectStatuses = ['draft', 'active', 'published', 'sleeping', 'done', 'archived'] as const;
export type ProjectStatus = (typeof projectStatuses)[number];

/** How people and programs name a project: exactly one of the three. */
export interface ProjectReference {
  id?: string | null | undefined;
  slug?: string | null | undefined;
  remote?: string | null | undefined;
}

export interface ProjectFilter {
  active?: boolean | null | undefined;
  status?: readonly ProjectStatus[] | null | undefined;
  managedBy?: string | null | undefined;
  kind?: string | null | undefined;
  metadata?: Json | undefined;
}

/**
 * The reference as the database's `find_project` takes it.
 * @throws Refusal NOT_FOUND when the id is none that this API gave out: it names no project
 */
export function toProjectKey(reference: ProjectReference): { id: string } | { slug: string } | { remote: string } {
  if (reference.id != null) return { id: requireKey('Project', 'project', reference.id) };
  if (reference.slug != null) return { slug: reference.slug };
  return { remote: reference.remote ?? '' };
}

/** @throws Refusal NOT_FOUND naming the id as it came */
export function requireKey(type: string, noun: string, id: string): string {
  const key = keyOf(type, id);
  if (key === null || !isUuid(key)) throw new Refusal('NOT_FOUND', `No ${noun} has the id ${JSON.stringify(id)}.`);
  return key;
}

/** Which columns each field of `Project` reads, for queries that fetch only what is selected. */
export const projectFieldColumns = {
  always: ['id', 'slug', 'default_branch'],
  byField: {
    name: ['name'],
    description: ['description'],
    kinds: ['kinds'],
    status: ['status'],
    active: ['active'],
    remoteOrigin: ['remote_origin'],
    remoteKey: ['remote_key'],
    trunkPath: ['trunk_path'],
    urlId: ['url_id'],
    managedBy: ['managed_by'],
    unclassified: ['unclassified'],
    metadata: ['metadata'],
    owner: ['owner_id'],
    createdAt: ['created_at'],
    updatedAt: ['updated_at'],
    deletedAt: ['deleted_at'],
  },
} as const satisfies FieldColumns<keyof ProjectRow>;

const fieldOfColumn: ReadonlyMap<string, string> = new Map([
  ['owner_id', 'owner'],
  ['parents', 'parents'],
  ['links', 'links'],
  ['members', 'members'],
  ['checkouts', 'workingPath'],
  ...Object.entries(projectFieldColumns.byField).flatMap(([field, columns]) =>
    columns.map((column): [string, string] => [column, field]),
  ),
]);

/** The fields of `Project` that show these columns; a column that shows nowhere is left out. */
export function changedProjectFields(columns: readonly string[]): string[] {
  return [...new Set(columns.flatMap((column) => fieldOfColumn.get(column) ?? []))];
}
