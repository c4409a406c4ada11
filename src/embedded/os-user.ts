import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { StartupError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';

const run = promisify(execFile);

/** As whom PostgreSQL's programs run; spread into the options of `spawn`. Empty: as ourselves. */
export interface OsUser {
  uid?: number;
  gid?: number;
}

const preferredName = 'postgres';

/**
 * PostgreSQL refuses to run as root. Under root it runs as whoever owns the data directory already, else as the user
 * `postgres`, which is made if need be, else as `nobody`.
 * @param dataDirectory a cluster's data directory, which need not exist yet
 */
export async function chooseOsUser(dataDirectory: string, log: Logger): Promise<OsUser> {
  if (process.getuid?.() !== 0) return {};
  const owner = await ownerOf(dataDirectory);
  if (owner !== null && owner.uid !== 0) return owner;
  const known = await lookUp(preferredName);
  if (known !== null) return known;
  await addUser(log);
  const user = (await lookUp(preferredName)) ?? (await lookUp('nobody'));
  if (user === null) {
    throw new StartupError(
      'PostgreSQL does not run as root, and no other user is here to run it. ' +
        `Create one ("useradd --system ${preferredName}"), start Treeline as an ordinary user, or set DATABASE_URL.`,
    );
  }
  return user;
}

async function ownerOf(path: string): Promise<Required<OsUser> | null> {
  try {
    const { uid, gid } = await stat(path);
    return { uid, gid };
  } catch {
    return null;
  }
}

async function lookUp(name: string): Promise<Required<OsUser> | null> {
  try {
    const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return null;
  }
}

/** Debian, Fedora and most others have the first, Alpine and BusyBox the second. */
const waysToAddUser: readonly [string, string[]][] = [
  ['useradd', ['--system', '--user-group', '--no-create-home', '--shell', '/usr/sbin/nologin', preferredName]],
  ['adduser', ['-S', '-D', '-H', '-s', '/sbin/nologin', preferredName]],
];

async function addUser(log: Logger): Promise<void> {
  for (const [command, args] of waysToAddUser) {
    try {
      await run(command, args);
      log.info({ user: preferredName }, 'created a system user to run PostgreSQL, which does not run as root');
      return;
    } catch (error) {
      log.debug({ err: error }, `could not create a user with ${command}`);
    }
  }
}
