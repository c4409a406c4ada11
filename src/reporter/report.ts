import { basename } from 'node:path';
import type { Client } from '../client/client.ts';
import { graphql } from '../client/generated/gql.ts';
import type { ReportWorktreesInput } from '../client/generated/graphql.ts';
import { cut, type InspectedRepository, type InspectedWorktree, mostChangedFiles } from './inspect.ts';
import { inferType, type TypePrefixes } from './worktree-type.ts';

const reportDocument = graphql(`
  mutation ReportRepository($input: ReportWorktreesInput!) {
    reportWorktrees(input: $input) {
      project { slug }
      worktrees { id status inFlight }
      userErrors { code message path }
    }
  }
`);

const typesDocument = graphql(`
  query WorktreeTypePrefixes {
    worktreeTypes { name branchPrefix worktreePrefix }
  }
`);

export async function readTypes(client: Client): Promise<TypePrefixes[]> {
  const { worktreeTypes } = await client.request(typesDocument);
  return worktreeTypes;
}

/** What the gateway made of a repository's report. */
export interface ReportOutcome {
  slug: string | null;
  worktrees: number;
  inFlight: number;
  /** What was refused, with the worktree's path where it was about one. */
  refusals: { path: string | null; code: string; message: string }[];
}

/** One mutation for the whole repository. */
export async function reportRepository(
  client: Client,
  repository: InspectedRepository,
  options: { host: string; types: readonly TypePrefixes[] },
): Promise<ReportOutcome> {
  const input = fitting((files) => toInput(repository, { ...options, files }));
  const { reportWorktrees } = await client.request(reportDocument, { input });
  const stored = (reportWorktrees.worktrees ?? []).filter((worktree) => worktree !== null);
  return {
    slug: reportWorktrees.project?.slug ?? null,
    worktrees: stored.length,
    inFlight: stored.filter((worktree) => worktree.inFlight).length,
    refusals: reportWorktrees.userErrors.map(({ code, message, path }) => ({
      code,
      message,
      path: path[1] === 'worktrees' ? (repository.worktrees[Number(path[2])]?.path ?? null) : null,
    })),
  };
}

/** Below the gateway's own limit (TREELINE_MAX_BODY_BYTES, 4,000,000 by default), with room for the document around it. */
const mostBytes = 3_500_000;

/**
 * The report with as many changed files a worktree as one request takes: that a hundred generated files more have changed is
 * worth less than that the repository is reported at all.
 */
function fitting(make: (files: number) => ReportWorktreesInput): ReportWorktreesInput {
  for (let files = mostChangedFiles; ; files = Math.floor(files / 2)) {
    const input = make(files);
    if (files === 0 || Buffer.byteLength(JSON.stringify(input)) <= mostBytes) return input;
  }
}

function toInput(
  repository: InspectedRepository,
  { host, types, files }: { host: string; types: readonly TypePrefixes[]; files: number },
): ReportWorktreesInput {
  return {
    host,
    project: {
      name: cut(repository.name, 200),
      remoteOrigin: repository.remote,
      defaultBranch: repository.defaultBranch,
      // A bare repository without a remote has no other identity: without it, each scan would make a new project.
      trunkPath: repository.trunkPath ?? (repository.remote === null ? repository.commonDir : null),
    },
    repositoryPath: repository.commonDir,
    observedAt: repository.observedAt,
    // What could not be read is there all the same, and may not be reported as gone.
    complete: repository.failures.length === 0,
    worktrees: repository.worktrees.map((worktree) => toItem(worktree, types, files)),
  };
}

function toItem(
  worktree: InspectedWorktree,
  types: readonly TypePrefixes[],
  files: number,
): ReportWorktreesInput['worktrees'][number] {
  const directory = basename(worktree.path);
  return {
    name: directory,
    path: worktree.path,
    branchName: worktree.branch,
    type: inferType({ main: worktree.main, branch: worktree.branch, directory }, types),
    state: {
      uncommittedFilesCount: worktree.uncommitted,
      hasUncommittedChanges: worktree.uncommitted > 0,
      aheadOfTrunk: worktree.ahead,
      behindTrunk: worktree.behind,
      headCommit: worktree.head,
      mergeBase: worktree.mergeBase,
      lastCommitMessage: worktree.lastCommit?.message ?? null,
      lastCommitAt: worktree.lastCommit?.at ?? null,
      changedFiles: worktree.changedFiles.slice(0, files).map((file) => ({ ...file })),
    },
  };
}
