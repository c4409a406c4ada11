import { randomUUID } from 'node:crypto';
import { link, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { identify } from './processes.ts';

/**
 * One gateway per folder. The lock names its holder, and a dead holder's lock counts for nothing, so a crash leaves
 * nothing to clean up by hand.
 *
 * The hard part is to take a dead holder's lock over when several starters try at once: "remove it, then make mine" lets
 * the slower one remove the lock that the faster one has just made. So locks are numbered (`lock.1`, `lock.2`, …), the
 * highest number holds, and the highest is never removed:
 * - to take over from number n is to create n + 1, which the file system grants to one starter only;
 * - whoever created a number and then sees a higher one was looking at an old list, and withdraws;
 * - to release is to write over one's own lock that it is free, in place.
 */

export interface Holder {
  pid: number;
  /** See `identify`: without it, a reused process id would keep a dead holder's lock for ever. */
  identity: string;
}

export interface Lock {
  release(): Promise<void>;
}

/**
 * Takes the lock of a folder, or tells who has it.
 * @returns the lock, or its living holder
 */
export async function takeLock(folder: string): Promise<Lock | Holder> {
  const me: Holder = { pid: process.pid, identity: (await identify(process.pid)) ?? '' };
  for (;;) {
    const top = Math.max(0, ...(await lockNumbers(folder)));
    const holder = top === 0 ? null : await livingHolder(lockPath(folder, top));
    if (holder !== null) return holder;
    const mine = top + 1;
    if (!(await create(lockPath(folder, mine), me))) continue;
    const numbers = await lockNumbers(folder);
    if (Math.max(...numbers) > mine) {
      await rm(lockPath(folder, mine), { force: true });
      continue;
    }
    const old = numbers.filter((number) => number < mine);
    await Promise.all(old.map((number) => rm(lockPath(folder, number), { force: true })));
    return { release: () => replace(lockPath(folder, mine), null) };
  }
}

export function isHolder(result: Lock | Holder): result is Holder {
  return 'pid' in result;
}

function lockPath(folder: string, number: number): string {
  return join(folder, `lock.${number}`);
}

async function lockNumbers(folder: string): Promise<number[]> {
  return (await readdir(folder)).flatMap((name) => {
    const number = /^lock\.(\d+)$/.exec(name)?.[1];
    return number === undefined ? [] : [Number(number)];
  });
}

async function livingHolder(path: string): Promise<Holder | null> {
  let holder: Holder | null;
  try {
    holder = JSON.parse(await readFile(path, 'utf8')) as Holder | null;
  } catch (error) {
    // Removed since the list was read: somebody holds a higher number, which the next look will see.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError) return null;
    throw error;
  }
  if (holder === null) return null;
  return (await identify(holder.pid)) === holder.identity ? holder : null;
}

/** Creates the file with its whole content or not at all: a reader never sees half a lock. */
async function create(path: string, content: Holder): Promise<boolean> {
  const draft = await writeDraft(path, content);
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

async function replace(path: string, content: Holder | null): Promise<void> {
  await rename(await writeDraft(path, content), path);
}

async function writeDraft(path: string, content: Holder | null): Promise<string> {
  const draft = `${path}.${randomUUID()}`;
  await writeFile(draft, JSON.stringify(content));
  return draft;
}
