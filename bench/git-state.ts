import { type Contender, startGateway, startPeer } from './contender.ts';
import { activeWorktreeIds, type Databases, fullSize } from './databases.ts';
import { compare, type Load } from './rounds.ts';

/** What agents do many times a minute, each report about another worktree and each a change. */
const query = `mutation Report($input: UpdateWorktreeGitStateInput!) {
  updateWorktreeGitState(input: $input) { changed worktree { id } userErrors { code message } }
}`;

export async function gitState(databases: Databases): Promise<void> {
  const urls = await databases.open('full', fullSize);
  await using opened = new AsyncDisposableStack();
  const reports = endlessReports(await activeWorktreeIds(urls.ownerUrl));
  const gateway = await startGateway(urls);
  opened.defer(() => gateway.stop());
  const bare = await startPeer('bare handler', 'peers/bare.ts', '/git-state', urls);
  opened.defer(() => bare.stop());
  await compare([
    mutationLoad(gateway, reports),
    {
      contender: bare,
      body: () => {
        const { id, count, ahead, head } = reports();
        return JSON.stringify([id, count, ahead, head, new Date().toISOString()]);
      },
      check: (answer) => {
        if (!(answer as { changed: boolean }).changed) throw new Error('expected a change');
      },
    },
  ]);
}

interface Report {
  id: string;
  count: number;
  ahead: number;
  head: string;
}

export function endlessReports(ids: readonly string[]): () => Report {
  let number = 0;
  return () => {
    number += 1;
    return {
      id: ids[number % ids.length] ?? '',
      count: number % 9,
      ahead: number % 4,
      head: number.toString(16).padStart(40, '0'),
    };
  };
}

export function mutationLoad(contender: Contender, reports: () => Report): Load {
  return {
    contender,
    body: () => mutationBody(reports()),
    check: (answer) => {
      const { data } = answer as { data: { updateWorktreeGitState: { changed: boolean } } };
      if (!data.updateWorktreeGitState.changed) throw new Error('expected a change');
    },
  };
}

export function mutationBody({ id, count, ahead, head }: Report): string {
  const input = {
    worktree: { id },
    uncommittedFilesCount: count,
    aheadOfTrunk: ahead,
    headCommit: head,
    observedAt: new Date().toISOString(),
  };
  return JSON.stringify({ query, variables: { input } });
}
