import type { RequestContext } from '../../auth/context.ts';
import { Principal, ProjectRole, principalLoader } from '../../auth/principal/graphql.ts';
import { builder } from '../../graphql/builder.ts';
import { readPage, toConnection } from '../../graphql/connection.ts';
import { byKey, groupedBy, loader } from '../../graphql/loaders.ts';
import type { ProjectFilter, ProjectReference, ProjectRow, projectStatuses } from './model.ts';
import { listMembers } from './service.ts';
import {
  findProject,
  type LinkRow,
  listChildren,
  listLinks,
  listParents,
  listProjects,
  listProjectsById,
  listUnclassified,
  listWorkingPaths,
  type MemberRow,
  type ProjectMatchRow,
  projectOrder,
  searchProjects,
} from './store.ts';

export function projectLoader(context: RequestContext) {
  return loader<ProjectRow | null>(
    context,
    'project',
    async (ids) => byKey(await listProjectsById(context.db, ids), (project) => project.id),
    null,
  );
}

const statusMeanings: Record<(typeof projectStatuses)[number], string> = {
  draft: 'Planned; nothing runs yet.',
  active: 'Being worked on.',
  published: 'Being worked on, and released.',
  sleeping: 'Set aside for now.',
  done: 'Finished.',
  archived: 'Kept for the record.',
};

export const ProjectStatus = builder.enumType('ProjectStatus', {
  description: 'Where a project stands in its life.',
  values: {
    DRAFT: { value: 'draft', description: statusMeanings.draft },
    ACTIVE: { value: 'active', description: statusMeanings.active },
    PUBLISHED: { value: 'published', description: statusMeanings.published },
    SLEEPING: { value: 'sleeping', description: statusMeanings.sleeping },
    DONE: { value: 'done', description: statusMeanings.done },
    ARCHIVED: { value: 'archived', description: statusMeanings.archived },
  } as const,
});

export const ProjectRefInput = builder.inputRef<ProjectReference>('ProjectRef').implement({
  description: 'How a project is named: exactly one of these.',
  isOneOf: true,
  fields: (t) => ({
    id: t.id({ description: 'Its `id`, or the bare UUID.' }),
    slug: t.string({ description: 'Its slug.' }),
    remote: t.string({ description: 'Its remote, in any of its spellings.' }),
  }),
});

const ProjectFilterInput = builder.inputRef<ProjectFilter>('ProjectFilter').implement({
  description: 'Which projects; all that is given must hold.',
  fields: (t) => ({
    active: t.boolean({ defaultValue: true, description: 'Deactivated ones or not; null for both.' }),
    status: t.field({ type: [ProjectStatus], description: 'One of these.' }),
    managedBy: t.string({ description: 'Managed by this system, among others.' }),
    kind: t.string({ description: 'Of this kind, among others.' }),
    metadata: t.field({ type: 'JSON', description: 'Metadata contains this.' }),
  }),
});

export const Project = builder.objectRef<ProjectRow>('Project');

const ProjectLink = builder.objectRef<LinkRow>('ProjectLink').implement({
  description: 'What ties a project to something elsewhere.',
  fields: (t) => ({
    refType: t.exposeString('ref_type', { description: 'The kind of thing, such as `issue`.' }),
    refId: t.exposeString('ref_id', { description: 'Its key over there.' }),
    rel: t.exposeString('rel', { description: 'How the two relate, such as `tracks`.' }),
    createdAt: t.field({ type: 'DateTime', description: 'When it was tied.', resolve: (link) => link.created_at }),
  }),
});

const ProjectMember = builder.objectRef<MemberRow>('ProjectMember').implement({
  description: 'A principal with a role in a project.',
  fields: (t) => ({
    principal: t.field({
      type: Principal,
      description: 'Who it is.',
      resolve: async (member, _args, context) => {
        const principal = await principalLoader(context).load(member.principal_id);
        if (principal === null) throw new Error(`member ${member.principal_id} is no principal`);
        return principal;
      },
    }),
    role: t.field({
      type: ProjectRole,
      description: 'What it may do in the project.',
      resolve: (member) => member.role,
    }),
  }),
});

