import { readFile, realpath } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

/**
 * What a folder's `.git` is: a directory, or a file that names the git directory, which linked worktrees, submodules and
 * `--separate-git-dir` have. `target` is absolute, with links resolved where it exists.
 */
export type DotGit =
  | { kind: 'directory' }
  | { kind: 'none' }
  | { kind: 'unreadable' }
  | { kind: 'file'; target: string; exists: boolean };

export async function readDotGit(directory: string): Promise<DotGit> {
  let text: string;
  try {
    text = await readFile(join(directory, '.git'), 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return { kind: code === 'EISDIR' ? 'directory' : code === 'ENOENT' || code === 'ENOTDIR' ? 'none' : 'unreadable' };
  }
  const named = /^gitdir: (.+?)\n?$/s.exec(text)?.[1];
  if (named === undefined) return { kind: 'none' };
  const target = resolve(directory, named);
  try {
    return { kind: 'file', target: await realpath(target), exists: true };
  } catch (error) {
    // What may not be looked at is there all the same.
    return { kind: 'file', target, exists: (error as NodeJS.ErrnoException).code !== 'ENOENT' };
  }
}

/** A linked worktree's git directory is `<common>/worktrees/<id>`; any other is its own common directory. */
export function commonDirOf(gitDir: string): string {
  const above = dirname(gitDir);
  return /[\\/]worktrees$/.test(above) ? dirname(above) : gitDir;
}
