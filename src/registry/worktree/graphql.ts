import type { RequestContext } from '../../auth/context.ts';
import { builder } from '../../graphql/builder.ts';
import { readPage, toConnection } from '../../graphql/connection.ts';
import { byKey, groupedBy, loader } from '../../graphql/loaders.ts';
import { Host, hostLoader } from '../host/graphql.ts';
import { Project, projectLoader } from '../project/graphql.ts';
import type { ProjectRow } from '../project/model.ts';
import { WorktreeType, worktreeTypeLoader } from '../worktree-type/graphql.ts';
import type { WorktreeRow } from './model.ts';
import { type ChangedFileRow, changedFileOrder, listChangedFiles, listWorktreesById } from './store.ts';

export function worktreeLoader(context: RequestContext) {
  return loader<WorktreeRow | null>(
    context,
    'worktree',
    async (ids) => byKey(await listWorktreesById(context.db, ids), (worktree) => worktree.id),
    null,
  );
}

export const WorktreeStatus = builder.enumType('WorktreeStatus', {
  description: 'What a worktree needs next: the first of these that holds, merged before inactive before the rest.',
  values: {
    CLEAN: { value: 'clean', description: 'Nothing uncommitted, neither ahead nor behind.' },
    UNCOMMITTED: { value: 'uncommitted', description: 'Files that are not committed.' },
    AHEAD: { value: 'ahead', description: 'Commits that the base branch does not have.' },
    BEHIND: { value: 'behind', description: 'The base branch has moved on.' },
    DIVERGED: { value: 'diverged', description: 'Both ahead and behind.' },
    MERGED: { value: 'merged', description: 'Its work has landed.' },
    INACTIVE: { value: 'inactive', description: 'Gone from its host, or deactivated.' },
  } as const,
});

export const AgentState = builder.enumType('AgentState', {
  description: 'What the agent in a worktree is doing.',
  values: {
    WORKING: { value: 'working', description: 'It works.' },
    WAITING: { value: 'waiting', description: 'It waits for somebody or something.' },
    IDLE: { value: 'idle', description: 'It has nothing to do.' },
    UNKNOWN: { value: 'unknown', description: 'Nobody said.' },
  } as const,
});

export const Worktree = builder.objectRef<WorktreeRow>('Worktree');

const GitState = builder.objectRef<WorktreeRow>('GitState').implement({
  description: 'What git said of a worktree when it was last looked at.',
  fields: (t) => ({
    hasUncommittedChanges: t.exposeBoolean('has_uncommitted_changes', {
      description: 'Whether any file is uncommitted.',
    }),
    uncommittedFilesCount: t.exposeInt('uncommitted_files_count', { description: 'How many files are uncommitted.' }),
    aheadOfTrunk: t.exposeInt('ahead_of_trunk', { description: 'Commits that the base branch does not have.' }),
    behindTrunk: t.exposeInt('behind_trunk', { description: 'Commits of the base branch that it does not have.' }),
    headCommit: t.field({
      type: 'GitObjectID',
      nullable: true,
      description: 'The commit that is checked out; null on an unborn branch, or before the first report.',
      resolve: (w) => w.head_commit,
    }),
    mergeBase: t.field({
      type: 'GitObjectID',
      nullable: true,
      description: 'Where it left the base branch; changed files are against this commit.',
      resolve: (w) => w.merge_base,
    }),
    lastCommitMessage: t.exposeString('last_commit_message', {
      nullable: true,
      description: "The last commit's message.",
    }),
    lastCommitAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the last commit was made.',
      resolve: (w) => w.last_commit_at,
    }),
    observedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When git said so; reports from before are dropped.',
      resolve: (w) => w.git_observed_at,
    }),
    lastSyncAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the last report arrived, changed or not.',
      resolve: (w) => w.last_sync_at,
    }),
  }),
});

/** A foreign key guarantees the row: its absence is a defect, not an answer. */
function present<Row>(row: Row | null, what: string): Row {
  if (row === null) throw new Error(`${what} is missing although a foreign key refers to it`);
  return row;
}

async function projectOf(worktree: WorktreeRow, context: RequestContext): Promise<ProjectRow> {
  return present(await projectLoader(context).load(worktree.project_id), 'a project');
}

