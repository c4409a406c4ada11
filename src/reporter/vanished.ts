import { realpath, stat } from 'node:fs/promises';
import { sep } from 'node:path';
import type { Client } from '../client/client.ts';
import { graphql } from '../client/generated/gql.ts';
import type { KnownWorktreesQuery } from '../client/generated/graphql.ts';

const knownDocument = graphql(`
  query KnownWorktrees($host: String!, $after: String) {
    worktrees(filter: { host: $host, active: true }, orderBy: NAME_ASC, first: 100, after: $after) {
      nodes { repositoryPath project { name slug remoteOrigin } }
      pageInfo { hasNextPage endCursor }
    }
  }
`);

const goneDocument = graphql(`
  mutation ReportVanishedRepository($input: ReportWorktreesInput!) {
    reportWorktrees(input: $input) {
      project { slug }
      userErrors { code message path }
    }
  }
`);

export interface Vanished {
  gone: string[];
  refused: { path: string; name: string; error: string }[];
}

type Known = KnownWorktreesQuery['worktrees']['nodes'][number];

/**
 * A repository that was removed altogether cannot report that its worktrees are gone. So after a scan, those that the
 * gateway still knows below the scanned directories, and that are not on disk any more, are reported as having none.
 * @returns the paths of the repositories that went, and what the gateway refused of them
 */
export async function reportVanished(
  client: Client,
  options: { host: string; directories: readonly string[]; found: ReadonlySet<string>; observedAt: string },
): Promise<Vanished> {
  // As git tells paths: with links resolved.
  const roots = await Promise.all(options.directories.map((directory) => realpath(directory)));
  const suspects = new Map<string, Known['project']>();
  for (const { repositoryPath, project } of await listKnown(client, options.host)) {
    if (repositoryPath == null || options.found.has(repositoryPath)) continue;
    if (roots.some((root) => repositoryPath === root || repositoryPath.startsWith(root === sep ? sep : root + sep))) {
      suspects.set(repositoryPath, project);
    }
  }
  const vanished: Vanished = { gone: [], refused: [] };
  for (const [repositoryPath, project] of suspects) {
    if (!(await isGone(repositoryPath))) continue;
    const { reportWorktrees } = await client.request(goneDocument, {
      input: {
        host: options.host,
        repositoryPath,
        observedAt: options.observedAt,
        project: { name: project.name, slug: project.slug, remoteOrigin: project.remoteOrigin ?? null },
        worktrees: [],
        complete: true,
      },
    });
    const [refusal] = reportWorktrees.userErrors;
    if (refusal === undefined) vanished.gone.push(repositoryPath);
    else {
      const error = `${refusal.code}: ${refusal.message}`;
      vanished.refused.push({ path: repositoryPath, name: project.name, error });
    }
  }
  return vanished;
}

async function listKnown(client: Client, host: string): Promise<Known[]> {
  const known: Known[] = [];
  for (let after: string | null = null; ; ) {
    const { worktrees }: KnownWorktreesQuery = await client.request(knownDocument, { host, after });
    known.push(...worktrees.nodes);
    if (!worktrees.pageInfo.hasNextPage) return known;
    after = worktrees.pageInfo.endCursor ?? null;
  }
}

/** Only what is surely not there: a folder that may not be read now is no proof. */
async function isGone(path: string): Promise<boolean> {
  return stat(path).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === 'ENOENT' || error.code === 'ENOTDIR',
  );
}
