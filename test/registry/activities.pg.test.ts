import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { refusalOf, rows, value } from '../support/sql.ts';

interface Logged {
  logActivities: {
    activities: ({ id: string; description: string } | null)[] | null;
    userErrors: { code: string; path: string[]; details: unknown }[];
  };
}

describe('activities', () => {
  let gateway: TestGateway;
  let project: string;
  let tree: string;
  beforeAll(async () => {
    gateway = await startGateway();
    project = await value<string>(gateway.database.owner, `select registry.register_project('Activities', null)`);
    tree = await value<string>(
      gateway.database.owner,
      `select registry.register_worktree($1, 'feat', 'a', 'feat/a', '/act/a')`,
      [project],
    );
  });
  afterAll(() => gateway.close());

  const log = (activities: object[]) =>
    gateway.ask<Logged>(
      'mutation ($i: LogActivitiesInput!) { logActivities(input: $i) { activities { id description } userErrors { code path details } } }',
      { i: { activities } },
    );
  const one = (more: object = {}) => ({
    agentId: 'agent',
    worktree: { id: tree },
    type: 'MODIFIED',
    description: 'x',
    ...more,
  });
  const count = () => value<number>(gateway.database.owner, 'select count(*)::int from registry.agent_activities');

  test('500 at once are logged in order, 501 are refused whole', async () => {
    const batch = Array.from({ length: 500 }, (_, n) => one({ description: `step ${n}` }));
    const { logActivities } = await log(batch);
    expect(logActivities.activities?.map((activity) => activity?.description)).toEqual(
      batch.map(({ description }) => description),
    );
    const before = await count();
    const refused = (await log([...batch, one()])).logActivities;
    expect(refused).toMatchObject({
      activities: null,
      userErrors: [{ code: 'PAYLOAD_TOO_LARGE', details: { limit: 500 } }],
    });
    expect(await count()).toBe(before);
  });

  test('a batch that is sent again is logged once', async () => {
    const createdAt = new Date().toISOString();
    const batch = Array.from({ length: 20 }, () => one({ id: randomUUID(), createdAt }));
    const before = await count();
    const answers = await Promise.all([log(batch), log(batch), log(batch)]);
    expect(await count()).toBe(before + 20);
    expect(new Set(answers.map(({ logActivities }) => JSON.stringify(logActivities.activities))).size).toBe(1);
  });

  test('one bad item harms no other and is named by its place', async () => {
    const { logActivities } = await log([
      one(),
      one({ worktree: { path: { path: '/no/where' } } }),
      one({ worktree: { id: 'nonsense' } }),
      one({ id: randomUUID() }),
      one({ id: randomUUID(), createdAt: '2001-01-01T00:00:00Z' }),
      one({ metadata: [1] }),
      one(),
    ]);
    expect(logActivities.activities?.map((activity) => activity !== null)).toEqual([
      true,
      false,
      false,
      false,
      false,
      false,
      true,
    ]);
    expect(logActivities.userErrors.map(({ code, path }) => [code, path[2]])).toEqual([
      ['NOT_FOUND', '1'],
      ['NOT_FOUND', '2'],
      ['INVALID', '3'],
      ['INVALID', '4'],
      ['INVALID', '5'],
    ]);
  });

  test.each([
    `update registry.agent_activities set description = 'y'`,
    'delete from registry.agent_activities',
    'truncate registry.agent_activities',
  ])('are append-only, for the owner too: %s', async (statement) => {
    await log([one()]);
    expect(await refusalOf(gateway.database.owner.query(statement))).toMatchObject({ code: 'FORBIDDEN' });
    const partition = `registry.agent_activities_${new Date().toISOString().slice(0, 7).replace('-', '_')}`;
    const onPartition = statement.replace('registry.agent_activities', partition);
    if (!statement.startsWith('truncate')) {
      expect(await refusalOf(gateway.database.owner.query(onPartition))).toMatchObject({ code: 'FORBIDDEN' });
    }
  });

  test('retention drops whole months and the rest of the cut-off month, and says how many', async () => {
    const { owner } = gateway.database;
    await owner.query('select registry.ensure_activity_partitions(6)');
    await owner.query(
      `insert into registry.agent_activities (agent_id, worktree_id, activity_type, description, created_at)
       select 'old', $1, 'other', 'x', now() - make_interval(days => n) from generate_series(1, 160) n`,
      [tree],
    );
    const old = await value<number>(
      owner,
      `select count(*)::int from registry.agent_activities where created_at < now() - interval '90 days'`,
    );
    expect(old).toBeGreaterThan(60);
    const { cleanupOldActivities } = await gateway.ask<{ cleanupOldActivities: { deletedCount: string } }>(
      'mutation { cleanupOldActivities(input: {}) { deletedCount } }',
    );
    expect(cleanupOldActivities.deletedCount).toBe(String(old));
    expect(await value(owner, `select count(*)::int from registry.agent_activities where agent_id = 'old'`)).toBe(
      160 - old,
    );
  });

  test('what came before its month had a partition moves into it', async () => {
    const { owner } = gateway.database;
    await owner.query(
      `insert into registry.agent_activities (agent_id, worktree_id, activity_type, description, created_at)
       values ('future', $1, 'other', 'x', now() + interval '70 days')`,
      [tree],
    );
    const place = () =>
      value<string>(owner, `select tableoid::regclass::text from registry.agent_activities where agent_id = 'future'`);
    expect(await place()).toContain('agent_activities_default');
    expect(await value(owner, 'select registry.ensure_activity_partitions(0, 4)')).toBeGreaterThan(0);
    expect(await place()).not.toContain('default');
  });

  test('filters: by agent, type, project, worktree, time and metadata', async () => {
    const other = await value<string>(
      gateway.database.owner,
      `select registry.register_worktree($1, 'fix', 'b', 'fix/b', '/act/b')`,
      [project],
    );
    await log([
      one({ agentId: 'filtered', type: 'COMMITTED', metadata: { pr: 7 }, description: 'first' }),
      one({ agentId: 'filtered', worktree: { id: other }, type: 'PUSHED', description: 'second' }),
    ]);
    const found = async (filter: object) =>
      (
        await gateway.ask<{ activities: { nodes: { description: string }[] } }>(
          'query ($f: ActivityFilter) { activities(filter: $f, first: 100) { nodes { description } } }',
          { f: { agentId: 'filtered', ...filter } },
        )
      ).activities.nodes.map(({ description }) => description);
    expect((await found({})).sort()).toEqual(['first', 'second']);
    expect(await found({ type: ['PUSHED'] })).toEqual(['second']);
    expect(await found({ metadata: { pr: 7 } })).toEqual(['first']);
    expect(await found({ worktree: { name: { project: { id: project }, name: 'b' } } })).toEqual(['second']);
    expect((await found({ project: { id: project } })).sort()).toEqual(['first', 'second']);
    expect(await found({ project: { slug: 'none' } })).toEqual([]);
    expect(await found({ until: '2001-01-01T00:00:00Z' })).toEqual([]);
    expect(await found({ since: '2001-01-01T00:00:00+02:00' })).toHaveLength(2);
  });

  test('pruning spares what has work or retained activities, and says why; a deleted project takes its activities along', async () => {
    const { owner } = gateway.database;
    const make = (name: string) =>
      value<string>(owner, `select registry.register_worktree($1, 'feat', $2, 'feat/p', $3)`, [
        project,
        name,
        `/act/${name}`,
      ]);
    const [dirty, ahead, plain] = [await make('dirty'), await make('unmerged'), await make('plain')];
    await owner.query('select registry.update_worktree_git_state($1, p_uncommitted_count => 2)', [dirty]);
    await owner.query('select registry.update_worktree_git_state($1, p_ahead => 2)', [ahead]);
    for (const id of [dirty, ahead, plain, tree])
      await owner.query('select registry.deactivate_worktree($1, true)', [id]);
    const prune = async (dryRun: boolean) =>
      (
        await gateway.ask<{
          pruneInactiveWorktrees: {
            pruned: { name: string }[];
            spared: { reason: string; worktree: { name: string } }[];
          };
        }>(
          'mutation ($d: Boolean!) { pruneInactiveWorktrees(input: { days: 0, dryRun: $d }) { pruned { name } spared { reason worktree { name } } } }',
          { d: dryRun },
        )
      ).pruneInactiveWorktrees;
    for (const dryRun of [true, false]) {
      const { pruned, spared } = await prune(dryRun);
      expect(pruned).toEqual([{ name: 'plain' }]);
      expect(new Map(spared.map(({ worktree, reason }) => [worktree.name, reason]))).toEqual(
        new Map([
          ['dirty', '2 uncommitted files'],
          ['unmerged', '2 commits that are not merged'],
          ['a', 'activities that are still retained'],
        ]),
      );
    }
    expect(await rows(owner, 'select 1 from registry.worktrees where id = $1', [plain])).toEqual([]);
    await owner.query('select registry.delete_project($1, $2)', [project, 'activities']);
    expect(await count()).toBe(0);
  });
});
