import { builder, type SchemaTypes } from '../../graphql/builder.ts';
import { addMutation, toUserError } from '../../graphql/payload.ts';
import type { Json } from '../../kernel/json.ts';
import { Project, ProjectRefInput, projectLoader } from '../project/graphql.ts';
import type { ProjectRow } from '../project/model.ts';
import { AgentState, Worktree, worktreeLoader } from './graphql.ts';
import type { AgentState as AgentStateName, WorktreeReference, WorktreeRow } from './model.ts';
import { WorktreeRefInput } from './queries.ts';
import { ReportWorktreesInput, UpdateWorktreeGitStateInput } from './report-inputs.ts';
import {
  deactivateWorktree,
  markWorktreeMerged,
  type RepositoryReport,
  registerWorktree,
  reportWorktrees,
  setAgentState,
  updateWorktree,
  updateWorktreeGitState,
  type WorktreeGitStateReport,
  type WorktreeRegistration,
} from './service.ts';

type WorktreeAnswer = { worktree: WorktreeRow | null };

/** The field that these payloads share: the worktree that the mutation was about. */
function answered(t: PothosSchemaTypes.ObjectFieldBuilder<SchemaTypes, { worktree?: WorktreeRow | null }>) {
  return t.field({
    type: Worktree,
    nullable: true,
    description: 'The worktree as it now stands.',
    resolve: (outcome) => outcome.worktree,
  });
}

addMutation<WorktreeRegistration, WorktreeAnswer & { created: boolean }>({
  name: 'registerWorktree',
  description:
    'Registers a worktree by project, host and name. On a live one it updates what is given; after a merge it begins a new life. Scope registry:write.',
  input: builder.inputRef<WorktreeRegistration>('RegisterWorktreeInput').implement({
    description: 'A worktree to register.',
    fields: (t) => ({
      project: t.field({ type: ProjectRefInput, required: true, description: 'Of which project.' }),
      type: t.string({ required: true, description: 'What it is for, by name: `feat`, `fix`, …' }),
      name: t.string({ required: true, description: 'Its name; unique in its project on its host.' }),
      branchName: t.string({ required: true, description: 'The branch checked out; `HEAD` when detached.' }),
      baseBranch: t.string({ description: "What ahead and behind count against; else the project's default branch." }),
      path: t.string({ required: true, description: 'Where it lies on its host.' }),
      host: t.string({ description: 'The host, by name, made at first sight; `local` when left out.' }),
      agentId: t.string({ description: 'The agent that works in it.' }),
      metadata: t.field({ type: 'JSON', description: 'An object; its keys are merged.' }),
    }),
  }),
  fields: (t) => ({
    worktree: answered(t),
    created: t.boolean({ nullable: true, description: 'Whether it is new.', resolve: (outcome) => outcome.created }),
  }),
  resolve: async (input, context) => {
    const { id, created } = await registerWorktree(context, input);
    return { created, worktree: await worktreeLoader(context).load(id) };
  },
});

addMutation<WorktreeGitStateReport, WorktreeAnswer & { changed: boolean }>({
  name: 'updateWorktreeGitState',
  description:
    'Stores what git says of a worktree; what is left out keeps its value. An older report than the stored one answers STALE_REPORT, a superseded claim FENCED, another head than expected HEAD_MOVED. Scope registry:write.',
  input: UpdateWorktreeGitStateInput,
  fields: (t) => ({
    worktree: answered(t),
    changed: t.boolean({
      nullable: true,
      description: 'Whether anything differs from before.',
      resolve: (outcome) => outcome.changed,
    }),
  }),
  resolve: (input, context) => updateWorktreeGitState(context, input),
});

addMutation<RepositoryReport, { project: ProjectRow | null; worktrees: (WorktreeRow | null)[] }>({
  name: 'reportWorktrees',
  description:
    'Stores all worktrees of one repository on one host at once, registering the project, the host and the worktrees as needed. Each refused item has its own user error, with its index in the path. Scope registry:write.',
  input: ReportWorktreesInput,
  fields: (t) => ({
    project: t.field({
      type: Project,
      nullable: true,
      description: 'The project of the repository.',
      resolve: (outcome) => outcome.project,
    }),
    worktrees: t.field({
      type: [Worktree],
      nullable: { list: true, items: true },
      description: 'The worktrees in the order of the input, null where one was refused.',
      resolve: (outcome) => outcome.worktrees,
    }),
  }),
  resolve: async (input, context) => {
    const { projectId, items } = await reportWorktrees(context, input);
    const [project, worktrees] = await Promise.all([
      projectLoader(context).load(projectId),
      Promise.all(
        items.map(({ worktreeId }) => (worktreeId === null ? null : worktreeLoader(context).load(worktreeId))),
      ),
    ]);
    return {
      project,
      worktrees,
      userErrors: items.flatMap(({ refusal }) => (refusal === null ? [] : toUserError(refusal))),
    };
  },
});

