import { availableParallelism } from 'node:os';
import pLimit from 'p-limit';
import type { Client } from '../client/client.ts';
import { discover, type FoundRepository } from './discover.ts';
import { inspectRepository } from './inspect.ts';
import { type ReportOutcome, readTypes, reportRepository } from './report.ts';

export interface ScannedRepository extends Partial<ReportOutcome> {
  path: string;
  name: string;
  /** Worktrees that could not be read. */
  failures: { path: string; reason: string }[];
  /** Why the repository as a whole could not be read or reported. */
  error: string | null;
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
): Promise<ScannedRepository[]> {
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
  return Promise.all(
    repositories.map((found) =>
      limit(async () => {
        const scanned = await scanOne(found);
        progress.done += 1;
        options.onProgress?.(progress);
        return scanned;
      }),
    ),
  );

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
