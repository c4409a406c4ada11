import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { discover } from '../../src/reporter/discover.ts';
import { inspectRepository } from '../../src/reporter/inspect.ts';
import {
  addRemote,
  addWorktree,
  commit,
  git,
  initRepository,
  makeRepository,
  temporaryFolder,
  write,
} from '../support/repositories.ts';

describe('what is read of a repository', () => {
  const folder = temporaryFolder();
  afterAll(folder.remove);
  let number = 0;
  const fresh = () => {
    number += 1;
    return join(folder.path, `case-${number}`, 'project');
  };

  async function inspect(path: string) {
    const [found] = await discover([path]);
    if (found === undefined) throw new Error(`no repository was found in ${path}`);
    return inspectRepository(found);
  }

  test("a clean main worktree counts against the remote's branch", async () => {
    const path = makeRepository(fresh());
    addRemote(path, 'git@example.com:o/r.git');
    commit(path, 'more.txt', 'one\ntwo\n', 'Say more\n\nIn two lines.');
    const repository = await inspect(path);
    expect(repository).toMatchObject({
      name: 'project',
      remote: 'git@example.com:o/r.git',
      defaultBranch: 'main',
      trunkPath: path,
      commonDir: join(path, '.git'),
      failures: [],
    });
    const [main] = repository.worktrees;
    expect(main).toMatchObject({ path, main: true, branch: 'main', uncommitted: 0, ahead: 1, behind: 0 });
    expect(main?.head).toBe(git(path, 'rev-parse', 'HEAD').trim());
    expect(main?.mergeBase).toBe(git(path, 'rev-parse', 'HEAD~1').trim());
    expect(main?.lastCommit?.message).toBe('Say more\n\nIn two lines.');
    expect(main?.changedFiles).toEqual([
      { path: 'more.txt', previousPath: null, change: 'A', additions: 2, deletions: 0 },
    ]);
  });

  test('a worktree that is dirty, ahead and behind, with renames, binaries and conflicts', async () => {
    const path = makeRepository(fresh());
    commit(path, 'old name.txt', 'a\nb\nc\nd\ne\n');
    const tree = addWorktree(path, join(path, '..', 'feat x'), 'feat/x');
    commit(path, 'README.md', '# Theirs\n');
    commit(tree, 'README.md', '# Ours\n');
    git(tree, 'mv', 'old name.txt', 'new\nname.txt');
    write(tree, 'bild ü.png', '\0binary\0');
    git(tree, 'add', '--all');
    write(tree, 'untracked "quoted".txt', 'new\n');
    const found = (await inspect(path)).worktrees.find((worktree) => worktree.path === tree);
    expect(found).toMatchObject({ main: false, branch: 'feat/x', uncommitted: 3, ahead: 1, behind: 1 });
    expect(found?.changedFiles).toEqual(
      expect.arrayContaining([
        { path: 'README.md', previousPath: null, change: 'M', additions: 1, deletions: 1 },
        { path: 'new\nname.txt', previousPath: 'old name.txt', change: 'R', additions: 0, deletions: 0 },
        { path: 'bild ü.png', previousPath: null, change: 'A', additions: null, deletions: null },
        { path: 'untracked "quoted".txt', previousPath: null, change: '?', additions: null, deletions: null },
      ]),
    );
    git(tree, 'commit', '--quiet', '-m', 'Rename');
    expect(() => git(tree, 'merge', 'main')).toThrow();
    const merging = (await inspect(path)).worktrees.find((worktree) => worktree.path === tree);
    expect(merging?.changedFiles.find((file) => file.path === 'README.md')?.change).toBe('U');
  });

  test("a detached head's branch is HEAD", async () => {
    const path = makeRepository(fresh());
    commit(path, 'a', 'a');
    git(path, 'worktree', 'add', '--quiet', '--detach', join(path, '..', 'bisect'), 'HEAD~1');
    const { worktrees } = await inspect(path);
    expect(worktrees.map(({ branch, ahead, behind }) => ({ branch, ahead, behind }))).toEqual([
      { branch: 'main', ahead: 0, behind: 0 },
      { branch: 'HEAD', ahead: 0, behind: 1 },
    ]);
  });

  test('an unborn branch has no commit and nothing to count, and its files still count', async () => {
    const path = initRepository(fresh());
    write(path, 'first.txt', 'x\n');
    git(path, 'add', '--all');
    const [main] = (await inspect(path)).worktrees;
    expect(main).toMatchObject({
      branch: 'main',
      head: null,
      ahead: null,
      behind: null,
      mergeBase: null,
      lastCommit: null,
    });
    expect(main?.uncommitted).toBe(1);
    expect(main?.changedFiles).toMatchObject([{ path: 'first.txt', change: 'A', additions: 1 }]);
  });

  test('a missing base leaves the counts unknown, not zero', async () => {
    const path = makeRepository(fresh());
    git(path, 'checkout', '--quiet', '--orphan', 'elsewhere');
    git(path, 'commit', '--quiet', '--allow-empty', '-m', 'Elsewhere');
    git(path, 'branch', '--quiet', '-D', 'main');
    git(path, 'remote', 'add', 'origin', 'git@example.com:o/none.git');
    git(path, 'symbolic-ref', 'refs/remotes/origin/HEAD', 'refs/remotes/origin/gone');
    const repository = await inspect(path);
    expect(repository.defaultBranch).toBe('gone');
    expect(repository.worktrees[0]).toMatchObject({ branch: 'elsewhere', ahead: null, behind: null });
  });

  test('unrelated histories have counts and no merge base', async () => {
    const path = makeRepository(fresh());
    git(path, 'checkout', '--quiet', '--orphan', 'island');
    git(path, 'commit', '--quiet', '-m', 'An island');
    expect((await inspect(path)).worktrees[0]).toMatchObject({
      branch: 'island',
      ahead: 1,
      behind: 1,
      mergeBase: null,
    });
  });

  test('a bare repository has no main worktree, and its worktrees are read', async () => {
    const source = makeRepository(fresh());
    const bare = join(source, '..', 'tool.git');
    git(source, 'clone', '--quiet', '--bare', source, bare);
    const tree = addWorktree(bare, join(source, '..', 'fix-it'), 'fix/it', 'main');
    const repository = await inspect(bare);
    expect(repository).toMatchObject({ name: 'tool', trunkPath: null, commonDir: bare, remote: null });
    expect(repository.worktrees.map(({ path, main, branch }) => ({ path, main, branch }))).toEqual([
      { path: tree, main: false, branch: 'fix/it' },
    ]);
  });

  test('prunable worktrees and locked ones whose folder is away are left out; a locked one that is there is read', async () => {
    const path = makeRepository(fresh());
    const gone = addWorktree(path, join(path, '..', 'gone'), 'a');
    const away = addWorktree(path, join(path, '..', 'away'), 'b');
    const locked = addWorktree(path, join(path, '..', 'locked'), 'c');
    git(path, 'worktree', 'lock', away);
    git(path, 'worktree', 'lock', '--reason', 'two\nlines', locked);
    for (const folder of [gone, away]) rmSync(folder, { recursive: true });
    const { worktrees, failures } = await inspect(path);
    expect(worktrees.map((worktree) => worktree.path)).toEqual([path, locked]);
    expect(failures).toEqual([]);
  });

  test('a submodule belongs to its superproject: changes in it count there, and it is no project of its own', async () => {
    const library = makeRepository(fresh());
    const path = makeRepository(fresh());
    git(path, '-c', 'protocol.file.allow=always', 'submodule', 'add', '--quiet', library, 'vendor/library');
    git(path, 'commit', '--quiet', '-m', 'Add the library');
    commit(join(path, 'vendor', 'library'), 'x', 'x');
    expect(await discover([path])).toHaveLength(1);
    const [main] = (await inspect(path)).worktrees;
    expect(main?.uncommitted).toBe(1);
  });

  test('repositories without a remote, with a local one, and with several', async () => {
    const none = makeRepository(fresh());
    expect((await inspect(none)).remote).toBeNull();
    git(none, 'remote', 'add', 'origin', '../somewhere');
    expect((await inspect(none)).remote).toBeNull();
    const several = makeRepository(fresh());
    git(several, 'remote', 'add', 'upstream', 'https://user:secret@example.com/up.git');
    expect((await inspect(several)).remote).toBe('https://example.com/up.git');
    git(several, 'remote', 'add', 'origin', 'https://example.com/mine.git');
    expect((await inspect(several)).remote).toBe('https://example.com/mine.git');
  });

  test("a repository's own fsmonitor and external diff are not run", async () => {
    const path = makeRepository(fresh());
    const proof = join(path, '..', 'ran');
    git(path, 'config', 'core.fsmonitor', `touch ${proof}; true`);
    git(path, 'config', 'diff.external', `touch ${proof}`);
    write(path, 'README.md', '# Changed\n');
    await inspect(path);
    expect(() => git(join(path, '..'), 'hash-object', proof)).toThrow();
  });
});

