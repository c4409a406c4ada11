import { appendFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fileStorage, StorageError } from '../../../src/sync/client/file-storage.ts';
import { memoryStorage, type SyncStorage } from '../../../src/sync/client/storage.ts';
import { size } from '../../support/size.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'treeline-sync-'));
});
afterAll(() => rm(folder, { recursive: true }));

let count = 0;
function newPath(): string {
  count += 1;
  return join(folder, `journal-${count}`);
}

/** What the next start finds. */
async function contentOf(path: string): Promise<Record<string, unknown>> {
  const storage = fileStorage(path);
  try {
    return Object.fromEntries(await storage.load());
  } finally {
    await storage.close?.();
  }
}

describe.each([
  [
    'memory',
    () => {
      const storage = memoryStorage();
      return () => storage;
    },
  ],
  [
    'a file',
    () => {
      const path = newPath();
      return () => fileStorage(path);
    },
  ],
] as const)('a storage in %s', (_name, make) => {
  test('has what was committed when it is opened again', async () => {
    const open = make();
    const first = open();
    expect(await first.load()).toEqual(new Map());
    await first.commit({
      put: [
        ['a', { text: 'ä\n"' }],
        ['b', 1],
      ],
      remove: [],
    });
    await first.commit({ put: [['c', null]], remove: ['a', 'none'] });
    await first.commit({ put: [['b', 2]], remove: ['b'] });
    await first.close?.();
    const second = open();
    expect(await second.load()).toEqual(
      new Map<string, unknown>([
        ['b', 2],
        ['c', null],
      ]),
    );
    await second.close?.();
  });
});

describe('a storage in a file', () => {
  test('that was cut anywhere in a write has all commits before it, and goes on', async () => {
    const path = newPath();
    const storage = fileStorage(path);
    await storage.load();
    const lengths = [0];
    for (const [n, text] of ['one', 'zwei äöü', '3'].entries()) {
      await storage.commit({
        put: [
          ['last', n],
          [`key ${n}`, text],
        ],
        remove: [],
      });
      lengths.push((await stat(path)).size);
    }
    await storage.close?.();
    const bytes = await readFile(path);
    for (let length = 0; length < bytes.length; length += 1) {
      const cut = newPath();
      await writeFile(cut, bytes.subarray(0, length));
      const whole = lengths.filter((end) => end <= length).length - 1;
      const reopened = fileStorage(cut);
      const found = await reopened.load();
      expect([length, found.get('last')]).toEqual([length, whole === 0 ? undefined : whole - 1]);
      expect(found.size).toBe(whole === 0 ? 0 : whole + 1);
      await reopened.commit({ put: [['after', length]], remove: [] });
      await reopened.close?.();
      expect(await contentOf(cut)).toEqual({ ...Object.fromEntries(found), after: length });
    }
  });

  test('leaves out a last line of which not all reached the disk', async () => {
    const path = newPath();
    const storage = fileStorage(path);
    await storage.load();
    await storage.commit({ put: [['kept', true]], remove: [] });
    await storage.close?.();
    await appendFile(path, '00000000 [[["torn",1]],[]]\n');
    expect(await contentOf(path)).toEqual({ kept: true });
  });

  test('that is damaged in the middle is refused, and left as it is', async () => {
    const path = newPath();
    const storage = fileStorage(path);
    await storage.load();
    for (let n = 0; n < 3; n += 1) await storage.commit({ put: [['n', n]], remove: [] });
    await storage.close?.();
    const damaged = (await readFile(path, 'utf8')).replace('"n",1', '"n",7');
    await writeFile(path, damaged);
    await expect(fileStorage(path).load()).rejects.toThrow(StorageError);
    expect(await readFile(path, 'utf8')).toBe(damaged);
  });

  test('does not grow with what is over: opening it writes it anew', async () => {
    const path = newPath();
    const storage = fileStorage(path);
    await storage.load();
    for (let n = 0; n < 100; n += 1) await storage.commit({ put: [['n', n]], remove: [] });
    await storage.close?.();
    const before = (await stat(path)).size;
    expect(await contentOf(path)).toEqual({ n: 99 });
    expect((await stat(path)).size).toBeLessThan(before / 50);
    expect((await readdir(folder)).filter((name) => name.endsWith('.new'))).toEqual([]);
  });

  test('has more entries than one line holds', async () => {
    const path = newPath();
    const storage = fileStorage(path);
    await storage.load();
    const entries = Array.from({ length: 2_500 }, (_, n): [string, number] => [`key ${n}`, n]);
    await storage.commit({ put: entries, remove: [] });
    await storage.close?.();
    await contentOf(path);
    expect(await contentOf(path)).toEqual(Object.fromEntries(entries));
  });

  test('is lost to whoever opens it next, and what was kept until then is not', async () => {
    for (let round = 0; round < size(200); round += 1) {
      const path = newPath();
      const first = fileStorage(path);
      await first.load();
      const kept: string[] = [];
      const writing = commitUntilLost(first, kept);
      const second = fileStorage(path);
      const [found] = await Promise.all([second.load(), expect(writing).rejects.toThrow(StorageError)]);
      expect([...found.keys()]).toEqual(expect.arrayContaining(kept));
      await second.commit({ put: [['second', true]], remove: [] });
      await Promise.all([first.close?.(), second.close?.()]);
      expect(Object.keys(await contentOf(path))).toEqual(expect.arrayContaining([...kept, 'second']));
    }
  });

  test('that was closed takes no more', async () => {
    const storage = fileStorage(newPath());
    await storage.load();
    await storage.close?.();
    await expect(storage.commit({ put: [['a', 1]], remove: [] })).rejects.toThrow(StorageError);
  });
});

async function commitUntilLost(storage: SyncStorage, kept: string[]): Promise<void> {
  for (let n = 0; ; n += 1) {
    await storage.commit({ put: [[`key ${n}`, n]], remove: [] });
    kept.push(`key ${n}`);
  }
}
