import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { git, tryGit } from './git.ts';
import { readDotGit } from './git-file.ts';
import {
  type DiffFile,
  type ListedWorktree,
  readDiff,
  readStatus,
  readWorktreeList,
  type Status,
} from './porcelain.ts';
import { readRemote } from './remote.ts';

/** What git says of one repository and all its worktrees, before anything of it is reported. */
export interface InspectedRepository {
  name: string;
  commonDir: string;
  /** The main worktree; null for a bare repository, and where the git directory does not lead to it. */
  trunkPath: string | null;
  remote: string | null;
  defaultBranch: string;
  /** RFC 3339; taken before git was asked anything, so that what changes meanwhile is newer. */
  observedAt: string;
  worktrees: InspectedWorktree[];
  /** Worktrees that git knows and that could not be read, with the reason: not to be reported as gone. */
  failures: { path: string; reason: string }[];
}

export interface InspectedWorktree {
  path: string;
  /** The branch; `HEAD` when detached. */
  branch: string;
  main: boolean;
  head: string | null;
  uncommitted: number;
  /** Null where there is no base to count against. */
  ahead: number | null;
  behind: number | null;
  mergeBase: string | null;
  lastCommit: Commit | null;
  changedFiles: ChangedFile[];
}

export interface ChangedFile extends Omit<DiffFile, 'change'> {
  change: DiffFile['change'] | '?';
}

/** More than anybody reads; the rest is left out, so that a vendored tree does not fill the registry. */
export const mostChangedFiles = 1_000;
const longestMessage = 2_000;

export async function inspectRepository(
  found: { commonDir: string; foundAt: string },
  signal?: AbortSignal,
): Promise<InspectedRepository> {
  const observedAt = new Date().toISOString();
  const [list, remote] = await Promise.all([
    git(found.foundAt, ['worktree', 'list', '--porcelain', '-z'], signal),
    readRemote(found.foundAt, signal),
  ]);
  const [first, ...linked] = readWorktreeList(list);
  const main = await locateMain(first, found);
  const defaultBranch = await readDefaultBranch(found.foundAt, remote?.name ?? null, main?.branch ?? null, signal);
  const base = await readBase(found.foundAt, remote?.name ?? null, defaultBranch, signal);
  const shared: Shared = { base, commits: new Map(), signal };
  const { worktrees, failures } = await inspectWorktrees(main, linked, found.commonDir, shared);
  const trunkPath = main?.path ?? null;
  return {
    name: basename(trunkPath ?? bareName(found.commonDir)),
    commonDir: found.commonDir,
    trunkPath,
    remote: remote?.url ?? null,
    defaultBranch,
    observedAt,
    worktrees,
    failures,
  };
}

async function inspectWorktrees(
  main: ListedWorktree | null,
  linked: readonly ListedWorktree[],
  commonDir: string,
  shared: Shared,
): Promise<Pick<InspectedRepository, 'worktrees' | 'failures'>> {
  const worktrees: InspectedWorktree[] = [];
  const failures: InspectedRepository['failures'] = [];
  for (const worktree of main === null ? linked : [main, ...linked]) {
    // A locked one whose directory is away (a disk that is not mounted) is not prunable, and not here either.
    if (worktree.prunable || !(await exists(worktree.path))) continue;
    if (worktree !== main && !(await leadsHere(worktree.path, commonDir))) continue;
    try {
      worktrees.push(await inspectWorktree(worktree, worktree === main, shared));
    } catch (error) {
      if (shared.signal?.aborted === true) throw error;
      failures.push({ path: worktree.path, reason: error instanceof Error ? error.message : String(error) });
    }
  }
  return { worktrees, failures };
}

/**
 * The main worktree as git lists it is its git directory less `/.git`: with `--separate-git-dir` that is the git directory
 * itself, and the worktree is where the `.git` file was found. Without such a file it is nobody's worktree: a folder that only
 * looks like a git directory can be a part of any clone, and git run within it would obey the configuration it brings.
 */
