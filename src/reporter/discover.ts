import { type Dirent, promises as fs } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import pLimit from 'p-limit';
import { tryGit } from './git.ts';

/** A clone: git's common directory, which all its worktrees share. */
export interface FoundRepository {
  commonDir: string;
  /** Where it was found: a worktree of it, or the bare repository itself. */
  foundAt: string;
}

const concurrency = 16;
/** Folders that hold thousands of others and no repository that anybody works in. */
const skipped = new Set(['node_modules', '.git', '.cache', '.treeline', '.Trash']);

/**
 * Finds the repositories in and below the given directories. Links are not followed, so that nothing is walked twice or
 * for ever. A repository within a worktree counts when it is one of its own; a submodule is part of its superproject.
 * A worktree whose repository lies elsewhere leads to that repository, with all its worktrees.
 *
 * @param onFound called with the number of repositories found so far
 */
export async function discover(
  directories: readonly string[],
  options: { signal?: AbortSignal; onFound?: (count: number) => void } = {},
): Promise<FoundRepository[]> {
  const limit = pLimit(concurrency);
  const found = new Map<string, FoundRepository>();

  async function look(directory: string): Promise<void> {
    options.signal?.throwIfAborted();
    const entries = await limit(() => listed(directory));
    if (await isRepository(directory, entries)) {
      const repository = await limit(() => identify(directory, options.signal));
      if (repository !== null && !found.has(repository.commonDir)) {
        found.set(repository.commonDir, repository);
        options.onFound?.(found.size);
      }
      // A bare repository has nothing inside that anybody works in.
      if (looksBare(entries)) return;
    }
    await Promise.all(
      entries
        .filter((entry) => entry.isDirectory() && !skipped.has(entry.name))
        .map((entry) => look(join(directory, entry.name))),
    );
  }

  // One after the other: directories that contain each other then share what was found.
  for (const directory of directories) {
    const start = resolve(directory);
    await fs.access(start);
    const inside = await enclosing(start, options.signal);
    if (inside !== null && !found.has(inside.commonDir)) found.set(inside.commonDir, inside);
    await look(start);
  }
  return [...found.values()].sort((a, b) => (a.commonDir < b.commonDir ? -1 : 1));
}

/** What cannot be read is left out: a scan of a home directory meets many such folders. */
async function listed(directory: string): Promise<Dirent[]> {
  try {
    return await fs.readdir(directory, { withFileTypes: true });
  } catch {
    return [];
  }
}

async function isRepository(directory: string, entries: readonly Dirent[]): Promise<boolean> {
  const dotGit = entries.find((entry) => entry.name === '.git');
  if (dotGit === undefined) return looksBare(entries);
  return dotGit.isDirectory() || (await pointsToWorktree(join(directory, '.git')));
}

function looksBare(entries: readonly Dirent[]): boolean {
  const has = (name: string, directory: boolean) =>
    entries.some((entry) => entry.name === name && entry.isDirectory() === directory);
  return has('HEAD', false) && has('objects', true) && has('refs', true);
}

/** A `.git` file names its git directory: one below `worktrees/` is a worktree's, one below `modules/` a submodule's. */
async function pointsToWorktree(file: string): Promise<boolean> {
  try {
    return !/\/modules\/(?!.*\/worktrees\/)/.test(await fs.readFile(file, 'utf8'));
  } catch {
    return false;
  }
}

async function identify(directory: string, signal?: AbortSignal): Promise<FoundRepository | null> {
  const answer = await tryGit(directory, ['rev-parse', '--path-format=absolute', '--git-common-dir'], signal);
  // Refused (a foreign owner, a broken repository) is not "none": it is reported as that repository's own failure.
  const commonDir = answer === null ? await guessed(directory) : answer.replace(/\n$/, '');
  if (commonDir === null) return null;
  return { commonDir: await fs.realpath(commonDir).catch(() => commonDir), foundAt: directory };
}

async function guessed(directory: string): Promise<string | null> {
  const dotGit = join(directory, '.git');
  const isDirectory = await fs.stat(dotGit).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  if (isDirectory) return dotGit;
  return basename(directory).endsWith('.git') ? directory : null;
}

/** The repository whose worktree the directory lies in, so that a scan works from anywhere inside a project. */
async function enclosing(directory: string, signal?: AbortSignal): Promise<FoundRepository | null> {
  const top = await tryGit(directory, ['rev-parse', '--show-superproject-working-tree', '--show-toplevel'], signal);
  const [root] = (top ?? '').split('\n');
  return root === undefined || root === '' ? null : identify(root, signal);
}
