import { startGateway, startPeer } from './contender.ts';
import { type Databases, fullSize } from './databases.ts';
import { compare } from './rounds.ts';

/** What a dashboard asks: 50 worktrees in flight with project, type, host and their last three activities. */
const query = `query Dashboard {
  inFlightWork(first: 50) {
    nodes {
      id name branchName path agentId agentState status
      gitState { hasUncommittedChanges uncommittedFilesCount aheadOfTrunk behindTrunk lastCommitMessage lastCommitAt }
      project { id name slug }
      type { name color }
      host { name }
      activities(first: 3) { nodes { id agentId type description createdAt } }
    }
  }
}`;

const peersQuery = `query Dashboard {
  allWorktrees(first: 50, condition: { inFlight: true }, orderBy: [UPDATED_AT_DESC, ROW_ID_DESC]) {
    nodes {
      id name branchName path agentId agentState status
      hasUncommittedChanges uncommittedFilesCount aheadOfTrunk behindTrunk lastCommitMessage lastCommitAt
      projectByProjectId { id name slug }
      worktreeTypeByTypeId { name color }
      hostByHostId { name }
      agentActivitiesByWorktreeId(first: 3, orderBy: [CREATED_AT_DESC, ROW_ID_DESC]) {
        nodes { id agentId activityType description createdAt }
      }
    }
  }
}`;

interface Page {
  nodes: { name: string; activities?: { nodes: unknown[] }; agentActivitiesByWorktreeId?: { nodes: unknown[] } }[];
}

/** All three must have answered the same 50 worktrees with three activities each, or they are not comparable. */
function checkPage(page: Page | undefined): void {
  const full = page?.nodes.every((node) => (node.activities ?? node.agentActivitiesByWorktreeId)?.nodes.length === 3);
  if (page?.nodes.length !== 50 || full !== true) throw new Error('expected 50 worktrees with 3 activities each');
}

export async function dashboard(databases: Databases): Promise<void> {
  const urls = await databases.open('full', fullSize);
  await using opened = new AsyncDisposableStack();
  const gateway = await startGateway(urls);
  opened.defer(() => gateway.stop());
  const postgraphile = await startPeer('PostGraphile 5', 'peers/postgraphile.ts', '/graphql', urls);
  opened.defer(() => postgraphile.stop());
  const bare = await startPeer('bare handler', 'peers/bare.ts', '/dashboard', urls);
  opened.defer(() => bare.stop());
  const ours = JSON.stringify({ query });
  const theirs = JSON.stringify({ query: peersQuery });
  await compare([
    {
      contender: gateway,
      body: () => ours,
      check: (answer) => checkPage((answer as { data: { inFlightWork: Page } }).data.inFlightWork),
    },
    {
      contender: postgraphile,
      body: () => theirs,
      check: (answer) => checkPage((answer as { data: { allWorktrees: Page } }).data.allWorktrees),
    },
    {
      contender: bare,
      body: () => '[]',
      check: (answer) => checkPage((answer as { data: { inFlightWork: Page } }).data.inFlightWork),
    },
  ]);
}
