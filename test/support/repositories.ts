import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** Real repositories, made by git itself, independent of the settings of whoever runs the tests. */
const environment = {
  PATH: process.env.PATH,
  HOME: '/nonexistent',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_AUTHOR_NAME: 'Test',
  GIT_AUTHOR_EMAIL: 'test@example.com',
  GIT_COMMITTER_NAME: 'Test',
  GIT_COMMITTER_EMAIL: 'test@example.com',
};

export function git(directory: string, ...args: string[]): string {
  return execFileSync('git', args, {
    cwd: directory,
    env: environment,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** A folder that goes with the test; its path is the real one, as git reports it. */
export function temporaryFolder(): { path: string; remove: () => void } {
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'treeline-repositories-')));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** A repository without a remote and without a commit. */
export function initRepository(path: string, branch = 'main'): string {
  mkdirSync(path, { recursive: true });
  git(path, 'init', '--quiet', `--initial-branch=${branch}`);
  return path;
}

export function write(directory: string, file: string, text: string): void {
  const path = join(directory, file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

export function commit(directory: string, file: string, text: string, message = `Change ${file}`): void {
  write(directory, file, text);
  git(directory, 'add', '--all');
  git(directory, 'commit', '--quiet', '-m', message);
}

/** A repository with one commit on its branch. */
export function makeRepository(path: string, branch = 'main'): string {
  initRepository(path, branch);
  commit(path, 'README.md', '# A project\n', 'Begin');
  return path;
}

/** Gives the repository a remote whose branch stands where `ref` does, without any server. */
export function addRemote(path: string, url: string, { branch = 'main', ref = 'HEAD' } = {}): void {
  git(path, 'remote', 'add', 'origin', url);
  git(path, 'update-ref', `refs/remotes/origin/${branch}`, ref);
  git(path, 'symbolic-ref', 'refs/remotes/origin/HEAD', `refs/remotes/origin/${branch}`);
}

export function addWorktree(repository: string, path: string, branch: string, from = 'HEAD'): string {
  git(repository, 'worktree', 'add', '--quiet', '-b', branch, path, from);
  return path;
}
