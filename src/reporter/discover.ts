import { type Dirent, promises as fs } from 'node:fs';
import { join, resolve } from 'node:path';
import pLimit from 'p-limit';
import { tryGit } from './git.ts';
import { commonDirOf, readDotGit } from './git-file.ts';

/** A clone: git's common directory, which all its worktrees share. */
export interface FoundRepository {
  commonDir: string;
  /** Where it was found: its main worktree if that was seen, else another of its worktrees, or the git directory itself. */
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

  async function keep(repository: FoundRepository): Promise<void> {
    const { commonDir, foundAt } = repository;
    if (!found.has(commonDir)) {
      found.set(commonDir, repository);
      options.onFound?.(found.size);
      return;
    }
    // With --separate-git-dir, only this file tells where the main worktree is.
    const dotGit = await readDotGit(foundAt);
    if (dotGit.kind === 'file' && dotGit.target === commonDir) found.set(commonDir, repository);
  }

  async function look(directory: string): Promise<void> {
    options.signal?.throwIfAborted();
    const entries = await limit(() => listed(directory));
    if (await isRepository(directory, entries)) {
      const repository = await limit(() => identify(directory, options.signal));
      if (repository !== null) await keep(repository);
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
    if (inside !== null) await keep(inside);
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
  return dotGit.isDirectory() || (await pointsToWorktree(directory));
}

function looksBare(entries: readonly Dirent[]): boolean {
  const has = (name: string, directory: boolean) =>
    entries.some((entry) => entry.name === name && entry.isDirectory() === directory);
  return has('HEAD', false) && has('objects', true) && has('refs', true);
}

/** Below `worktrees/` of a git directory is a worktree's, below `modules/` a submodule's. */
async function pointsToWorktree(directory: string): Promise<boolean> {
  const dotGit = await readDotGit(directory);
  return dotGit.kind === 'file' && !/\/modules\/(?!.*\/worktrees\/)/s.test(dotGit.target);
}

async function identify(directory: string, signal?: AbortSignal): Promise<FoundRepository | null> {
  const answer = await tryGit(directory, ['rev-parse', '--path-format=absolute', '--git-common-dir'], signal);
  // Refused (a foreign owner, a broken repository) is not "none": it is reported as that repository's own failure.
  const commonDir = answer === null ? await guessed(directory) : withoutNewline(answer);
  if (commonDir === null) return null;
  return { commonDir: await fs.realpath(commonDir).catch(() => commonDir), foundAt: directory };
}

/** @returns null for what is left of a worktree whose repository is gone: `reportVanished` tells of that */
async function guessed(directory: string): Promise<string | null> {
  const dotGit = await readDotGit(directory);
  if (dotGit.kind === 'directory') return join(directory, '.git');
  if (dotGit.kind !== 'file') return looksBare(await listed(directory)) ? directory : null;
  const commonDir = commonDirOf(dotGit.target);
  return (await fs.stat(commonDir).catch((error: NodeJS.ErrnoException) => error.code !== 'ENOENT')) ? commonDir : null;
}

/** The repository whose worktree the directory lies in, so that a scan works from anywhere inside a project. */
async function enclosing(directory: string, signal?: AbortSignal): Promise<FoundRepository | null> {
  // One question at a time: a path may hold newlines, so two answers could not be told apart.
  for (const question of ['--show-superproject-working-tree', '--show-toplevel']) {
    const root = withoutNewline((await tryGit(directory, ['rev-parse', question], signal)) ?? '');
    if (root !== '') return identify(root, signal);
  }
  return null;
}

function withoutNewline(text: string): string {
  return text.replace(/\n$/, '');
}
