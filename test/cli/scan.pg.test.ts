import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import {
  addRemote,
  addWorktree,
  commit,
  git,
  makeRepository,
  temporaryFolder,
  write,
} from '../support/repositories.ts';
import { size } from '../support/size.ts';

const program = fileURLToPath(new URL('../../src/cli/treeline.ts', import.meta.url));
const run = promisify(execFile);

describe('treeline scan', () => {
  const folder = temporaryFolder();
  const repositories = size(100);
  const worktreesEach = size(10);
  let gateway: TestGateway;
  const worktrees: string[] = [];

  beforeAll(async () => {
    gateway = await startGateway();
    for (let r = 0; r < repositories; r += 1) {
      const trunk = makeRepository(join(folder.path, `repository-${r}`, 'trunk'));
      addRemote(trunk, `git@example.com:fleet/repository-${r}.git`);
      worktrees.push(trunk);
      for (let w = 1; w < worktreesEach; w += 1) {
        const tree = addWorktree(trunk, join(trunk, '..', `tree ${w} ü`), `feat/${w}`);
        worktrees.push(tree);
        if ((r + w) % 3 === 0) write(tree, 'dirty\nfile.txt', 'x');
        if ((r + w) % 4 === 0) commit(tree, 'ahead.txt', 'x');
      }
    }
  }, 300_000);
  afterAll(async () => {
    await gateway.close();
    folder.remove();
  });

  async function treeline(...args: string[]): Promise<string> {
    const { stdout } = await run(process.execPath, [program, ...args], {
      env: { ...process.env, TREELINE_URL: gateway.url, TREELINE_TOKEN: gateway.token },
      maxBuffer: 64 * 1024 * 1024,
    });
    return stdout;
  }

  async function inFlightPaths(): Promise<string[]> {
    const listed = JSON.parse(await treeline('ls', '--json')) as { path: string }[];
    return listed.map(({ path }) => path).sort();
  }

  /** What git itself says, one worktree at a time. */
  function dirtyOrAhead(): string[] {
    return worktrees
      .filter((path) => {
        const dirty = git(path, 'status', '--porcelain') !== '';
        const ahead = git(path, 'rev-list', '--count', 'origin/main..HEAD').trim() !== '0';
        return dirty || ahead;
      })
      .sort();
  }

  test('names exactly the worktrees in flight that git says are dirty or ahead', async () => {
    const summary = await treeline('scan', folder.path);
    expect(summary).toContain(`${repositories} repositories, ${worktrees.length} worktrees`);
    const expected = dirtyOrAhead();
    expect(expected.length).toBeGreaterThan(0);
    expect(await inFlightPaths()).toEqual(expected);
  }, 120_000);

  test('a second scan changes nothing', async () => {
    const states = () =>
      gateway.database.owner
        .query('select id, updated_at, status from registry.worktrees order by id')
        .then(({ rows }) => rows);
    await treeline('scan', folder.path);
    const before = await states();
    await treeline('scan', folder.path);
    expect(await states()).toEqual(before);
  }, 120_000);

  test('what vanished becomes inactive: a worktree, and a whole repository', async () => {
    await treeline('scan', folder.path);
    const [tree] = worktrees.splice(1, 1);
    rmSync(tree ?? '', { recursive: true });
    const trunk = worktrees.at(-worktreesEach) ?? '';
    const lost = worktrees.splice(-worktreesEach);
    rmSync(join(trunk, '..'), { recursive: true });
    const result = JSON.parse(await treeline('scan', '--json', folder.path)) as { vanished: string[] };
    expect(result.vanished).toEqual([join(trunk, '.git')]);
    const { rows } = await gateway.database.owner.query(
      'select path from registry.worktrees where not active and path = any($1) order by path',
      [[tree, ...lost]],
    );
    expect(rows).toHaveLength(1 + lost.length);
    expect(await inFlightPaths()).toEqual(dirtyOrAhead());
  }, 120_000);

  test('a repository that git refuses is its own failure, and the others are reported', async () => {
    const mixed = temporaryFolder();
    try {
      makeRepository(join(mixed.path, 'good'));
      const broken = makeRepository(join(mixed.path, 'broken'));
      write(broken, '.git/config', '[core\n');
      const failure = await treeline('scan', '--json', mixed.path).then(
        () => null,
        (error: { code: number; stdout: string }) => error,
      );
      expect(failure?.code).toBe(1);
      const { repositories: scanned } = JSON.parse(failure?.stdout ?? '') as {
        repositories: { path: string; error: string | null }[];
      };
      expect(scanned.map(({ path, error }) => ({ path, failed: error !== null }))).toEqual(
        expect.arrayContaining([
          { path: join(mixed.path, 'good'), failed: false },
          { path: broken, failed: true },
        ]),
      );
    } finally {
      mixed.remove();
    }
  });

  test('without a gateway it says what to do, and never sends the local token elsewhere', async () => {
    const nowhere = run(process.execPath, [program, 'ls'], {
      env: { ...process.env, TREELINE_URL: 'http://127.0.0.1:1', TREELINE_TOKEN: gateway.token },
    });
    await expect(nowhere).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('npm start') });
    const elsewhere = run(process.execPath, [program, 'ls'], {
      env: { ...process.env, TREELINE_URL: 'http://treeline.invalid', TREELINE_TOKEN: '' },
    });
    await expect(elsewhere).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('TREELINE_TOKEN') });
  });
});
