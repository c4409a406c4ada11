import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { addWorktree, commit, git, makeRepository, temporaryFolder, write } from '../support/repositories.ts';

const run = promisify(execFile);
const programs = {
  treeline: fileURLToPath(new URL('../../src/cli/treeline.ts', import.meta.url)),
  demo: fileURLToPath(new URL('../../src/cli/demo.ts', import.meta.url)),
};

describe('the command line and a gateway', () => {
  const folder = temporaryFolder();
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(async () => {
    await gateway.close();
    folder.remove();
  });

  async function call(program: keyof typeof programs, args: string[], environment: Record<string, string> = {}) {
    const { stdout } = await run(process.execPath, [programs[program], ...args], {
      cwd: folder.path,
      env: { ...process.env, TREELINE_URL: gateway.url, TREELINE_TOKEN: gateway.token, ...environment },
    });
    return stdout;
  }

  /** Fails where anything was not reported: the program's exit status is not 0 then. */
  async function scan(path: string) {
    return JSON.parse(await call('treeline', ['scan', '--json', path])) as {
      repositories: { slug: string; worktrees: number }[];
      vanished: string[];
    };
  }

  test('a bare repository without a remote stays one project, scan after scan', async () => {
    const source = makeRepository(join(folder.path, 'source'));
    const area = join(folder.path, 'bare-area');
    mkdirSync(area);
    const bare = join(area, 'tool.git');
    git(area, 'clone', '--quiet', '--bare', source, bare);
    git(bare, 'remote', 'remove', 'origin');
    addWorktree(bare, join(area, 'fix-it'), 'fix/it', 'main');
    const first = (await scan(area)).repositories;
    expect(first).toMatchObject([{ slug: 'tool', worktrees: 1 }]);
    expect((await scan(area)).repositories).toEqual(first);
  });

  test('a repository whose remote was changed moves to the project of that remote', async () => {
    const path = makeRepository(join(folder.path, 'moving'));
    git(path, 'remote', 'add', 'origin', 'git@example.com:me/moving.git');
    const [before] = (await scan(path)).repositories;
    git(path, 'remote', 'set-url', 'origin', 'git@example.com:org/moving.git');
    const [after] = (await scan(path)).repositories;
    expect(after).toMatchObject({ worktrees: 1 });
    expect(after?.slug).not.toBe(before?.slug);
    expect((await scan(path)).repositories).toEqual([after]);
  });

  test('a copied repository and its original are both reported', async () => {
    const area = join(folder.path, 'copies');
    const original = makeRepository(join(area, 'original'));
    addWorktree(original, join(area, 'tree'), 'x');
    git(area, 'clone', '--quiet', original, join(area, 'clone'));
    rmSync(join(area, 'tree'), { recursive: true });
    git(area, 'clone', '--quiet', original, join(area, 'tree'));
    expect((await scan(area)).repositories.map(({ worktrees }) => worktrees)).toEqual([1, 1, 1]);
  });

  test('a repository whose changed files fill more than one request is reported with fewer of them', async () => {
    const trunk = makeRepository(join(folder.path, 'large', 'trunk'));
    const deep = Array.from({ length: 9 }, () => 'a-directory-with-a-long-name-as-generators-like-them').join('/');
    for (let w = 0; w < 8; w += 1) {
      const tree = addWorktree(trunk, join(trunk, '..', `tree-${w}`), `feat/${w}`);
      mkdirSync(join(tree, deep), { recursive: true });
      for (let f = 0; f < 1_000; f += 1) writeFileSync(join(tree, deep, `file-${f}.generated.txt`), '');
      git(tree, 'add', '--all');
    }
    expect((await scan(join(trunk, '..'))).repositories).toMatchObject([{ worktrees: 9 }]);
    const { rows } = await gateway.database.owner.query(
      `select distinct uncommitted_files_count as count,
         (select count(*) > 0 from registry.worktree_files f where f.worktree_id = w.id) as has_files
       from registry.worktrees w where name like 'tree-%'`,
    );
    expect(rows).toEqual([{ count: 1_000, has_files: true }]);
  }, 60_000);

  test('a commit message that would be cut within a character is stored', async () => {
    const path = makeRepository(join(folder.path, 'message'));
    commit(path, 'b', 'b', `${'x'.repeat(1_999)}😀`);
    expect((await scan(path)).repositories).toMatchObject([{ worktrees: 1 }]);
  });

  test('a repository that went from a folder named by a link is told of', async () => {
    const real = join(folder.path, 'real');
    const path = makeRepository(join(real, 'p'));
    const link = join(folder.path, 'link');
    symlinkSync(real, link);
    await scan(link);
    rmSync(path, { recursive: true });
    expect((await scan(link)).vanished).toEqual([join(path, '.git')]);
  });

  test("the demo shows its work, with a linked temporary folder too, and leaves the caller's repository alone", async () => {
    const mine = makeRepository(join(folder.path, 'mine'));
    write(mine, 'not-yet.txt', 'x');
    const before = [git(mine, 'log', '--all', '--format=%H'), git(mine, 'status', '--porcelain')];
    const real = join(folder.path, 'temporary');
    mkdirSync(real);
    symlinkSync(real, join(folder.path, 'tmp'));
    const shown = await call('demo', [], {
      GIT_DIR: join(mine, '.git'),
      GIT_WORK_TREE: mine,
      TMPDIR: join(folder.path, 'tmp'),
    });
    expect(shown).toMatch(/^shop +feat-checkout +feat\/checkout +feat +ahead/m);
    expect(readdirSync(real)).toHaveLength(1);
    expect([git(mine, 'log', '--all', '--format=%H'), git(mine, 'status', '--porcelain')]).toEqual(before);
  });
});
