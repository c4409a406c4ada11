import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isHolder, type Lock, takeLock } from '../../src/embedded/lock.ts';
import { identify } from '../../src/embedded/processes.ts';
import { size } from '../support/size.ts';

describe('the lock of a data directory', () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-lock-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  async function take(): Promise<Lock> {
    const result = await takeLock(folder);
    if (isHolder(result)) throw new Error(`held by ${result.pid}`);
    return result;
  }

  it('names its living holder to whoever comes second', async () => {
    await take();
    expect(await takeLock(folder)).toEqual({ pid: process.pid, identity: await identify(process.pid) });
  });

  it('can be taken again once it is released', async () => {
    const first = await take();
    await first.release();
    await take();
    expect(isHolder(await takeLock(folder))).toBe(true);
  });

  it('counts for nothing when its holder is dead', async () => {
    await writeFile(join(folder, 'lock.1'), JSON.stringify({ pid: 2 ** 30, identity: 'long ago' }));
    await take();
  });

  it("counts for nothing when its holder's process id belongs to another process now", async () => {
    await writeFile(join(folder, 'lock.1'), JSON.stringify({ pid: process.pid, identity: 'another start' }));
    await take();
  });

  it('counts for nothing when it holds no sense', async () => {
    await writeFile(join(folder, 'lock.1'), '');
    await take();
  });

  it('goes to exactly one of many who find a dead holder at once, time after time', async () => {
    for (let round = 0; round < size(300); round += 1) {
      const results = await Promise.all(Array.from({ length: 8 }, () => takeLock(folder)));
      const locks = results.filter((result): result is Lock => !isHolder(result));
      expect(locks).toHaveLength(1);
      // A lock that is freed while others are looking at it is the hardest case: let one look.
      const [looker] = await Promise.all([takeLock(folder), ...locks.map((lock) => lock.release())]);
      if (!isHolder(looker)) await looker.release();
    }
  });

  it('leaves one small file behind, not one for every start', async () => {
    for (let start = 0; start < 5; start += 1) await (await take()).release();
    expect(await readdir(folder)).toEqual(['lock.5']);
  });
});
