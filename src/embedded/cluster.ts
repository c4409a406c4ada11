import { spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { access, chmod, chown, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StartupError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Binaries } from './binaries.ts';
import type { OsUser } from './os-user.ts';
import type { Place } from './place.ts';
import { end, isPostgresOf, postgresIn } from './processes.ts';

/** Passwords of the cluster's three logins; they never leave this machine. */
export interface Passwords {
  /** `postgres`, the superuser: sets up roles at start, and nothing else. */
  superuser: string;
  /** `treeline`, who owns the schema. */
  owner: string;
  /** `treeline_gateway`, for request work. */
  gateway: string;
}

interface ClusterOptions {
  binaries: Binaries;
  user: OsUser;
  place: Place;
  durable: boolean;
  log: Logger;
}

const majorVersion = '18';

/**
 * Makes sure that there is a cluster, of the right version, that no process works in. Call it with the lock held.
 * @returns the passwords of its logins
 */
export async function prepareCluster(options: ClusterOptions): Promise<Passwords> {
  const { place, log } = options;
  await removeDrafts(place, log);
  await endOrphans(place.cluster, log);
  const version = await clusterVersion(place.cluster);
  if (version === null) return initialise(options);
  if (version !== majorVersion) {
    throw new StartupError(
      `${place.cluster} was made by PostgreSQL ${version}, and this version of Treeline brings ${majorVersion}. ` +
        'Use the version of Treeline that made it, or choose another TREELINE_DATA_DIR.',
    );
  }
  return (await readPasswords(place)) ?? renewPasswords(options);
}

async function clusterVersion(cluster: string): Promise<string | null> {
  try {
    return (await readFile(join(cluster, 'PG_VERSION'), 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

// ---- what a crash left ------------------------------------------------------------------------------------------------

/** Half-made clusters of starts that were interrupted. */
async function removeDrafts({ home }: Place, log: Logger): Promise<void> {
  for (const name of await readdir(home)) {
    if (!name.startsWith('draft-')) continue;
    await endAll(await postgresIn(join(home, name, 'data')));
    // With retries, because an initdb that outlived its gateway may still be writing; it fails when its files go.
    await rm(join(home, name), { recursive: true, force: true, maxRetries: 20 });
    log.info({ folder: name }, 'removed what an interrupted first start had left');
  }
}

/**
 * A gateway that was killed leaves its server running, a server that was killed may leave workers that hold its shared
 * memory, and both leave postmaster.pid. PostgreSQL itself trusts any living process that has the id in that file to be
 * the server, and refuses to start; with the lock held, we know better.
 */
async function endOrphans(cluster: string, log: Logger): Promise<void> {
  const pidFile = join(cluster, 'postmaster.pid');
  const pid = await readPid(pidFile);
  if (pid !== null && (await isPostgresOf(pid, cluster))) {
    log.info({ pid }, 'stopping the PostgreSQL that a gateway left behind when it was killed');
    await endAll([pid]);
  }
  const workers = await postgresIn(cluster);
  if (workers.length > 0) {
    log.info({ pids: workers }, 'stopping workers of a PostgreSQL that was killed');
    await endAll(workers);
  }
  await rm(pidFile, { force: true });
}

async function readPid(path: string): Promise<number | null> {
  try {
    const pid = Number.parseInt(await readFile(path, 'utf8'), 10);
    return Number.isSafeInteger(pid) && pid > 1 ? pid : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

async function endAll(pids: readonly number[]): Promise<void> {
  if (pids.length === 0) return;
  if (await end(pids, 'SIGINT', 10_000)) return;
  if (await end(pids, 'SIGQUIT', 5_000)) return;
  await end(pids, 'SIGKILL', 5_000);
}

// ---- a new cluster ----------------------------------------------------------------------------------------------------

/** In a folder beside the real one, renamed when whole: an interrupted first start leaves nothing that looks finished. */
async function initialise(options: ClusterOptions): Promise<Passwords> {
  const { binaries, user, place, durable, log } = options;
  // Something that is no cluster: initdb would refuse it as well, with a less helpful message.
  if (await isFilled(place.cluster)) {
    throw new StartupError(
      `${place.cluster} is not empty and holds no PostgreSQL cluster. Move it away, or choose another TREELINE_DATA_DIR.`,
    );
  }
  const passwords: Passwords = { superuser: password(), owner: password(), gateway: password() };
  const draft = join(place.home, `draft-${randomUUID()}`);
  const draftCluster = join(draft, 'data');
  await mkdir(draftCluster, { recursive: true, mode: 0o700 });
  await chmod(draft, 0o755);
  const passwordFile = join(draft, 'password');
  await writeFile(passwordFile, passwords.superuser, { mode: 0o600 });
  await give(user, draftCluster, passwordFile);
  await initdb(options, draftCluster, passwordFile);
  // initdb by itself syncs file by file; deferred to here, a start that failed before cost nothing.
  if (durable) await runProgram(binaries.initdb, ['--sync-only', '--pgdata', draftCluster], user);
  await writePasswords(place, passwords);
  await rm(place.cluster, { recursive: true, force: true });
  await rename(draftCluster, place.cluster);
  await rm(draft, { recursive: true, force: true });
  log.info({ cluster: place.cluster }, 'made a PostgreSQL cluster');
  return passwords;
}

/** Which of these a system has is only known by trying; trigrams of other than ASCII letters need a UTF-8 one. */
const characterTypes = ['C.UTF-8', 'en_US.UTF-8', 'C'];

async function initdb({ binaries, user, log }: ClusterOptions, cluster: string, passwordFile: string): Promise<void> {
  for (const [index, characterType] of characterTypes.entries()) {
    try {
      await runProgram(
        binaries.initdb,
        [
          `--pgdata=${cluster}`,
          '--username=postgres',
          `--pwfile=${passwordFile}`,
          '--auth=scram-sha-256',
          '--encoding=UTF8',
          // Sorts by code point and knows letters, on every system alike, whatever its C library thinks of a locale.
          '--locale-provider=builtin',
          '--builtin-locale=C.UTF-8',
          '--locale=C',
          `--lc-ctype=${characterType}`,
          '--no-sync',
          '--no-instructions',
        ],
        user,
      );
      return;
    } catch (error) {
      const last = index === characterTypes.length - 1;
      if (last || !(error instanceof Error) || !error.message.includes('invalid locale')) throw error;
      log.debug({ characterType }, 'this system does not have the locale');
    }
  }
}

async function isFilled(folder: string): Promise<boolean> {
  try {
    return (await readdir(folder)).length > 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function give(user: OsUser, ...paths: string[]): Promise<void> {
  const { uid, gid } = user;
  if (uid === undefined || gid === undefined) return;
  await Promise.all(paths.map((path) => chown(path, uid, gid)));
}

// ---- passwords --------------------------------------------------------------------------------------------------------

function password(): string {
  return randomBytes(24).toString('base64url');
}

function passwordsPath({ home }: Place): string {
  return join(home, 'passwords.json');
}

async function readPasswords(place: Place): Promise<Passwords | null> {
  try {
    await access(passwordsPath(place));
    const { superuser, owner, gateway } = JSON.parse(
      await readFile(passwordsPath(place), 'utf8'),
    ) as Partial<Passwords>;
    return superuser && owner && gateway ? { superuser, owner, gateway } : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError) return null;
    throw error;
  }
}

async function writePasswords(place: Place, passwords: Passwords): Promise<void> {
  const draft = `${passwordsPath(place)}.${randomUUID()}`;
  await writeFile(draft, JSON.stringify(passwords), { mode: 0o600 });
  await rename(draft, passwordsPath(place));
}

/** Somebody removed the passwords: single-user mode asks for none. The other logins get theirs at every start. */
async function renewPasswords({ binaries, user, place, log }: ClusterOptions): Promise<Passwords> {
  log.warn('the passwords of the embedded PostgreSQL are missing: making new ones');
  const passwords: Passwords = { superuser: password(), owner: password(), gateway: password() };
  const statement = `alter role postgres password '${passwords.superuser}'\n`;
  await runProgram(binaries.postgres, ['--single', '-D', place.cluster, 'postgres'], user, statement);
  await writePasswords(place, passwords);
  return passwords;
}

async function runProgram(program: string, args: string[], user: OsUser, input = ''): Promise<void> {
  const child = spawn(program, args, { ...user, cwd: '/', env: { LC_ALL: 'C', TZ: 'UTC' }, stdio: 'pipe' });
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => output.push(text));
  child.stdin.on('error', () => {}).end(input);
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  if (code !== 0) throw new Error(`${program} failed (${code ?? signal}):\n${output.join('').trim()}`);
}