interface WorktreeChange {
  worktree: WorktreeReference;
  agentId?: string | null | undefined;
  type?: string | null | undefined;
  baseBranch?: string | null | undefined;
  metadata?: Json | undefined;
  fence?: string | null | undefined;
}

addMutation<WorktreeChange, WorktreeAnswer>({
  name: 'updateWorktree',
  description:
    'Changes what is given. Null clears agentId and baseBranch; metadata merges. With a fence, a superseded claim answers FENCED. Scope registry:write.',
  input: builder.inputRef<WorktreeChange>('UpdateWorktreeInput').implement({
    description: 'What to change of a worktree; what is left out stays.',
    fields: (t) => ({
      worktree: t.field({ type: WorktreeRefInput, required: true, description: 'Which worktree.' }),
      agentId: t.string({ description: 'The agent that works in it; null for none.' }),
      type: t.string({ description: 'What it is for, by name.' }),
      baseBranch: t.string({ description: "What it counts against; null for the project's default branch." }),
      metadata: t.field({ type: 'JSON', description: 'An object; its keys are merged, a null removes one.' }),
      fence: t.field({ type: 'BigInt', description: 'The fence of the claim that the caller holds.' }),
    }),
  }),
  fields: (t) => ({ worktree: answered(t) }),
  resolve: async ({ worktree, fence, agentId, baseBranch, type, metadata }, context) => {
    const values = { agent_id: agentId, base_branch: baseBranch, type, metadata };
    const patch = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
    return { worktree: await updateWorktree(context, { worktree, fence, patch }) };
  },
});

addMutation<{ worktree: WorktreeReference; force: boolean }, WorktreeAnswer>({
  name: 'deactivateWorktree',
  description: 'Says that a worktree is gone. Work in flight answers IN_USE unless forced. Scope registry:write.',
  input: builder.inputRef<{ worktree: WorktreeReference; force: boolean }>('DeactivateWorktreeInput').implement({
    description: 'Which worktree is gone.',
    fields: (t) => ({
      worktree: t.field({ type: WorktreeRefInput, required: true, description: 'Which worktree.' }),
      force: t.boolean({ required: true, defaultValue: false, description: 'Even with work in flight.' }),
    }),
  }),
  fields: (t) => ({ worktree: answered(t) }),
  resolve: async (input, context) => ({ worktree: await deactivateWorktree(context, input.worktree, input.force) }),
});

interface AgentStateChange {
  worktree: WorktreeReference;
  agentId?: string | null | undefined;
  state: AgentStateName;
  fence?: string | null | undefined;
}

addMutation<AgentStateChange, WorktreeAnswer>({
  name: 'setAgentState',
  description: 'Says what the agent in a worktree is doing. Scope registry:write.',
  input: builder.inputRef<AgentStateChange>('SetAgentStateInput').implement({
    description: 'What an agent is doing.',
    fields: (t) => ({
      worktree: t.field({ type: WorktreeRefInput, required: true, description: 'Which worktree.' }),
      agentId: t.string({ description: 'The agent; the stored one when left out.' }),
      state: t.field({ type: AgentState, required: true, description: 'What it is doing.' }),
      fence: t.field({ type: 'BigInt', description: 'The fence of the claim that the caller holds.' }),
    }),
  }),
  fields: (t) => ({ worktree: answered(t) }),
  resolve: async (input, context) => ({ worktree: await setAgentState(context, input) }),
});

interface Merge {
  worktree: WorktreeReference;
  mergedBy?: string | null | undefined;
  mergeCommit?: string | null | undefined;
}

addMutation<Merge, WorktreeAnswer>({
  name: 'markWorktreeMerged',
  description: 'Says that the work of a worktree has landed: it is inactive, and its claim ends. Scope registry:write.',
  input: builder.inputRef<Merge>('MarkWorktreeMergedInput').implement({
    description: 'Which worktree has landed, and how.',
    fields: (t) => ({
      worktree: t.field({ type: WorktreeRefInput, required: true, description: 'Which worktree.' }),
      mergedBy: t.string({ description: 'Who landed it.' }),
      mergeCommit: t.field({ type: 'GitObjectID', description: 'The commit that landed it.' }),
    }),
  }),
  fields: (t) => ({ worktree: answered(t) }),
  resolve: async (input, context) => ({ worktree: await markWorktreeMerged(context, input) }),
});
