import { cpSync, existsSync, mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { discover } from '../../src/reporter/discover.ts';
import { inspectRepository } from '../../src/reporter/inspect.ts';
import { addWorktree, commit, git, makeRepository, temporaryFolder, write } from '../support/repositories.ts';

const folder = temporaryFolder();
afterAll(folder.remove);
let number = 0;
function place(): string {
  number += 1;
  const path = join(folder.path, `case-${number}`);
  mkdirSync(path);
  return path;
}

const inspectAll = async (path: string) =>
  Promise.all((await discover([path])).map((found) => inspectRepository(found)));

/** The worktrees of each repository below the path, as paths within it. */
async function worktreesBelow(path: string): Promise<string[][]> {
  const repositories = await inspectAll(path);
  expect(repositories.flatMap(({ failures }) => failures)).toEqual([]);
  return repositories.map(({ worktrees }) => worktrees.map((worktree) => worktree.path.slice(path.length + 1)).sort());
}

describe('a worktree is reported by the repository that it leads to', () => {
  test('not by a copy of that repository', async () => {
    const path = place();
    const original = makeRepository(join(path, 'original'));
    addWorktree(original, join(path, 'tree'), 'x');
    cpSync(original, join(path, 'copy'), { recursive: true });
    expect(await worktreesBelow(path)).toEqual([['copy'], ['original', 'tree']]);
  });

  test('not by the one whose place a clone has taken', async () => {
    const path = place();
    const one = makeRepository(join(path, 'one'));
    const tree = addWorktree(one, join(path, 'tree'), 'x');
    rmSync(tree, { recursive: true });
    makeRepository(tree);
    expect(await worktreesBelow(path)).toEqual([['one'], ['tree']]);
  });

  test('with a git directory elsewhere, the main worktree is where its file is', async () => {
    const path = place();
    const work = join(path, 'work');
    git(path, 'init', '--quiet', '--initial-branch=main', `--separate-git-dir=${join(path, 'store.git')}`, work);
    commit(work, 'a', 'a');
    addWorktree(work, join(path, 'tree'), 'x');
    write(work, 'b', 'b');
    const [repository, ...others] = await inspectAll(path);
    expect(others).toEqual([]);
    expect(repository).toMatchObject({ name: 'work', trunkPath: work, failures: [] });
    const states = repository?.worktrees.map((tree) => ({ path: tree.path, main: tree.main, dirty: tree.uncommitted }));
    expect(states).toEqual([
      { path: work, main: true, dirty: 1 },
      { path: join(path, 'tree'), main: false, dirty: 0 },
    ]);
  });
});

/** All of it can be committed, and so come with a clone; its configuration names a program for git to run. */
describe('a git directory among the files of a repository', () => {
  function bringOne(path: string): { evil: string; proof: string } {
    const evil = join(makeRepository(join(path, 'clone')), 'fixtures');
    const proof = join(path, 'ran');
    git(path, 'init', '--quiet', '--bare', evil);
    git(evil, 'config', 'filter.x.clean', `touch ${proof}; cat`);
    write(evil, 'info/attributes', '* filter=x\n');
    git(
      evil,
      `--git-dir=${evil}`,
      `--work-tree=${evil}`,
      '-c',
      'core.bare=false',
      '-c',
      'filter.x.clean=cat',
      'add',
      'HEAD',
    );
    utimesSync(join(evil, 'HEAD'), 1, 1);
    git(evil, 'config', 'core.bare', 'false');
    git(evil, 'config', 'core.worktree', '.');
    return { evil, proof };
  }

  test('is what it is made for: git run within it runs that program', () => {
    const { evil, proof } = bringOne(place());
    // Whatever git's own default is: without this the two tests below would prove nothing.
    git(evil, '-c', 'safe.bareRepository=all', 'status');
    expect(existsSync(proof)).toBe(true);
  });

  test('is nobody’s worktree, and runs nothing', async () => {
    const path = place();
    const { proof } = bringOne(path);
    expect(await worktreesBelow(path)).toEqual([['clone'], []]);
    expect(existsSync(proof)).toBe(false);
  });

  test('nor when it calls itself a locked worktree', async () => {
    const path = place();
    const { evil, proof } = bringOne(path);
    for (const [file, text] of Object.entries({
      gitdir: join(evil, '.git'),
      locked: '',
      HEAD: 'ref: refs/heads/main',
      commondir: '../..',
    })) {
      write(evil, `worktrees/x/${file}`, `${text}\n`);
    }
    expect(await worktreesBelow(path)).toEqual([['clone'], []]);
    expect(existsSync(proof)).toBe(false);
  });
});

describe('what git has to say of odd commits and indexes', () => {
  const only = async (path: string) => (await inspectAll(path))[0]?.worktrees[0];

  test('a message is never cut within a character', async () => {
    const path = makeRepository(join(place(), 'p'));
    commit(path, 'b', 'b', `${'x'.repeat(1_999)}😀 and more`);
    expect((await only(path))?.lastCommit?.message).toBe('x'.repeat(1_999));
  });

  test.each([
    ['committer A <a@b> 253402300799 +1400', '9999-12-31T23:59:59.000Z'],
    ['committer A <a@b> 253402300800 +0000', null],
    [null, null],
  ])('a commit with the line %o has the time %o', async (committer, expected) => {
    const path = makeRepository(join(place(), 'p'));
    const lines = [`tree ${git(path, 'rev-parse', 'HEAD^{tree}').trim()}`, 'author A <a@b> 1 +0000'];
    if (committer !== null) lines.push(committer);
    const file = join(path, '..', 'commit');
    writeFileSync(file, `${lines.join('\n')}\n\nOdd\n`);
    const oid = git(path, 'hash-object', '-t', 'commit', '-w', '--literally', file).trim();
    git(path, 'update-ref', 'refs/heads/main', oid);
    expect((await only(path))?.lastCommit).toEqual({ message: 'Odd', at: expected });
  });

  test('a file removed from the index and left on disk is one changed file', async () => {
    const path = makeRepository(join(place(), 'p'));
    git(path, 'rm', '--quiet', '--cached', 'README.md');
    expect((await only(path))?.changedFiles.map(({ path: name, change }) => [name, change])).toEqual([
      ['README.md', 'D'],
    ]);
  });

  test('a partial clone that lacks what line counts need tells the names, and fetches nothing', async () => {
    const path = place();
    const source = makeRepository(join(path, 'source'));
    git(source, 'config', 'uploadpack.allowFilter', 'true');
    git(source, 'checkout', '--quiet', '-b', 'feature');
    commit(source, 'README.md', '# Ours\n');
    git(source, 'checkout', '--quiet', 'main');
    commit(source, 'README.md', '# Theirs\n');
    const clone = join(path, 'area', 'clone');
    git(path, 'clone', '--quiet', '--filter=blob:none', `file://${source}`, clone);
    addWorktree(clone, join(path, 'area', 'tree'), 'feature', 'origin/feature');
    const missing = () => git(clone, 'rev-list', '--objects', '--missing=print', '--all');
    const before = missing();
    expect(before).toMatch(/^\?/m);
    const [repository] = await inspectAll(join(path, 'area'));
    const tree = repository?.worktrees.find((worktree) => worktree.branch === 'feature');
    expect(tree).toMatchObject({ ahead: 1, behind: 1, uncommitted: 0 });
    expect(tree?.changedFiles).toMatchObject([{ path: 'README.md', change: 'M', additions: null, deletions: null }]);
    expect(missing()).toBe(before);
  });
});

describe('a repository that git refuses is found all the same', () => {
  test('by a worktree of it, and in a bare one of any name', async () => {
    const path = place();
    const source = makeRepository(join(path, 'source'));
    addWorktree(source, join(path, 'area', 'tree'), 'x');
    const bare = join(path, 'area', 'bare');
    git(path, 'clone', '--quiet', '--bare', source, bare);
    for (const gitDir of [join(source, '.git'), bare]) writeFileSync(join(gitDir, 'config'), '[core\n');
    const found = (await discover([join(path, 'area')])).map(({ commonDir }) => commonDir);
    expect(found).toEqual([bare, join(source, '.git')].sort());
  });

  test('but not where only a worktree of it is left', async () => {
    const path = place();
    const source = makeRepository(join(path, 'source'));
    addWorktree(source, join(path, 'area', 'tree'), 'x');
    rmSync(source, { recursive: true });
    expect(await discover([join(path, 'area')])).toEqual([]);
  });

  test('from within a project whose folder has a newline in its name', async () => {
    const path = makeRepository(join(place(), 'two\nlines'));
    write(path, 'deep/file', 'x');
    expect((await discover([join(path, 'deep')])).map(({ commonDir }) => commonDir)).toEqual([join(path, '.git')]);
  });
});
