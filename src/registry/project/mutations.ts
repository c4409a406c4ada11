import { ProjectRole } from '../../auth/principal/graphql.ts';
import { builder, type SchemaTypes } from '../../graphql/builder.ts';
import { addMutation } from '../../graphql/payload.ts';
import { Project, ProjectRefInput, ProjectStatus, projectLoader } from './graphql.ts';
import type { ProjectReference, ProjectRow } from './model.ts';
import {
  classifyProject,
  deactivateProject,
  deleteProject,
  type LinkInput,
  linkProject,
  type ProjectChange,
  type ProjectRegistration,
  registerProject,
  setProjectMember,
  unlinkProject,
  updateProject,
} from './service.ts';

type ProjectAnswer = { project: ProjectRow | null };

export const RegisterProjectInput = builder.inputRef<ProjectRegistration>('RegisterProjectInput').implement({
  description: 'A project to register. What is left out keeps its stored value; metadata merges.',
  fields: (t) => ({
    name: t.string({ required: true, description: 'Its name for people, 1 to 200 characters.' }),
    remoteOrigin: t.string({ description: 'Its git remote, in any spelling; credentials in it are not stored.' }),
    defaultBranch: t.string({ description: '`main` for a new project when left out.' }),
    trunkPath: t.string({ description: 'Where the main checkout lies.' }),
    description: t.string({ description: 'What it is about, in Markdown.' }),
    slug: t.string({ description: 'Its short name; made from the name of a new project when left out.' }),
    status: t.field({ type: ProjectStatus, description: 'ACTIVE for a new project when left out.' }),
    kinds: t.stringList({ description: 'What kinds of thing it is.' }),
    managedBy: t.stringList({ description: 'Other systems that manage it.' }),
    parents: t.idList({ description: 'The projects that it is part of: all of them.' }),
    metadata: t.field({ type: 'JSON', description: 'An object; its keys are merged, a null removes one.' }),
  }),
});

/** The field that these payloads share: the project that the mutation was about. */
function answered(description: string) {
  return (t: PothosSchemaTypes.ObjectFieldBuilder<SchemaTypes, { project?: ProjectRow | null }>) =>
    t.field({ type: Project, nullable: true, description, resolve: (outcome) => outcome.project });
}

addMutation<ProjectRegistration, ProjectAnswer & { created: boolean }>({
  name: 'registerProject',
  description:
    'Registers a project. The same remote in any spelling is the same project: it is updated, and revived if it was deactivated. Without a remote the slug decides. The caller becomes the owner of a new one. Scope registry:write.',
  input: RegisterProjectInput,
  fields: (t) => ({
    project: answered('The project as it now stands.')(t),
    created: t.boolean({ nullable: true, description: 'Whether it is new.', resolve: (outcome) => outcome.created }),
  }),
  resolve: async (input, context) => {
    const { id, created } = await registerProject(context, input);
    return { created, project: await projectLoader(context).load(id) };
  },
});

addMutation<ProjectChange, ProjectAnswer>({
  name: 'updateProject',
  description:
    'Changes what is given. Null clears description, remoteOrigin, trunkPath, urlId and owner; metadata merges. A new owner needs an owner of the project, or admin where it has none. Scope registry:write.',
  input: builder.inputRef<ProjectChange>('UpdateProjectInput').implement({
    description: 'What to change of a project; what is left out stays.',
    fields: (t) => ({
      project: t.field({ type: ProjectRefInput, required: true, description: 'Which project.' }),
      name: t.string({ description: 'Its name for people.' }),
      slug: t.string({ description: 'Its short name.' }),
      description: t.string({ description: 'What it is about, in Markdown.' }),
      kinds: t.stringList({ description: 'What kinds of thing it is.' }),
      status: t.field({ type: ProjectStatus, description: 'Where it stands in its life.' }),
      remoteOrigin: t.string({ description: 'Its git remote.' }),
      defaultBranch: t.string({ description: 'The branch that work is counted against.' }),
      trunkPath: t.string({ description: 'Where the main checkout lies by default.' }),
      urlId: t.string({ description: 'Its key in public URLs.' }),
      managedBy: t.stringList({ description: 'Other systems that manage it.' }),
      owner: t.id({ description: 'The principal to own it.' }),
      metadata: t.field({ type: 'JSON', description: 'An object; its keys are merged, a null removes one.' }),
    }),
  }),
  fields: (t) => ({ project: answered('The project as it now stands.')(t) }),
  resolve: async (input, context) => ({ project: await updateProject(context, input) }),
});

