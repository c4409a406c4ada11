import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { refusalOf, rows, value } from '../support/sql.ts';

interface Reported {
  reportWorktrees: {
    project: { slug: string; name: string } | null;
    worktrees: ({ name: string; status: string; type: { name: string } } | null)[] | null;
    userErrors: { code: string; path: string[] }[];
  };
}

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.close());

const mutation = `mutation ($i: ReportWorktreesInput!) { reportWorktrees(input: $i) {
  project { slug name } worktrees { name status type { name } } userErrors { code path } } }`;
const at = (offsetSeconds = 0) => new Date(Date.now() + offsetSeconds * 1_000).toISOString();

async function report(repository: string, worktrees: object[], more: Record<string, unknown> = {}) {
  const { project = {}, ...rest } = more as { project?: object };
  const { reportWorktrees } = await gateway.ask<Reported>(mutation, {
    i: {
      project: {
        name: repository,
        remoteOrigin: `git@example.com:reports/${repository}.git`,
        trunkPath: `/${repository}/trunk`,
        ...project,
      },
      repositoryPath: `/${repository}/trunk/.git`,
      observedAt: at(),
      worktrees,
      ...rest,
    },
  });
  return reportWorktrees;
}
const tree = (path: string, state: object = {}, more: object = {}) => ({
  name: path.split('/').at(-1) ?? '',
  path,
  branchName: 'feat/x',
  state,
  ...more,
});
const active = (repository: string) =>
  rows<{ name: string; path: string }>(
    gateway.database.owner,
    `select name, path from registry.worktrees where repository_path = $1 and active order by path`,
    [`/${repository}/trunk/.git`],
  );

describe('reporting a repository', () => {
  test('each bad item is refused by its place, and the others are stored', async () => {
    const answer = await report('mixed', [
      tree('/mixed/good', { uncommittedFilesCount: 2 }),
      tree('/mixed/flag', { hasUncommittedChanges: true, uncommittedFilesCount: 0 }),
      tree('/mixed/type', {}, { type: 'nothing' }),
      tree('/mixed/empty', {}, { branchName: '' }),
      tree('/mixed/fine', { aheadOfTrunk: 1 }, { type: 'fix' }),
    ]);
    expect(answer.worktrees).toEqual([
      { name: 'good', status: 'UNCOMMITTED', type: { name: 'feat' } },
      null,
      null,
      null,
      { name: 'fine', status: 'AHEAD', type: { name: 'fix' } },
    ]);
    expect(answer.userErrors).toEqual([
      { code: 'INVALID', path: ['input', 'worktrees', '1'] },
      { code: 'NOT_FOUND', path: ['input', 'worktrees', '2'] },
      { code: 'INVALID', path: ['input', 'worktrees', '3'] },
    ]);
  });

  test('one name at two paths gets a number, and keeps it', async () => {
    for (let round = 0; round < 2; round += 1) {
      await report('twice', [tree('/twice/a/tree'), tree('/twice/b/tree')], { complete: true });
      expect(await active('twice')).toEqual([
        { name: 'tree', path: '/twice/a/tree' },
        { name: 'tree-2', path: '/twice/b/tree' },
      ]);
    }
  });

  test('complete: what is not named is gone, but for what was seen later and what is of another clone', async () => {
    await report('whole', [tree('/whole/a'), tree('/whole/b'), tree('/whole/later', {}, { observedAt: at(60) })]);
    await report('whole', [tree('/other-clone/a')], { repositoryPath: '/other-clone/.git' });
    await report('whole', [tree('/whole/a')], { complete: true });
    expect((await active('whole')).map(({ path }) => path)).toEqual(['/whole/a', '/whole/later']);
    expect(
      await value(gateway.database.owner, `select active from registry.worktrees where path = '/other-clone/a'`),
    ).toBe(true);
    await report('whole', [tree('/whole/b')]);
    expect((await active('whole')).map(({ path }) => path)).toEqual(['/whole/a', '/whole/b', '/whole/later']);
  });

  test('a late report changes nothing and says so', async () => {
    await report('late', [tree('/late/a', { aheadOfTrunk: 5 })]);
    const answer = await report('late', [tree('/late/a', { aheadOfTrunk: 1 })], { observedAt: at(-3_600) });
    expect(answer.userErrors).toEqual([{ code: 'STALE_REPORT', path: ['input', 'worktrees', '0'] }]);
    expect(
      await value(gateway.database.owner, `select ahead_of_trunk from registry.worktrees where path = '/late/a'`),
    ).toBe(5);
  });

  test('the name and the type that somebody chose outlive the next scan', async () => {
    await report('kept', [tree('/kept/a')]);
    const { owner } = gateway.database;
    await owner.query(`update registry.projects set name = 'Chosen' where slug = 'kept'`);
    await owner.query(
      `select registry.update_worktree(id, '{"type": "devops"}') from registry.worktrees where path = '/kept/a'`,
    );
    const answer = await report('kept', [tree('/kept/a', {}, { type: 'fix' })]);
    expect(answer).toMatchObject({ project: { name: 'Chosen' }, worktrees: [{ type: { name: 'devops' } }] });
  });

  test('a repository without a remote is found again by its checkout, and stays itself when it gets one', async () => {
    const bare = { project: { remoteOrigin: null } };
    const first = await report('scratch', [tree('/scratch/trunk')], bare);
    expect((await report('scratch', [tree('/scratch/trunk')], bare)).project).toEqual(first.project);
    expect((await report('scratch', [tree('/scratch/trunk')])).project).toEqual(first.project);
    expect(
      await value(gateway.database.owner, `select remote_key from registry.projects where slug = $1`, [
        first.project?.slug,
      ]),
    ).toBe('example.com/reports/scratch');
    const elsewhere = await report('scratch', [], {
      ...bare,
      host: 'other-host',
      project: { remoteOrigin: null, trunkPath: '/scratch/trunk' },
    });
    expect(elsewhere.project?.slug).not.toBe(first.project?.slug);
  });
});

