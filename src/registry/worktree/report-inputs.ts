import { builder } from '../../graphql/builder.ts';
import { RegisterProjectInput } from '../project/mutations.ts';
import { AgentState } from './graphql.ts';
import { WorktreeRefInput } from './queries.ts';
import type { ChangedFileReport, GitStateReport, RepositoryReport, WorktreeGitStateReport } from './service.ts';

const LineRangeInput = builder.inputType('LineRangeInput', {
  description: 'A run of lines.',
  fields: (t) => ({
    start: t.int({ required: true, description: 'The first line, counted from 1.' }),
    count: t.int({ required: true, description: 'How many lines; 0 for an insertion before `start`.' }),
  }),
});

const ChangedFileInput = builder.inputRef<ChangedFileReport>('ChangedFileInput').implement({
  description: 'A file that a worktree changes against its merge base, committed or not.',
  fields: (t) => ({
    path: t.string({ required: true, description: "The file's path in the repository." }),
    previousPath: t.string({ description: 'Its path before a rename.' }),
    change: t.string({
      required: true,
      description: 'A added, M modified, D deleted, R renamed, ? untracked, U in conflict.',
    }),
    additions: t.int({ description: 'Lines added; left out for a binary file.' }),
    deletions: t.int({ description: 'Lines removed; left out for a binary file.' }),
    baseLines: t.field({ type: [LineRangeInput], description: 'The lines of the merge base that the change touches.' }),
  }),
});

export const UpdateWorktreeGitStateInput = builder
  .inputRef<WorktreeGitStateReport>('UpdateWorktreeGitStateInput')
  .implement({
    description: 'What git says of a worktree. What is left out keeps its stored value.',
    fields: (t) => ({
      worktree: t.field({ type: WorktreeRefInput, required: true, description: 'Which worktree.' }),
      hasUncommittedChanges: t.boolean({ description: 'Alone, true means at least one file and false none.' }),
      uncommittedFilesCount: t.int({ description: 'How many files are uncommitted; must agree with the flag.' }),
      aheadOfTrunk: t.int({ description: 'Commits that the base branch does not have.' }),
      behindTrunk: t.int({ description: 'Commits of the base branch that it does not have.' }),
      headCommit: t.field({ type: 'GitObjectID', description: 'The commit that is checked out.' }),
      mergeBase: t.field({ type: 'GitObjectID', description: 'Where it left the base branch.' }),
      lastCommitMessage: t.string({ description: "The last commit's message." }),
      lastCommitAt: t.field({ type: 'DateTime', description: 'When the last commit was made.' }),
      branchName: t.string({ description: 'The branch checked out; `HEAD` when detached.' }),
      changedFiles: t.field({
        type: [ChangedFileInput],
        description: 'All changed files: they replace the stored ones.',
      }),
      observedAt: t.field({
        type: 'DateTime',
        description: 'When git was asked; left out, the report always applies. At most 5 minutes ahead of the server.',
      }),
      expectedHead: t.field({ type: 'GitObjectID', description: 'Refuse with HEAD_MOVED unless this head is stored.' }),
      fence: t.field({ type: 'BigInt', description: 'The fence of the claim that the caller holds.' }),
      agentState: t.field({ type: AgentState, description: 'What the agent is doing.' }),
    }),
  });

const GitStateInput = builder.inputRef<GitStateReport>('GitStateInput').implement({
  description: 'What git says of a worktree. What is left out keeps its stored value.',
  fields: (t) => ({
    hasUncommittedChanges: t.boolean({ description: 'Alone, true means at least one file and false none.' }),
    uncommittedFilesCount: t.int({ description: 'How many files are uncommitted; must agree with the flag.' }),
    aheadOfTrunk: t.int({ description: 'Commits that the base branch does not have.' }),
    behindTrunk: t.int({ description: 'Commits of the base branch that it does not have.' }),
    headCommit: t.field({ type: 'GitObjectID', description: 'The commit that is checked out.' }),
    mergeBase: t.field({ type: 'GitObjectID', description: 'Where it left the base branch.' }),
    lastCommitMessage: t.string({ description: "The last commit's message." }),
    lastCommitAt: t.field({ type: 'DateTime', description: 'When the last commit was made.' }),
    changedFiles: t.field({
      type: [ChangedFileInput],
      description: 'All changed files: they replace the stored ones.',
    }),
  }),
});

const WorktreeReportInput = builder.inputRef<RepositoryReport['worktrees'][number]>('WorktreeReportInput').implement({
  description: 'One worktree of a repository, as it was found.',
  fields: (t) => ({
    type: t.string({ description: 'What it is for, by name; the stored type, else `feat`, when left out.' }),
    name: t.string({ required: true, description: "Its directory's name; gets a number if another path holds it." }),
    branchName: t.string({ required: true, description: 'The branch checked out; `HEAD` when detached.' }),
    baseBranch: t.string({ description: "What it counts against; else the project's default branch." }),
    path: t.string({ required: true, description: 'Where it lies on the host.' }),
    agentId: t.string({ description: 'The agent that works in it.' }),
    state: t.field({ type: GitStateInput, required: true, description: 'What git says of it.' }),
    observedAt: t.field({ type: 'DateTime', description: "When git was asked about it; else the report's time." }),
    fence: t.field({ type: 'BigInt', description: 'The fence of the claim that the caller holds.' }),
  }),
});

export const ReportWorktreesInput = builder.inputRef<RepositoryReport>('ReportWorktreesInput').implement({
  description: 'The worktrees of one repository on one host.',
  fields: (t) => ({
    host: t.string({ required: true, defaultValue: 'local', description: 'The host, by name, made at first sight.' }),
    project: t.field({
      type: RegisterProjectInput,
      required: true,
      description:
        'The project of the repository; its name is only for a new one, its trunk path is that of this host.',
    }),
    repositoryPath: t.string({ required: true, description: "git's common directory on the host." }),
    observedAt: t.field({ type: 'DateTime', required: true, description: 'When git was asked.' }),
    worktrees: t.field({ type: [WorktreeReportInput], required: true, description: 'At most 1,000 worktrees.' }),
    complete: t.boolean({
      required: true,
      defaultValue: false,
      description: 'These are all: other worktrees of this repository on this host are gone.',
    }),
  }),
});