builder.node(Worktree, {
  description: 'A checkout of one branch of a project on one host.',
  id: { resolve: (w) => w.id },
  loadWithoutCache: (id, context) => worktreeLoader(context).load(id),
  isTypeOf: (value) => typeof value === 'object' && value !== null && 'type_id' in value,
  fields: (t) => ({
    uuid: t.field({ type: 'UUID', description: 'The key of the row, as SQL users know it.', resolve: (w) => w.id }),
    project: t.field({
      type: Project,
      description: 'The project that it is a checkout of.',
      resolve: (w, _args, context) => w.project ?? projectOf(w, context),
    }),
    host: t.field({
      type: Host,
      description: 'The machine that it lies on.',
      resolve: (w, _args, context) =>
        w.host ??
        hostLoader(context)
          .load(w.host_id)
          .then((host) => present(host, 'a host')),
    }),
    type: t.field({
      type: WorktreeType,
      description: 'What it is for.',
      resolve: (w, _args, context) =>
        w.type ??
        worktreeTypeLoader(context)
          .load(String(w.type_id))
          .then((type) => present(type, 'a worktree type')),
    }),
    name: t.exposeString('name', { description: 'Its name; unique in its project on its host.' }),
    branchName: t.exposeString('branch_name', { description: 'The branch checked out; `HEAD` when detached.' }),
    baseBranch: t.string({
      description: "The branch that ahead and behind are counted against: its own, else the project's default branch.",
      resolve: (w, _args, context) =>
        w.base_branch ?? w.project?.default_branch ?? projectOf(w, context).then((project) => project.default_branch),
    }),
    path: t.exposeString('path', { description: 'Where it lies on its host.' }),
    repositoryPath: t.exposeString('repository_path', {
      nullable: true,
      description:
        "git's common directory: worktrees that share it are of one clone. Null where no scanner reported it.",
    }),
    agentId: t.exposeString('agent_id', { nullable: true, description: 'The agent that works in it.' }),
    agentState: t.field({ type: AgentState, description: 'What that agent is doing.', resolve: (w) => w.agent_state }),
    agentStateAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'Since when.',
      resolve: (w) => w.agent_state_at,
    }),
    status: t.field({ type: WorktreeStatus, description: 'What it needs next.', resolve: (w) => w.status }),
    inFlight: t.exposeBoolean('in_flight', {
      description: 'Active, not merged, and uncommitted files or commits ahead.',
    }),
    active: t.exposeBoolean('active', { description: 'False once it is gone from its host, merged or deactivated.' }),
    gitState: t.field({ type: GitState, description: 'What git says of it.', resolve: (w) => w }),
    mergedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When its work landed.',
      resolve: (w) => w.merged_at,
    }),
    mergedBy: t.exposeString('merged_by', { nullable: true, description: 'Who landed it.' }),
    mergeCommit: t.field({
      type: 'GitObjectID',
      nullable: true,
      description: 'The commit that landed it.',
      resolve: (w) => w.merge_commit,
    }),
    metadata: t.field({ type: 'JSON', description: 'Anything else, an object.', resolve: (w) => w.metadata }),
    createdAt: t.field({ type: 'DateTime', description: 'When it was registered.', resolve: (w) => w.created_at }),
    updatedAt: t.field({
      type: 'DateTime',
      description: 'When it last changed; a report that changes nothing does not count.',
      resolve: (w) => w.updated_at,
    }),
  }),
});

const ChangedFile = builder.objectRef<ChangedFileRow>('ChangedFile').implement({
  description: 'A file that a worktree changes against its merge base, committed or not.',
  fields: (t) => ({
    path: t.exposeString('path', { description: "The file's path in the repository." }),
    previousPath: t.exposeString('previous_path', { nullable: true, description: 'Its path before a rename.' }),
    change: t.exposeString('change', {
      description: 'A added, M modified, D deleted, R renamed, ? untracked, U in conflict.',
    }),
    additions: t.exposeInt('additions', { nullable: true, description: 'Lines added; null for a binary file.' }),
    deletions: t.exposeInt('deletions', { nullable: true, description: 'Lines removed; null for a binary file.' }),
  }),
});

const ChangedFileConnection = builder.connectionObject(
  { type: ChangedFile, name: 'ChangedFileConnection', description: 'One page of changed files.' },
  { name: 'ChangedFileEdge', description: 'A changed file with its cursor.' },
);

builder.objectField(Worktree, 'changedFiles', (t) =>
  t.connection(
    {
      type: ChangedFile,
      description: 'The files that it changes against its merge base, by path.',
      resolve: async (worktree, args, context) => {
        const page = readPage(args, changedFileOrder);
        const rows = await loader<ChangedFileRow[]>(
          context,
          `worktree.changedFiles:${JSON.stringify(page)}`,
          async (ids) => groupedBy(await listChangedFiles(context.db, ids, page), (file) => file.worktree_id),
          [],
        ).load(worktree.id);
        return toConnection(rows, page, changedFileOrder);
      },
    },
    ChangedFileConnection,
  ),
);

export const WorktreeConnection = builder.connectionObject(
  { type: Worktree, name: 'WorktreeConnection', description: 'One page of worktrees.' },
  { name: 'WorktreeEdge', description: 'A worktree with its cursor.' },
);
