import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, chown, lstat, mkdir, realpath, rm, stat, symlink, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { StartupError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { OsUser } from './os-user.ts';

const run = promisify(execFile);

/** Where things are below the data directory (`.treeline`). */
export interface Place {
  /** The folder that users know: `token` and `url` are in it. */
  dataDir: string;
  /** Holds the cluster, its lock and its passwords; the lock is here because here is what two gateways would share. */
  home: string;
  /** PostgreSQL's own data directory: belongs to the user that runs it, mode 0700. */
  cluster: string;
}

const privateFolders = '/var/lib/treeline';

/** @returns the cluster's data directory if there is one: its owner decides who runs it */
export function expectedCluster(dataDir: string): string {
  return join(dataDir, 'postgres', 'data');
}

/**
 * Finds or makes the folders. Under root PostgreSQL runs as another user, who may be unable to reach the data directory
 * (a checkout in `/root`): then `.treeline/postgres` is a symbolic link to a folder of its own below /var/lib/treeline.
 * A link and not a path made from the name, so that whoever removes `.treeline` starts afresh.
 */
export async function findPlace(dataDir: string, user: OsUser, log: Logger): Promise<Place> {
  await explained(dataDir, () => mkdir(dataDir, { recursive: true, mode: 0o755 }));
  const link = join(dataDir, 'postgres');
  if (!(await present(link))) {
    if (await canReach(dataDir, user)) {
      await explained(dataDir, () => mkdir(link, { recursive: true, mode: 0o755 }));
    } else {
      await linkElsewhere(link, log);
    }
  }
  const home = await realpath(link);
  await chmodIfOurs(home);
  if (!(await canReach(home, user))) {
    throw new StartupError(
      `The embedded PostgreSQL runs as the user with id ${user.uid ?? process.getuid?.()} and cannot reach ${home}. ` +
        'Allow it to pass through the folders above ("chmod o+x FOLDER"), or choose another TREELINE_DATA_DIR.',
    );
  }
  return { dataDir, home, cluster: join(home, 'data') };
}

async function linkElsewhere(link: string, log: Logger): Promise<void> {
  const target = join(privateFolders, randomUUID());
  await mkdir(target, { recursive: true, mode: 0o755 });
  await Promise.all([chmod(privateFolders, 0o755), chmod(target, 0o755)]);
  try {
    await symlink(target, link);
    log.info(
      { dataDir: dirname(link), cluster: target },
      'the data directory is below a private folder, which PostgreSQL cannot enter: its files are elsewhere',
    );
  } catch (error) {
    // Another gateway starts at the same moment and was faster: its folder is the one.
    await rm(target, { recursive: true });
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** Asks the system itself, as that user: modes of all folders above, groups and access lists decide together. */
async function canReach(folder: string, user: OsUser): Promise<boolean> {
  try {
    await run('test', ['-x', folder], { ...user, cwd: '/' });
    return true;
  } catch {
    return false;
  }
}

/** A strict umask (077) must not lock PostgreSQL's user out of a folder that we have just made. */
async function chmodIfOurs(folder: string): Promise<void> {
  const { uid, mode } = await stat(folder);
  if (uid === process.getuid?.() && (mode & 0o777) !== 0o755) await chmod(folder, 0o755);
}

async function present(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    if (await isLink(path)) {
      // Its target was removed: the data is gone, and the link is in the way. Unlinked, not removed: what another gateway
      // puts here at this moment is a folder, and stays.
      await unlink(path).catch(ignoreAbsent);
    }
    return false;
  }
}

async function isLink(path: string): Promise<boolean> {
  return lstat(path)
    .then((found) => found.isSymbolicLink(), ignoreAbsent)
    .then((found) => found ?? false);
}

function ignoreAbsent(error: unknown): undefined {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'ENOENT' && code !== 'EISDIR' && code !== 'EPERM') throw error;
  return undefined;
}

/** Gives a file that root made to whoever owns the folder that it is in. */
export async function giveToOwnerOf(folder: string, path: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = await stat(folder);
  await chown(path, uid, gid);
}

/** Explains what an operator can mend: a folder that may not be written. */
export async function explained<T>(folder: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS' && code !== 'ENOTDIR' && code !== 'EEXIST')
      throw error;
    throw new StartupError(
      `The data directory ${folder} cannot be used (${code}). Start as its owner, or choose another TREELINE_DATA_DIR.`,
      { cause: error },
    );
  }
}
