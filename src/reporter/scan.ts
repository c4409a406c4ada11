import { availableParallelism } from 'node:os';
import pLimit from 'p-limit';
import type { Client } from '../client/client.ts';
import { discover, type FoundRepository } from './discover.ts';
import { inspectRepository } from './inspect.ts';
import { type ReportOutcome, readTypes, reportRepository } from './report.ts';
import { reportVanished } from './vanished.ts';

export interface ScannedRepository extends Partial<ReportOutcome> {
  path: string;
  name: string;
  /** Worktrees that could not be read. */
  failures: { path: string; reason: string }[];
  /** Why the repository as a whole could not be read or reported. */
  error: string | null;
}

export interface ScanResult {
  repositories: ScannedRepository[];
  /** Repositories that the gateway knew and that are gone from the disk. */
  vanished: string[];
}

export interface ScanProgress {
  found: number;
  done: number;
}

/**
 * Finds the repositories below the directories and reports each in one mutation, as soon as it was read. What fails is
 * that repository's own failure; the others go on.
 */
export async function scan(
  client: Client,
  directories: readonly string[],
  options: { host: string; signal?: AbortSignal; onProgress?: (progress: ScanProgress) => void },
): Promise<ScanResult> {
  const observedAt = new Date().toISOString();
  const types = await readTypes(client);
  const progress: ScanProgress = { found: 0, done: 0 };
  const { signal } = options;
  const repositories = await discover(directories, {
    ...(signal === undefined ? {} : { signal }),
    onFound: (found) => {
      progress.found = found;
      options.onProgress?.(progress);
    },
  });
  // git is where the time goes: a few repositories at once keep the processors busy, more only queue.
  const limit = pLimit(Math.max(4, availableParallelism() * 2));
  const scanned = await Promise.all(
    repositories.map((found) =>
      limit(async () => {
        const one = await scanOne(found);
        progress.done += 1;
        options.onProgress?.(progress);
        return one;
      }),
    ),
  );
  const found = new Set(repositories.map(({ commonDir }) => commonDir));
  const { gone, refused } = await reportVanished(client, { host: options.host, directories, found, observedAt });
  const unreported = refused.map((one): ScannedRepository => ({ ...one, failures: [] }));
  return { repositories: [...scanned, ...unreported], vanished: gone };

  async function scanOne(found: FoundRepository): Promise<ScannedRepository> {
    const scanned: ScannedRepository = { path: found.foundAt, name: found.foundAt, failures: [], error: null };
    try {
      const repository = await inspectRepository(found, signal);
      scanned.name = repository.name;
      scanned.path = repository.trunkPath ?? repository.commonDir;
      scanned.failures = repository.failures;
      return { ...scanned, ...(await reportRepository(client, repository, { host: options.host, types })) };
    } catch (error) {
      signal?.throwIfAborted();
      return { ...scanned, error: error instanceof Error ? error.message : String(error) };
    }
  }
}
