import type { Client } from '../client/client.ts';
import { graphql } from '../client/generated/gql.ts';
import type { InFlightWorkQuery } from '../client/generated/graphql.ts';
import { table } from './table.ts';

const inFlightDocument = graphql(`
  query InFlightWork($after: String) {
    inFlightWork(first: 100, after: $after) {
      nodes {
        name
        branchName
        path
        status
        agentId
        agentState
        gitState { uncommittedFilesCount aheadOfTrunk behindTrunk lastCommitAt lastSyncAt }
        project { name slug }
        type { name }
        host { name }
        claim { agentId expiresAt }
      }
      pageInfo { hasNextPage endCursor }
    }
  }
`);

export type InFlightWorktree = InFlightWorkQuery['inFlightWork']['nodes'][number];

/** All work in flight, page by page. */
export async function listInFlight(client: Client): Promise<InFlightWorktree[]> {
  const all: InFlightWorktree[] = [];
  for (let after: string | null = null; ; ) {
    const { inFlightWork }: InFlightWorkQuery = await client.request(inFlightDocument, { after });
    all.push(...inFlightWork.nodes);
    if (!inFlightWork.pageInfo.hasNextPage) return all;
    after = inFlightWork.pageInfo.endCursor ?? null;
  }
}

export function inFlightTable(worktrees: readonly InFlightWorktree[]): string {
  if (worktrees.length === 0)
    return 'Nothing is in flight. "npm run treeline -- scan DIR" reports what is below a folder.';
  return table(
    ['PROJECT', 'WORKTREE', 'BRANCH', 'TYPE', 'STATUS', 'FILES', 'AHEAD', 'BEHIND', 'AGENT', 'HOST'],
    worktrees.map((w) => [
      w.project.slug,
      w.name,
      w.branchName,
      w.type.name,
      w.status.toLowerCase(),
      w.gitState.uncommittedFilesCount,
      w.gitState.aheadOfTrunk,
      w.gitState.behindTrunk,
      w.claim?.agentId ?? w.agentId ?? '',
      w.host.name,
    ]),
  );
}
