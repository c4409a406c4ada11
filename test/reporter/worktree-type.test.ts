import { expect, test } from 'vitest';
import { inferType } from '../../src/reporter/worktree-type.ts';

const types = [
  { name: 'feat', branchPrefix: 'feat/', worktreePrefix: 'feat-' },
  { name: 'fix', branchPrefix: 'fix/', worktreePrefix: 'fix-' },
  { name: 'hotfix', branchPrefix: 'fix/hot/', worktreePrefix: 'hot-' },
  { name: 'trunk', branchPrefix: '', worktreePrefix: 'trunk-' },
];

test.each([
  [{ main: true, branch: 'feat/x', directory: 'feat-x' }, 'trunk'],
  [{ main: false, branch: 'fix/x', directory: 'feat-x' }, 'fix'],
  [{ main: false, branch: 'fix/hot/x', directory: 'x' }, 'hotfix'],
  [{ main: false, branch: 'HEAD', directory: 'trunk-2' }, 'trunk'],
  [{ main: false, branch: 'topic', directory: 'fix-y' }, 'fix'],
  [{ main: false, branch: 'topic', directory: 'y' }, 'feat'],
])('%o is %s', (worktree, expected) => {
  expect(inferType(worktree, types)).toBe(expected);
});
