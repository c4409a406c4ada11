import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { size } from '../support/size.ts';
import { refusalOf, rows, value } from '../support/sql.ts';

interface Registered {
  registerProject: { created: boolean | null; project: { id: string } | null; userErrors: { code: string }[] };
}

describe('many at once', () => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway.close());

  const times = <T>(count: number, make: (n: number) => Promise<T>) =>
    Promise.all(Array.from({ length: count }, (_, n) => make(n)));

  test('registrations of one remote in its different spellings give one project', async () => {
    const spellings = [
      'git@github.com:o/r.git',
      'https://github.com/o/r',
      'ssh://git@github.com:22/o/r.git/',
      'HTTPS://GitHub.com/o/r.git',
    ];
    const answers = await times(size(100), (n) =>
      gateway.ask<Registered>(
        'mutation ($i: RegisterProjectInput!) { registerProject(input: $i) { created project { id } userErrors { code } } }',
        {
          i: { name: 'One', remoteOrigin: spellings[n % spellings.length] },
        },
      ),
    );
    expect(new Set(answers.map(({ registerProject }) => registerProject.project?.id)).size).toBe(1);
    expect(answers.filter(({ registerProject }) => registerProject.created)).toHaveLength(1);
    expect(
      await value(
        gateway.database.owner,
        `select count(*)::int from registry.projects where remote_key = 'github.com/o/r'`,
      ),
    ).toBe(1);
  });

  test('registrations of one worktree name give one worktree', async () => {
    const project = await value<string>(gateway.database.owner, `select registry.register_project('Trees', null)`);
    const answers = await times(size(50), () =>
      gateway.ask<{ registerWorktree: { created: boolean; worktree: { id: string } } }>(
        'mutation ($i: RegisterWorktreeInput!) { registerWorktree(input: $i) { created worktree { id } userErrors { code message } } }',
        { i: { project: { id: project }, type: 'feat', name: 'tree', branchName: 'feat/tree', path: '/trees/tree' } },
      ),
    );
    expect(new Set(answers.map(({ registerWorktree }) => registerWorktree.worktree.id)).size).toBe(1);
    expect(answers.filter(({ registerWorktree }) => registerWorktree.created)).toHaveLength(1);
  });

  test('registrations of one worktree never meet in its path, round after round', async () => {
    const { owner } = gateway.database;
    const project = await value<string>(owner, `select registry.register_project('Rounds', null)`);
    for (let round = 0; round < size(2_000); round += 1) {
      const ids = await times(10, () =>
        value<string>(owner, `select registry.register_worktree($1, 'feat', $2, 'feat/x', $3)`, [
          project,
          `round-${round}`,
          `/rounds/${round}`,
        ]),
      );
      expect(new Set(ids).size).toBe(1);
    }
  }, 60_000);

  test('projects of one name without a remote get a slug each', async () => {
    await times(20, (n) =>
      gateway.database.owner.query(`select registry.register_project('Same name', null, p_trunk_path => $1)`, [
        `/same/${n}`,
      ]),
    );
    const slugs = await rows<{ slug: string }>(
      gateway.database.owner,
      `select slug from registry.projects where name = 'Same name'`,
    );
    expect(new Set(slugs.map(({ slug }) => slug)).size).toBe(20);
  });

  test('two halves of a cycle cannot both come in', async () => {
    const [a, b] = await times(2, (n) =>
      value<string>(gateway.database.owner, `select registry.register_project($1, null)`, [`Half ${n}`]),
    );
    const outcomes = await Promise.allSettled([
      gateway.database.owner.query('select registry.classify_project($1, array[$2]::uuid[])', [a, b]),
      gateway.database.owner.query('select registry.classify_project($1, array[$2]::uuid[])', [b, a]),
    ]);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  test('of many claims on one worktree exactly one holds, with the fence of the first', async () => {
    const project = await value<string>(gateway.database.owner, `select registry.register_project('Claimed', null)`);
    const tree = await value<string>(
      gateway.database.owner,
      `select registry.register_worktree($1, 'feat', 'c', 'feat/c', '/claimed/c')`,
      [project],
    );
    const answers = await times(size(100), (n) =>
      gateway.ask<{
        claimWorktree: { claim: { agentId: string; fence: string } | null; userErrors: { code: string }[] };
      }>(
        'mutation ($i: ClaimWorktreeInput!) { claimWorktree(input: $i) { claim { agentId fence } userErrors { code } } }',
        { i: { worktree: { id: tree }, agentId: `agent-${n}` } },
      ),
    );
    const held = answers.filter(({ claimWorktree }) => claimWorktree.claim !== null);
    expect(held.map(({ claimWorktree }) => claimWorktree.claim?.fence)).toEqual(['1']);
    expect(answers.flatMap(({ claimWorktree }) => claimWorktree.userErrors.map(({ code }) => code))).toEqual(
      Array.from({ length: answers.length - 1 }, () => 'CLAIMED'),
    );
  });

  test('batches over the same worktrees in opposite orders do not deadlock', async () => {
    const project = await value<string>(gateway.database.owner, `select registry.register_project('Batches', null)`);
    const trees = await times(20, (n) =>
      value<string>(gateway.database.owner, `select registry.register_worktree($1, 'feat', $2, 'feat/x', $3)`, [
        project,
        `b${n}`,
        `/batches/b${n}`,
      ]),
    );
    await times(size(100), (n) => {
      const order = n % 2 === 0 ? trees : trees.toReversed();
      return gateway.database.owner.query('select * from registry.update_worktree_git_states($1)', [
        JSON.stringify(order.map((id) => ({ worktree_id: id, ahead: n }))),
      ]);
    });
  });

  test('reports of one repository from several scanners give each path one worktree', async () => {
    const report = (n: number) =>
      gateway.ask(
        'mutation ($i: ReportWorktreesInput!) { reportWorktrees(input: $i) { userErrors { code message } } }',
        {
          i: {
            project: { name: 'Scanned', remoteOrigin: 'git@example.com:t/scanned.git' },
            repositoryPath: '/scanned/.git',
            observedAt: new Date().toISOString(),
            complete: true,
            worktrees: Array.from({ length: 10 }, (_, w) => ({
              name: 'tree',
              path: `/scanned/${w}/tree`,
              branchName: `feat/${w}`,
              state: { aheadOfTrunk: n },
            })),
          },
        },
      );
    await times(size(50), report);
    const found = await rows<{ path: string; name: string }>(
      gateway.database.owner,
      `select path, name from registry.worktrees where repository_path = '/scanned/.git' and active`,
    );
    expect(found).toHaveLength(10);
    expect(new Set(found.map(({ name }) => name)).size).toBe(10);
  });
});