describe('which repositories are found', () => {
  const folder = temporaryFolder();
  afterAll(folder.remove);
  let trunk: string;
  let tree: string;

  beforeAll(() => {
    trunk = makeRepository(join(folder.path, 'area', 'trunk'));
    tree = addWorktree(trunk, join(folder.path, 'elsewhere', 'tree\nwith newline'), 'x');
    makeRepository(join(trunk, 'nested'));
    makeRepository(join(folder.path, 'area', 'node_modules', 'dependency'));
  });

  const names = async (...directories: string[]) => (await discover(directories)).map(({ commonDir }) => commonDir);

  test('each once, nested ones too, dependencies not', async () => {
    expect(await names(folder.path)).toEqual([join(trunk, '.git'), join(trunk, 'nested', '.git')].sort());
    expect(await names(folder.path, join(folder.path, 'area'), trunk)).toHaveLength(2);
  });

  test('a worktree leads to its repository, wherever that lies', async () => {
    expect(await names(tree)).toEqual([join(trunk, '.git')]);
  });

  test('from anywhere inside a project', async () => {
    write(trunk, 'src/deep/file.txt', 'x');
    expect(await names(join(trunk, 'src', 'deep'))).toEqual([join(trunk, '.git')]);
  });

  test('a folder that is not there is an error', async () => {
    await expect(discover([join(folder.path, 'nowhere')])).rejects.toThrow(/ENOENT/);
  });
});