async function locateMain(
  listed: ListedWorktree | undefined,
  { commonDir, foundAt }: { commonDir: string; foundAt: string },
): Promise<ListedWorktree | null> {
  if (listed === undefined || listed.bare) return null;
  if (listed.path !== commonDir) return listed;
  const dotGit = await readDotGit(foundAt);
  return dotGit.kind === 'file' && dotGit.target === commonDir ? { ...listed, path: await realpath(foundAt) } : null;
}

/**
 * Whether a linked worktree's folder still is this repository's. A copy of a repository lists the original's worktrees, and
 * another clone may have taken the place of one: either is reported by the repository that it leads to.
 */
async function leadsHere(path: string, commonDir: string): Promise<boolean> {
  const dotGit = await readDotGit(path);
  // git takes a locked one's word even without a `.git`, and would then obey whatever the folder itself looks like.
  if (dotGit.kind === 'directory' || dotGit.kind === 'none') return false;
  // One that leads nowhere (the repository was moved) is for git to explain.
  return dotGit.kind === 'unreadable' || !dotGit.exists || dirname(dotGit.target) === join(commonDir, 'worktrees');
}

function bareName(commonDir: string): string {
  const name = basename(commonDir);
  return name === '.git' || name === '.bare' ? basename(dirname(commonDir)) : name.replace(/\.git$/, '');
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
}

