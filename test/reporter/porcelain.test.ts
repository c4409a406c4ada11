import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readDiff, readStatus, readWorktreeList } from '../../src/reporter/porcelain.ts';

/** A name as git allows it: anything but NUL. */
const name = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !text.includes('\0'));
const oid = 'a'.repeat(40);

describe("git's machine formats", () => {
  test('a worktree list gives back every path and branch, whatever they hold', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ path: name, branch: name }), { minLength: 1 }), (worktrees) => {
        const text = worktrees
          .map(({ path, branch }) => `worktree /${path}\0HEAD ${oid}\0branch refs/heads/${branch}\0\0`)
          .join('');
        expect(readWorktreeList(text).map(({ path, branch }) => ({ path: path.slice(1), branch }))).toEqual(worktrees);
      }),
    );
  });

  test('a worktree list tells bare, detached, locked, prunable and unborn ones', () => {
    const zeros = '0'.repeat(40);
    const text =
      'worktree /bare\0bare\0\0' +
      `worktree /d\0HEAD ${oid}\0detached\0locked because of\nreasons\0\0` +
      `worktree /p\0HEAD ${zeros}\0branch refs/heads/x\0prunable gitdir file points to non-existent location\0\0`;
    expect(readWorktreeList(text)).toMatchObject([
      { path: '/bare', bare: true, head: null },
      { path: '/d', detached: true, locked: true, head: oid, branch: null },
      { path: '/p', prunable: true, head: null, branch: 'x' },
    ]);
  });

  test('a status gives back every path with its kind, renames once', () => {
    const entry = fc.record({ path: name, kind: fc.constantFrom('changed', 'renamed', 'unmerged', 'untracked') });
    fc.assert(
      fc.property(fc.array(entry), name, (entries, other) => {
        const text = entries
          .map(({ path, kind }) => {
            if (kind === 'changed') return `1 .M N... 100644 100644 100644 ${oid} ${oid} ${path}\0`;
            if (kind === 'renamed') return `2 R. N... 100644 100644 100644 ${oid} ${oid} R100 ${path}\0? ${other}\0`;
            if (kind === 'unmerged') return `u UU N... 100644 100644 100644 100644 ${oid} ${oid} ${oid} ${path}\0`;
            return `? ${path}\0`;
          })
          .join('');
        const status = readStatus(`# branch.oid ${oid}\0# branch.head feat/x y\0${text}`);
        expect(status.branch).toBe('feat/x y');
        expect(status.entries).toEqual(
          entries.map(({ path, kind }) => ({ path, kind: kind === 'renamed' ? 'changed' : kind })),
        );
      }),
    );
  });

  test('a status of an unborn and of a detached head says so', () => {
    expect(readStatus('# branch.oid (initial)\0# branch.head main\0')).toMatchObject({ head: null, branch: 'main' });
    expect(readStatus(`# branch.oid ${oid}\0# branch.head (detached)\0`)).toMatchObject({ head: oid, branch: null });
  });

  test('a diff joins records and counts, for names with tabs, newlines and colons too', () => {
    const text =
      `:100644 100644 ${oid} ${oid} M\0a\tb\nc\0` +
      `:100644 100644 ${oid} ${oid} R090\0:old\0new name\0` +
      `:000000 100644 ${oid} ${oid} A\0image.png\0` +
      '3\t1\ta\tb\nc\0' +
      '2\t0\t\0:old\0new name\0' +
      '-\t-\timage.png\0';
    expect(readDiff(text)).toEqual([
      { path: 'a\tb\nc', previousPath: null, change: 'M', additions: 3, deletions: 1 },
      { path: 'new name', previousPath: ':old', change: 'R', additions: 2, deletions: 0 },
      { path: 'image.png', previousPath: null, change: 'A', additions: null, deletions: null },
    ]);
  });

  test('no text, however broken, makes a reader throw', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        for (const read of [readWorktreeList, readStatus, readDiff]) read(text);
      }),
    );
  });
});