describe('one report of git state', () => {
  const state = (id: string) =>
    rows<{ updated_at: Date; last_sync_at: Date; ahead_of_trunk: number; head_commit: string | null }>(
      gateway.database.owner,
      'select updated_at, last_sync_at, ahead_of_trunk, head_commit from registry.worktrees where id = $1',
      [id],
    ).then(([row]) => row);
  const apply = (id: string, args: string) =>
    gateway.database.owner.query(`select (registry.update_worktree_git_state($1, ${args})).outcome`, [id]);
  let id: string;
  beforeAll(async () => {
    await report('single', [tree('/single/a')]);
    id = await value<string>(gateway.database.owner, `select id from registry.worktrees where path = '/single/a'`);
  });

  test('null keeps, and what changes nothing moves only last_sync_at', async () => {
    await apply(id, `p_ahead => 3, p_last_commit_hash => repeat('A', 40)`);
    const before = await state(id);
    expect(before).toMatchObject({ ahead_of_trunk: 3, head_commit: 'a'.repeat(40) });
    const { rows: outcome } = await apply(id, 'p_ahead => 3');
    expect(outcome).toEqual([{ outcome: 'unchanged' }]);
    const after = await state(id);
    expect(after).toMatchObject({ updated_at: before?.updated_at, head_commit: 'a'.repeat(40) });
    expect(after?.last_sync_at.getTime()).toBeGreaterThanOrEqual(before?.last_sync_at.getTime() ?? 0);
  });

  test('from the future, with another head than expected, or out of range is refused', async () => {
    expect(await refusalOf(apply(id, `p_observed_at => now() + interval '6 minutes'`))).toMatchObject({
      code: 'INVALID',
    });
    expect(await refusalOf(apply(id, `p_expected_head => repeat('b', 40)`))).toMatchObject({
      code: 'HEAD_MOVED',
      details: { headCommit: 'a'.repeat(40) },
    });
    expect(await refusalOf(apply(id, 'p_ahead => -1'))).toMatchObject({ code: 'INVALID' });
    expect(await refusalOf(apply(id, `p_changed_files => '[{"path": "x", "change": "Z"}]'`))).toMatchObject({
      code: 'INVALID',
    });
  });

  test('a batch keeps its bad item to itself', async () => {
    const { rows: outcomes } = await gateway.database.owner.query(
      'select index, outcome, code from registry.update_worktree_git_states($1) order by index',
      [
        JSON.stringify([
          { worktree_id: id, ahead: 9 },
          { worktree_id: '00000000-0000-4000-8000-000000000000' },
          { worktree_id: id, behind: -1 },
        ]),
      ],
    );
    expect(outcomes).toEqual([
      { index: 0, outcome: 'changed', code: null },
      { index: 1, outcome: 'refused', code: 'NOT_FOUND' },
      { index: 2, outcome: 'refused', code: 'INVALID' },
    ]);
  });

  test('a count written directly sets the flag, and the flag alone the count', async () => {
    const { owner } = gateway.database;
    const pair = () =>
      rows(
        owner,
        'select has_uncommitted_changes as flag, uncommitted_files_count as count from registry.worktrees where id = $1',
        [id],
      );
    await owner.query('update registry.worktrees set uncommitted_files_count = 4 where id = $1', [id]);
    expect(await pair()).toEqual([{ flag: true, count: 4 }]);
    await owner.query('update registry.worktrees set has_uncommitted_changes = false where id = $1', [id]);
    expect(await pair()).toEqual([{ flag: false, count: 0 }]);
  });
});
