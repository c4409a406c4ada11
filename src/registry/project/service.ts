import { sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import { RequestError } from '../../kernel/errors.ts';
import type { Json } from '../../kernel/json.ts';
import { callRegistry, callRegistryOnce } from '../call.ts';
import { type ProjectReference, type ProjectRow, projectColumns, requireKey, toProjectKey } from './model.ts';
import { findProject, type MemberRow, membersOf } from './store.ts';

/** What `registerProject` takes, and a scanner sends along with its worktrees. */
export interface ProjectRegistration {
  name: string;
  remoteOrigin?: string | null | undefined;
  defaultBranch?: string | null | undefined;
  trunkPath?: string | null | undefined;
  description?: string | null | undefined;
  slug?: string | null | undefined;
  status?: string | null | undefined;
  kinds?: readonly string[] | null | undefined;
  managedBy?: readonly string[] | null | undefined;
  parents?: readonly string[] | null | undefined;
  metadata?: Json | undefined;
}

const answeredColumns = sql.join(projectColumns.map((name) => sql.ref(name)));

function resolved(reference: ProjectReference) {
  return sql`registry.resolve_project(${JSON.stringify(toProjectKey(reference))}::jsonb)`;
}

/**
 * The key of a project that is to be watched. One that an id names need not exist any more.
 * @throws RequestError BAD_USER_INPUT when no project has that slug or remote
 */
export async function requireProjectId(context: RequestContext, reference: ProjectReference): Promise<string> {
  if (reference.id != null) return requireKey('Project', 'project', reference.id);
  const project = await findProject(context.db, reference);
  if (project !== null) return project.id;
  const name = reference.slug != null ? `the slug ${JSON.stringify(reference.slug)}` : 'that remote';
  throw new RequestError('BAD_USER_INPUT', `No project has ${name}: register it, then watch it.`);
}

/** @returns the project's id, and whether it is new */
export function registerProject(
  context: RequestContext,
  input: ProjectRegistration,
): Promise<{ id: string; created: boolean }> {
  const parents = input.parents?.map((id) => requireKey('Project', 'project', id)) ?? null;
  return callRegistryOnce(
    context,
    sql`registry.upsert_project(${input.name}, ${input.remoteOrigin ?? null}, ${input.defaultBranch ?? null},
      ${input.trunkPath ?? null}, ${toJson(input.metadata)}::jsonb, ${input.description ?? null}, ${input.slug ?? null},
      ${input.status ?? null}, ${input.kinds ?? null}::text[], ${input.managedBy ?? null}::text[], ${parents}::uuid[], null)`,
  );
}

export interface ProjectChange extends Omit<ProjectRegistration, 'parents' | 'name'> {
  name?: string | null | undefined;
  project: ProjectReference;
  urlId?: string | null | undefined;
  /** The principal to own it; null: nobody. */
  owner?: string | null | undefined;
}

const clearable = new Set(['description', 'remote_origin', 'trunk_path', 'url_id', 'owner_id']);

/** What is absent keeps its value; null clears what may be empty, and keeps the rest. */
export function updateProject(context: RequestContext, change: ProjectChange): Promise<ProjectRow> {
  const columnValues: Record<string, unknown> = {
    name: change.name,
    slug: change.slug,
    description: change.description,
    kinds: change.kinds,
    status: change.status,
    remote_origin: change.remoteOrigin,
    default_branch: change.defaultBranch,
    trunk_path: change.trunkPath,
    url_id: change.urlId,
    managed_by: change.managedBy,
    owner_id: change.owner == null ? change.owner : requireKey('Principal', 'principal', change.owner),
    metadata: change.metadata,
  };
  const patch = Object.fromEntries(
    Object.entries(columnValues).filter(
      ([name, value]) => value !== undefined && (value !== null || clearable.has(name)),
    ),
  );
  return callRegistryOnce(
    context,
    sql`(select ${answeredColumns} from registry.update_project(${resolved(change.project)}, ${JSON.stringify(patch)}::jsonb)) as project`,
  );
}

export function deactivateProject(context: RequestContext, reference: ProjectReference): Promise<ProjectRow> {
  return callRegistryOnce(
    context,
    sql`(select ${answeredColumns} from registry.deactivate_project(${resolved(reference)})) as project`,
  );
}

/** For good; the slug repeated proves that it is meant. */
export function deleteProject(context: RequestContext, reference: ProjectReference, slug: string): Promise<ProjectRow> {
  return callRegistryOnce(
    context,
    sql`(select ${answeredColumns} from registry.delete_project(${resolved(reference)}, ${slug})) as project`,
  );
}

export function classifyProject(
  context: RequestContext,
  reference: ProjectReference,
  parents: readonly string[],
): Promise<ProjectRow> {
  const keys = parents.map((id) => requireKey('Project', 'project', id));
  return callRegistryOnce(
    context,
    sql`(select ${answeredColumns} from registry.classify_project(${resolved(reference)}, ${keys}::uuid[])) as project`,
  );
}

export interface LinkInput {
  project: ProjectReference;
  refType: string;
  refId: string;
  rel: string;
}

export function linkProject(context: RequestContext, link: LinkInput): Promise<ProjectRow> {
  return callRegistryOnce(
    context,
    sql`(select ${answeredColumns} from registry.link_project(${resolved(link.project)}, ${link.refType}, ${link.refId}, ${link.rel})) as project`,
  );
}

export function unlinkProject(context: RequestContext, link: LinkInput): Promise<ProjectRow> {
  return callRegistryOnce(
    context,
    sql`(select ${answeredColumns} from registry.unlink_project(${resolved(link.project)}, ${link.refType}, ${link.refId}, ${link.rel})) as project`,
  );
}

export function setProjectMember(
  context: RequestContext,
  reference: ProjectReference,
  principal: string,
  role: string | null,
): Promise<ProjectRow> {
  const principalId = requireKey('Principal', 'principal', principal);
  return callRegistryOnce(
    context,
    sql`(select ${answeredColumns} from registry.set_project_member(${resolved(reference)}, ${principalId}::uuid, ${role})) as project`,
  );
}

export function listMembers(context: RequestContext, projectIds: readonly string[]): Promise<MemberRow[]> {
  return callRegistry(context, membersOf(projectIds));
}

function toJson(value: unknown): string | null {
  return value === undefined || value === null ? null : JSON.stringify(value);
}