/** What the remote says its default is, else main or master where there is one, else the main worktree's branch. */
async function readDefaultBranch(
  directory: string,
  remote: string | null,
  mainBranch: string | null,
  signal?: AbortSignal,
): Promise<string> {
  if (remote !== null) {
    const ref = `refs/remotes/${remote}/`;
    const head = await tryGit(directory, ['symbolic-ref', '--quiet', `${ref}HEAD`], signal);
    if (head?.startsWith(ref) === true) return head.slice(ref.length).trim();
  }
  const places = remote === null ? ['refs/heads'] : [`refs/remotes/${remote}`, 'refs/heads'];
  const refs = await tryGit(
    directory,
    ['for-each-ref', '--format=%(refname)', ...places.flatMap((place) => [`${place}/main`, `${place}/master`])],
    signal,
  );
  const names = new Set((refs ?? '').split('\n').map((ref) => ref.replace(/^.*\//, '')));
  return names.has('main') ? 'main' : names.has('master') ? 'master' : (mainBranch ?? 'main');
}

/** What ahead and behind are counted against: the remote's branch if it exists, else the local one. */
interface Base {
  ref: string;
  oid: string;
}

async function readBase(
  directory: string,
  remote: string | null,
  branch: string,
  signal?: AbortSignal,
): Promise<Base | null> {
  const candidates = [...(remote === null ? [] : [`refs/remotes/${remote}/${branch}`]), `refs/heads/${branch}`];
  const text = await tryGit(directory, ['for-each-ref', '--format=%(objectname) %(refname)', ...candidates], signal);
  const oids = new Map(
    (text ?? '').split('\n').map((line) => [line.slice(line.indexOf(' ') + 1), line.split(' ')[0] ?? '']),
  );
  const ref = candidates.find((candidate) => oids.has(candidate));
  return ref === undefined ? null : { ref, oid: oids.get(ref) ?? '' };
}

/** What the worktrees of a repository have in common, so that git is asked once. */
interface Shared {
  base: Base | null;
  commits: Map<string, Promise<Commit>>;
  signal: AbortSignal | undefined;
}

async function inspectWorktree(listed: ListedWorktree, main: boolean, shared: Shared): Promise<InspectedWorktree> {
  const { path } = listed;
  const status = readStatus(
    await git(
      path,
      ['status', '--porcelain=v2', '--branch', '--no-ahead-behind', '--untracked-files=normal', '-z'],
      shared.signal,
    ),
  );
  const { head } = status;
  const [place, lastCommit] = await Promise.all([
    head === null ? nowhere : readPlace(path, head, shared),
    head === null ? null : commitOf(path, head, shared),
  ]);
  return {
    path,
    branch: listed.detached || status.branch === null ? 'HEAD' : status.branch,
    main,
    head,
    uncommitted: status.entries.length,
    ...place,
    lastCommit,
    changedFiles: await readChangedFiles(path, place.mergeBase ?? head, status, shared.signal),
  };
}

type Place = Pick<InspectedWorktree, 'ahead' | 'behind' | 'mergeBase'>;
const nowhere: Place = { ahead: null, behind: null, mergeBase: null };

/** Where the head stands to the base. A process costs more than anything that it answers here: only what is needed is asked. */
async function readPlace(path: string, head: string, { base, signal }: Shared): Promise<Place> {
  if (base === null) return nowhere;
  if (head === base.oid) return { ahead: 0, behind: 0, mergeBase: head };
  const counts = await tryGit(path, ['rev-list', '--left-right', '--count', `${head}...${base.oid}`, '--'], signal);
  if (counts === null) return nowhere;
  const [ahead = 0, behind = 0] = counts.trim().split(/\s+/).map(Number);
  if (ahead === 0) return { ahead, behind, mergeBase: head };
  if (behind === 0) return { ahead, behind, mergeBase: base.oid };
  const mergeBase = await tryGit(path, ['merge-base', head, base.oid], signal);
  return { ahead, behind, mergeBase: mergeBase?.trim() ?? null };
}

interface Commit {
  message: string;
  /** When it was committed, RFC 3339; null where the commit holds no time that has a year of four digits. */
  at: string | null;
}

/** Many worktrees stand on one commit. */
function commitOf(path: string, oid: string, { commits, signal }: Shared): Promise<Commit> {
  let commit = commits.get(oid);
  if (commit === undefined) {
    commit = git(path, ['log', '-1', '--no-show-signature', '--format=%ct%n%B', oid, '--'], signal).then(readCommit);
    commits.set(oid, commit);
  }
  return commit;
}

const lastSecond = Date.UTC(9999, 11, 31, 23, 59, 59) / 1_000;

function readCommit(text: string): Commit {
  const end = text.indexOf('\n');
  const seconds = Number(text.slice(0, end).trim() || Number.NaN);
  return {
    at: seconds >= 0 && seconds <= lastSecond ? new Date(seconds * 1_000).toISOString() : null,
    message: cut(text.slice(end + 1).trim(), longestMessage),
  };
}

/** The first characters, without half of one: a lone surrogate is no text to a database. */
export function cut(text: string, length: number): string {
  return text.slice(0, length).replace(/[\ud800-\udbff]$/, '');
}

/** Against the merge base, committed or not, with what is not tracked yet. On an unborn branch, what is staged counts. */
async function readChangedFiles(
  path: string,
  from: string | null,
  status: Status,
  signal?: AbortSignal,
): Promise<ChangedFile[]> {
  const untracked = status.entries.filter(({ kind }) => kind === 'untracked');
  const unmerged = new Set(status.entries.filter(({ kind }) => kind === 'unmerged').map((entry) => entry.path));
  // Where nothing but untracked files differs from the commit itself, there is nothing to ask.
  const same = from !== null && from === status.head && untracked.length === status.entries.length;
  const against = from === null ? ['--cached'] : [from];
  const text = same ? '' : await readDiffText(path, against, signal);
  const files: ChangedFile[] = readDiff(text).map((file) =>
    unmerged.has(file.path) ? { ...file, change: 'U' } : file,
  );
  const told = new Set(files.map((file) => file.path));
  for (const { path: name } of untracked) {
    // Removed from the index and left on disk: git tells it twice, and a path has one change.
    if (told.has(name)) continue;
    files.push({ path: name, previousPath: null, change: '?', additions: null, deletions: null });
  }
  return files.slice(0, mostChangedFiles);
}

/** A partial clone may lack what line counts and renames need, and nothing is fetched for them: it tells names only. */
async function readDiffText(path: string, against: readonly string[], signal?: AbortSignal): Promise<string> {
  const options = ['diff', '--raw', '-z', '--no-ext-diff', '--no-textconv', '--ignore-submodules=dirty'];
  const whole = await tryGit(path, [...options, '--numstat', '-M', ...against, '--'], signal);
  return whole ?? git(path, [...options, '--no-renames', ...against, '--'], signal);
}
