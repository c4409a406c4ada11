import { execFile } from 'node:child_process';

/**
 * Runs git on repositories that nobody vouches for: no shell, no prompt, no hook-like helper, no network, and nothing
 * that another process waits for (`GIT_OPTIONAL_LOCKS=0`: looking must not get in an agent's way). What remains is the clean
 * filter that a repository's own configuration names: without it the answer would not be git's. A clone brings no such
 * configuration, and a foreign owner's repository git refuses (`safe.directory`).
 */
export class GitError extends Error {
  override readonly name = 'GitError';
}

const mostBytes = 64 * 1024 * 1024;
const patienceMs = 60_000;

/** What a repository's configuration could make git run, or what would make it write. */
const safeSettings = [
  ['core.fsmonitor', 'false'],
  ['core.untrackedCache', 'keep'],
  ['core.hooksPath', '/dev/null'],
  ['diff.external', ''],
  ['status.submoduleSummary', 'false'],
  ['log.showSignature', 'false'],
  ['i18n.logOutputEncoding', 'UTF-8'],
].flatMap(([name, value]) => ['-c', `${name}=${value}`]);

function environment(): NodeJS.ProcessEnv {
  // A git hook or a shell inside another repository sets GIT_DIR and the like: they would redirect every call.
  const clean = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('GIT_') || name === 'GIT_CONFIG_GLOBAL',
  );
  return {
    ...Object.fromEntries(clean),
    LC_ALL: 'C',
    GIT_OPTIONAL_LOCKS: '0',
    GIT_TERMINAL_PROMPT: '0',
    GIT_NO_LAZY_FETCH: '1',
    GIT_PAGER: 'cat',
  };
}

/**
 * @returns what git printed, as UTF-8; bytes of a path that are none become U+FFFD
 * @throws GitError with what git said when it fails, takes longer than a minute or prints more than 64 MiB
 */
export function git(directory: string, args: readonly string[], signal?: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      'git',
      [...safeSettings, ...args],
      {
        cwd: directory,
        env: environment(),
        encoding: 'utf8',
        maxBuffer: mostBytes,
        timeout: patienceMs,
        ...(signal === undefined ? {} : { signal }),
      },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else if (signal?.aborted === true) reject(signal.reason);
        else reject(new GitError(explain(error, args, stderr), { cause: error }));
      },
    );
  });
}

function explain(error: Error & { code?: unknown; killed?: boolean }, args: readonly string[], stderr: string): string {
  if (error.code === 'ENOENT') return 'git is not installed, or the directory is gone.';
  if (error.killed === true) return `git ${args[0]} took longer than ${patienceMs / 1_000} seconds.`;
  return stderr.trim().split('\n').slice(0, 3).join(' ') || `git ${args[0]} failed.`;
}

/** As `git`, but null where git fails: for questions to which failure is the answer "no". */
export async function tryGit(directory: string, args: readonly string[], signal?: AbortSignal): Promise<string | null> {
  try {
    return await git(directory, args, signal);
  } catch (error) {
    if (error instanceof GitError) return null;
    throw error;
  }
}