addMutation<{ project: ProjectReference }, ProjectAnswer>({
  name: 'deactivateProject',
  description: 'Sets a project and its worktrees inactive; registering it again revives it. Scope registry:write.',
  input: builder.inputRef<{ project: ProjectReference }>('DeactivateProjectInput').implement({
    description: 'Which project to deactivate.',
    fields: (t) => ({ project: t.field({ type: ProjectRefInput, required: true, description: 'Which project.' }) }),
  }),
  fields: (t) => ({ project: answered('The project as it now stands.')(t) }),
  resolve: async (input, context) => ({ project: await deactivateProject(context, input.project) }),
});

addMutation<{ project: ProjectReference; slug: string }, ProjectAnswer>({
  name: 'deleteProject',
  description:
    'Deletes a project for good, with its worktrees, claims and activities. Needs an owner of it, or admin where it has none. Scope registry:write.',
  input: builder.inputRef<{ project: ProjectReference; slug: string }>('DeleteProjectInput').implement({
    description: 'Which project to delete.',
    fields: (t) => ({
      project: t.field({ type: ProjectRefInput, required: true, description: 'Which project.' }),
      slug: t.string({ required: true, description: 'Its slug once more, to show that it is meant.' }),
    }),
  }),
  fields: (t) => ({ project: answered('The project as it was.')(t) }),
  resolve: async (input, context) => ({ project: await deleteProject(context, input.project, input.slug) }),
});

addMutation<{ project: ProjectReference; parents: readonly string[] }, ProjectAnswer>({
  name: 'classifyProject',
  description: 'Gives a project its parents; it no longer counts as unclassified. Scope registry:write.',
  input: builder.inputRef<{ project: ProjectReference; parents: readonly string[] }>('ClassifyProjectInput').implement({
    description: 'Where a project belongs.',
    fields: (t) => ({
      project: t.field({ type: ProjectRefInput, required: true, description: 'Which project.' }),
      parents: t.idList({ required: true, description: 'All its parents; none makes it a classified root.' }),
    }),
  }),
  fields: (t) => ({ project: answered('The project as it now stands.')(t) }),
  resolve: async (input, context) => ({ project: await classifyProject(context, input.project, input.parents) }),
});

const LinkProjectInput = builder.inputRef<LinkInput>('LinkProjectInput').implement({
  description: 'A tie between a project and something elsewhere.',
  fields: (t) => ({
    project: t.field({ type: ProjectRefInput, required: true, description: 'Which project.' }),
    refType: t.string({ required: true, description: 'The kind of thing, such as `issue`.' }),
    refId: t.string({ required: true, description: 'Its key over there.' }),
    rel: t.string({ required: true, description: 'How the two relate, such as `tracks`.' }),
  }),
});

const linkProjectPayload = addMutation<LinkInput, ProjectAnswer>({
  name: 'linkProject',
  description: 'Ties a project to something elsewhere; doing it again changes nothing. Scope registry:write.',
  input: LinkProjectInput,
  fields: (t) => ({ project: answered('The project with its links.')(t) }),
  resolve: async (input, context) => ({ project: await linkProject(context, input) }),
});

addMutation<LinkInput, ProjectAnswer>({
  name: 'unlinkProject',
  description: 'Takes a tie away; an unknown one answers NOT_FOUND. Scope registry:write.',
  input: LinkProjectInput,
  payload: linkProjectPayload,
  resolve: async (input, context) => ({ project: await unlinkProject(context, input) }),
});

type SetMember = {
  project: ProjectReference;
  principal: string;
  role?: 'owner' | 'editor' | 'viewer' | null | undefined;
};

addMutation<SetMember, ProjectAnswer>({
  name: 'setProjectMember',
  description:
    'Gives a principal a role in a project, or takes it away. Needs an owner of the project, or admin where it has none. Scope registry:write.',
  input: builder.inputRef<SetMember>('SetProjectMemberInput').implement({
    description: 'Who is to have which role in a project.',
    fields: (t) => ({
      project: t.field({ type: ProjectRefInput, required: true, description: 'Which project.' }),
      principal: t.id({ required: true, description: 'Whom it is about.' }),
      role: t.field({ type: ProjectRole, description: 'The role; null takes it away.' }),
    }),
  }),
  fields: (t) => ({ project: answered('The project with its members.')(t) }),
  resolve: async (input, context) => ({
    project: await setProjectMember(context, input.project, input.principal, input.role ?? null),
  }),
});
