import pg from 'pg';
import { startGateway, startPeer } from './contender.ts';
import type { DatabaseUrls } from './main.ts';
import { compare } from './rounds.ts';

/** What agents do many times a minute, each report about another worktree and each a change. */
const query = `mutation Report($input: UpdateWorktreeGitStateInput!) {
  updateWorktreeGitState(input: $input) { changed worktree { id } userErrors { code message } }
}`;

export async function gitState(urls: DatabaseUrls): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const ids = await worktreeIds(urls.ownerUrl);
  const gateway = await startGateway(urls);
  opened.defer(() => gateway.stop());
  const bare = await startPeer('bare handler', 'peers/bare.ts', '/git-state', urls);
  opened.defer(() => bare.stop());
  let number = 0;
  const next = () => {
    number += 1;
    return {
      id: ids[number % ids.length] ?? '',
      count: number % 9,
      ahead: number % 4,
      head: number.toString(16).padStart(40, '0'),
    };
  };
  await compare([
    {
      contender: gateway,
      body: () => {
        const { id, count, ahead, head } = next();
        const observedAt = new Date().toISOString();
        const input = {
          worktree: { id },
          uncommittedFilesCount: count,
          aheadOfTrunk: ahead,
          headCommit: head,
          observedAt,
        };
        return JSON.stringify({ query, variables: { input } });
      },
      check: (answer) => {
        const { data } = answer as { data: { updateWorktreeGitState: { changed: boolean } } };
        if (!data.updateWorktreeGitState.changed) throw new Error('expected a change');
      },
    },
    {
      contender: bare,
      body: () => {
        const { id, count, ahead, head } = next();
        return JSON.stringify([id, count, ahead, head, new Date().toISOString()]);
      },
      check: (answer) => {
        if (!(answer as { changed: boolean }).changed) throw new Error('expected a change');
      },
    },
  ]);
}

async function worktreeIds(ownerUrl: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: ownerUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ id: string }>('select id from registry.worktrees where active order by path');
    return rows.map((row) => row.id);
  } finally {
    await client.end();
  }
}