builder.node(Project, {
  description: 'Something that the fleet works on: a repository, a plan, or a scratch project.',
  id: { resolve: (project) => project.id },
  loadWithoutCache: (id, context) => projectLoader(context).load(id),
  isTypeOf: (value) => typeof value === 'object' && value !== null && 'default_branch' in value,
  fields: (t) => ({
    uuid: t.field({ type: 'UUID', description: 'The key of the row, as SQL users know it.', resolve: (p) => p.id }),
    slug: t.exposeString('slug', { description: 'Its short name in URLs and on command lines; unique.' }),
    name: t.exposeString('name', { description: 'Its name for people.' }),
    description: t.exposeString('description', { nullable: true, description: 'What it is about, in Markdown.' }),
    kinds: t.exposeStringList('kinds', { description: 'What kinds of thing it is; `project` by default.' }),
    status: t.field({ type: ProjectStatus, description: 'Where it stands in its life.', resolve: (p) => p.status }),
    active: t.exposeBoolean('active', { description: 'False once it was deactivated.' }),
    remoteOrigin: t.exposeString('remote_origin', {
      nullable: true,
      description: 'Its git remote, without credentials; null for a plan or a scratch repository.',
    }),
    remoteKey: t.exposeString('remote_key', {
      nullable: true,
      description: '`host/path` of the remote: the same for all its spellings; unique.',
    }),
    defaultBranch: t.exposeString('default_branch', { description: 'The branch that work is counted against.' }),
    trunkPath: t.exposeString('trunk_path', {
      nullable: true,
      description: 'Where the main checkout lies by default.',
    }),
    urlId: t.exposeString('url_id', { nullable: true, description: 'Its key in public URLs; unique.' }),
    managedBy: t.exposeStringList('managed_by', { description: 'Other systems that manage it as well.' }),
    unclassified: t.exposeBoolean('unclassified', { description: 'Whether it still waits for its parents.' }),
    metadata: t.field({ type: 'JSON', description: 'Anything else, an object.', resolve: (p) => p.metadata }),
    owner: t.field({
      type: Principal,
      nullable: true,
      description: 'Who owns it; null when nobody does.',
      resolve: (p, _args, context) => (p.owner_id === null ? null : principalLoader(context).load(p.owner_id)),
    }),
    members: t.field({
      type: [ProjectMember],
      description: 'Who has a role in it, in the order they came.',
      extensions: { personal: true },
      resolve: (p, _args, context) =>
        loader<MemberRow[]>(
          context,
          'project.members',
          async (ids) => groupedBy(await listMembers(context, ids), (member) => member.project_id),
          [],
        ).load(p.id),
    }),
    createdAt: t.field({ type: 'DateTime', description: 'When it was registered.', resolve: (p) => p.created_at }),
    updatedAt: t.field({ type: 'DateTime', description: 'When it last changed.', resolve: (p) => p.updated_at }),
    deletedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it was deactivated; null while it is active.',
      resolve: (p) => p.deleted_at,
    }),
    parents: t.field({
      type: [Project],
      description: 'The projects that it is part of, by name.',
      resolve: (p, _args, context) =>
        loader<ProjectRow[]>(
          context,
          'project.parents',
          async (ids) => groupedBy(await listParents(context.db, ids), (parent) => parent.child_id),
          [],
        ).load(p.id),
    }),
    links: t.field({
      type: [ProjectLink],
      description: 'What it is tied to elsewhere.',
      resolve: (p, _args, context) =>
        loader<LinkRow[]>(
          context,
          'project.links',
          async (ids) => groupedBy(await listLinks(context.db, ids), (link) => link.project_id),
          [],
        ).load(p.id),
    }),
    workingPath: t.string({
      nullable: true,
      description: 'Where a worktree of that name belongs on a host: beside the trunk. Null while no trunk is known.',
      args: {
        worktree: t.arg.string({ description: "The worktree's name; without it, the trunk itself." }),
        host: t.arg.string({ required: true, defaultValue: 'local', description: 'The host, by name.' }),
      },
      resolve: (p, args, context) =>
        loader<string | null>(
          context,
          `project.workingPath:${JSON.stringify([args.worktree, args.host])}`,
          (ids) => listWorkingPaths(context.db, ids, args.worktree ?? null, args.host),
          null,
        ).load(p.id),
    }),
  }),
});

export const ProjectConnection = builder.connectionObject(
  { type: Project, name: 'ProjectConnection', description: 'One page of projects.' },
  { name: 'ProjectEdge', description: 'A project with its cursor.' },
);

builder.objectField(Project, 'children', (t) =>
  t.connection(
    {
      type: Project,
      description: 'The projects that are part of it, by name.',
      resolve: async (project, args, context) => {
        const page = readPage(args, projectOrder);
        const rows = await loader<ProjectRow[]>(
          context,
          `project.children:${JSON.stringify(page)}`,
          async (ids) => groupedBy(await listChildren(context.db, ids, page), (child) => child.parent_id),
          [],
        ).load(project.id);
        return toConnection(rows, page, projectOrder);
      },
    },
    ProjectConnection,
  ),
);

builder.queryFields((t) => ({
  project: t.field({
    type: Project,
    nullable: true,
    description: 'One project, by id, slug or remote. Scope registry:read.',
    args: { by: t.arg({ type: ProjectRefInput, required: true, description: 'Which one.' }) },
    resolve: (_root, args, context) => findProject(context.db, args.by),
  }),
  projects: t.connection(
    {
      type: Project,
      description: 'Projects by name. Scope registry:read.',
      args: { filter: t.arg({ type: ProjectFilterInput, description: 'Which ones; the active ones when left out.' }) },
      resolve: async (_root, args, context) => {
        const page = readPage(args, projectOrder);
        const filter = args.filter ?? { active: true };
        return toConnection(await listProjects(context.db, filter, page), page, projectOrder);
      },
    },
    ProjectConnection,
  ),
  unclassifiedProjects: t.connection(
    {
      type: Project,
      description: 'Active projects that still wait for their parents, by name. Scope registry:read.',
      resolve: async (_root, args, context) => {
        const page = readPage(args, projectOrder);
        return toConnection(await listUnclassified(context.db, page), page, projectOrder);
      },
    },
    ProjectConnection,
  ),
}));

const ProjectMatch = builder.objectRef<ProjectMatchRow>('ProjectMatch').implement({
  description: 'A project that a search found.',
  fields: (t) => ({
    project: t.field({ type: Project, description: 'The project.', resolve: (match) => match.project }),
    relevance: t.exposeFloat('relevance', { description: 'How well it fits; comparable within one search only.' }),
  }),
});

builder.queryField('searchProjects', (t) =>
  t.field({
    type: [ProjectMatch],
    description:
      'Active projects by name, slug, remote and description, best first; forgives typos. Scope registry:read.',
    args: {
      query: t.arg.string({ required: true, description: 'What to look for.' }),
      first: t.arg.int({ defaultValue: 20, description: 'How many at most: 1 to 100.' }),
    },
    resolve: (_root, args, context) => {
      const { limit } = readPage({ first: args.first ?? null }, projectOrder);
      return searchProjects(context.db, args.query, limit);
    },
  }),
);
