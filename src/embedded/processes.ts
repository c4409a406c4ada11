import { execFile } from 'node:child_process';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

/**
 * Who is behind a process id. Ids are reused, so an id found in a file says nothing by itself: after a crash or a reboot
 * it may be anybody's.
 */

const run = promisify(execFile);

/** Whether a process with this id exists, ours or not. */
function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * What tells a process from every other that had or will have its id: when it started, in which boot of the machine.
 * @returns null when there is no such process (any more)
 */
export async function identify(pid: number): Promise<string | null> {
  if (!exists(pid)) return null;
  try {
    if (process.platform === 'linux') {
      const [boot, stat] = await Promise.all([
        readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
        readFile(`/proc/${pid}/stat`, 'utf8'),
      ]);
      // The second field is the program's name in parentheses and may hold anything; field 3 is the state, 22 the start.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return fields[0] === 'Z' ? null : `${boot.trim()} ${fields[19]}`;
    }
    const { stdout } = await run('ps', ['-o', 'lstart=', '-p', String(pid)], { env: { LC_ALL: 'C' } });
    return stdout.trim();
  } catch {
    return null;
  }
}

/** Processes of PostgreSQL that work in a data directory: they all have it as their working directory. Linux only. */
export async function postgresIn(dataDirectory: string): Promise<number[]> {
  if (process.platform !== 'linux') return [];
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(pids.map((pid) => worksIn(pid, dataDirectory)));
  return pids.filter((_, index) => found[index]);
}

/** Whether the process is a PostgreSQL that works in this data directory. */
export async function isPostgresOf(pid: number, dataDirectory: string): Promise<boolean> {
  if (process.platform === 'linux') return worksIn(pid, dataDirectory);
  try {
    const { stdout } = await run('ps', ['-o', 'command=', '-p', String(pid)]);
    return /\bpostgres\b/.test(stdout) && stdout.includes(dataDirectory);
  } catch {
    return false;
  }
}

async function worksIn(pid: number, dataDirectory: string): Promise<boolean> {
  try {
    const [name, directory] = await Promise.all([readFile(`/proc/${pid}/comm`, 'utf8'), readlink(`/proc/${pid}/cwd`)]);
    return name.trim() === 'postgres' && directory === dataDirectory;
  } catch {
    // Gone meanwhile, or another user's.
    return false;
  }
}

/**
 * Ends processes that are not our children, so that no event tells when they have gone: asks again at short intervals.
 * @returns whether all of them went within the time
 */
export async function end(pids: readonly number[], signal: NodeJS.Signals, withinMs: number): Promise<boolean> {
  for (const pid of pids) signalIfAlive(pid, signal);
  const deadline = Date.now() + withinMs;
  while (await someLive(pids)) {
    if (Date.now() > deadline) return false;
    await sleep(20);
  }
  return true;
}

async function someLive(pids: readonly number[]): Promise<boolean> {
  const identities = await Promise.all(pids.map(identify));
  return identities.some((identity) => identity !== null);
}

function signalIfAlive(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