test('a refused claim names the holder, and a takeover fences it', async () => {
  const gateway = await startGateway();
  try {
    const { owner } = gateway.database;
    const project = await value<string>(owner, `select registry.register_project('Fences', null)`);
    const tree = await value<string>(
      owner,
      `select registry.register_worktree($1, 'feat', 'f', 'feat/f', '/fences/f')`,
      [project],
    );
    await owner.query(`select registry.claim_worktree($1, 'first', 's')`, [tree]);
    await owner.query(`select registry.claim_worktree($1, 'second', 's', p_takeover => true)`, [tree]);
    const { errors, data } = await gateway.request<{
      updateWorktreeGitState: { worktree: null; userErrors: object[] };
    }>(
      'mutation ($i: UpdateWorktreeGitStateInput!) { updateWorktreeGitState(input: $i) { worktree { id } userErrors { code details } } }',
      { i: { worktree: { id: tree }, aheadOfTrunk: 1, fence: '1' } },
    );
    expect(errors).toBeUndefined();
    expect(data.updateWorktreeGitState).toMatchObject({
      worktree: null,
      userErrors: [{ code: 'FENCED', details: { agentId: 'second', fence: '2' } }],
    });
    expect(await refusalOf(owner.query('select registry.renew_claim($1, 1)', [tree]))).toMatchObject({
      code: 'FENCED',
    });
    expect(await refusalOf(owner.query('select registry.release_worktree($1, 1)', [tree]))).toMatchObject({
      code: 'FENCED',
    });
    await owner.query('select registry.release_worktree($1, 2)', [tree]);
    expect(await value(owner, `select fence::int from registry.claim_worktree($1, 'third', 's')`, [tree])).toBe(3);
    // A lease that lapsed may still report, until somebody else takes the worktree; it cannot be renewed.
    await owner.query(
      `update registry.worktree_claims set expires_at = now() - interval '1 second' where worktree_id = $1`,
      [tree],
    );
    await owner.query('select registry.update_worktree_git_state($1, p_ahead => 2, p_fence => 3)', [tree]);
    expect(await refusalOf(owner.query('select registry.renew_claim($1, 3)', [tree]))).toMatchObject({
      code: 'FENCED',
    });
  } finally {
    await gateway.close();
  }
});
