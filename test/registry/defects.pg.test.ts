import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { refusalOf, rows, value } from '../support/sql.ts';

/** The old registry's defects, each by name: none may come back. All through plain SQL, as psql users meet them. */
describe('defects of the old registry', () => {
  let database: TestDatabase;
  let project: string;

  beforeAll(async () => {
    database = await createTestDatabase();
    project = await value(
      database.owner,
      `select registry.register_project('defects', 'git@example.com:t/defects.git')`,
    );
  });
  afterAll(() => database.close());

  let made = 0;
  async function worktree(): Promise<string> {
    made += 1;
    return value(database.owner, `select registry.register_worktree($1, 'feat', $2, 'feat/x', $3)`, [
      project,
      `w${made}`,
      `/defects/w${made}`,
    ]);
  }
  const stateOf = (id: string) =>
    rows<{ has: boolean; count: number; in_flight: boolean; status: string; active: boolean }>(
      database.owner,
      `select has_uncommitted_changes as has, uncommitted_files_count as count, in_flight, status, active
       from registry.worktrees where id = $1`,
      [id],
    ).then(([row]) => row);

  test('pg_trgm never created: the extension is there, and its index serves the search', async () => {
    expect(await value(database.owner, `select count(*)::int from pg_extension where extname = 'pg_trgm'`)).toBe(1);
    expect(
      await value(
        database.owner,
        `select indexdef from pg_indexes where indexname = 'idx_projects_remote_origin_trgm'`,
      ),
    ).toContain('gin_trgm_ops');
  });

  test('has_uncommitted => true alone silently reset: it means at least one file, and keeps a larger count', async () => {
    const id = await worktree();
    await database.owner.query(`select registry.update_worktree_git_state($1, p_has_uncommitted => true)`, [id]);
    expect(await stateOf(id)).toMatchObject({ has: true, count: 1 });
    await database.owner.query(`select registry.update_worktree_git_state($1, p_uncommitted_count => 7)`, [id]);
    await database.owner.query(`select registry.update_worktree_git_state($1, p_has_uncommitted => true)`, [id]);
    expect(await stateOf(id)).toMatchObject({ has: true, count: 7 });
    await database.owner.query(`select registry.update_worktree_git_state($1, p_has_uncommitted => false)`, [id]);
    expect(await stateOf(id)).toMatchObject({ has: false, count: 0 });
  });

  test('a flag and a count that contradict each other are an error and change nothing', async () => {
    const id = await worktree();
    for (const [flag, count] of [
      [true, 0],
      [false, 3],
    ]) {
      const refusal = await refusalOf(
        database.owner.query(`select registry.update_worktree_git_state($1, $2, $3)`, [id, flag, count]),
      );
      expect(refusal).toMatchObject({ code: 'INVALID', sqlstate: '22023' });
    }
    expect(await stateOf(id)).toMatchObject({ has: false, count: 0 });
  });

  const unknown = '00000000-0000-4000-8000-000000000000';
  test.each([
    `select registry.deactivate_project('${unknown}')`,
    `select registry.delete_project('${unknown}', 'x')`,
    `select registry.update_project('${unknown}', '{}')`,
    `select registry.classify_project('${unknown}', '{}')`,
    `select registry.get_project_working_path('${unknown}')`,
    `select registry.get_inflight_work('${unknown}')`,
    `select registry.get_project_by_origin('git@example.com:no/where.git')`,
    `select registry.register_worktree('${unknown}', 'feat', 'x', 'x', '/x')`,
    `select registry.update_worktree_git_state('${unknown}')`,
    `select registry.mark_worktree_merged('${unknown}')`,
    `select registry.deactivate_worktree('${unknown}')`,
    `select registry.update_worktree('${unknown}', '{}')`,
    `select registry.set_agent_state('${unknown}', 'idle')`,
    `select registry.claim_worktree('${unknown}', 'a')`,
    `select registry.renew_claim('${unknown}', 1)`,
    `select registry.release_worktree('${unknown}', 1)`,
    `select registry.get_worktree_by_path('/no/where')`,
    `select registry.log_activity('a', '${unknown}', 'created', 'x')`,
    `select registry.delete_worktree_type('nothing')`,
  ])('unknown ids silently accepted: %s is refused', async (statement) => {
    expect(await refusalOf(database.owner.query(statement))).toMatchObject({ code: 'NOT_FOUND', sqlstate: 'P0002' });
  });

  test('a re-registered worktree never in flight again: after a merge it begins a new life', async () => {
    const id = await worktree();
    await database.owner.query(
      `select registry.update_worktree_git_state($1, p_ahead => 2, p_changed_files => '[{"path": "a", "change": "M"}]')`,
      [id],
    );
    await database.owner.query(`select registry.mark_worktree_merged($1, 'somebody', repeat('a', 40))`, [id]);
    expect(await stateOf(id)).toMatchObject({ status: 'merged', in_flight: false, active: false });
    const again = await value<string>(
      database.owner,
      `select registry.register_worktree(project_id, 'fix', name, 'fix/y', '/defects/new', 'agent-2') from registry.worktrees where id = $1`,
      [id],
    );
    expect(again).toBe(id);
    expect(await stateOf(id)).toMatchObject({ status: 'clean', active: true });
    await database.owner.query(`select registry.update_worktree_git_state($1, p_ahead => 1)`, [id]);
    expect(await stateOf(id)).toMatchObject({ status: 'ahead', in_flight: true });
    const [life] = await rows(
      database.owner,
      `select merged_at, merged_by, merge_commit, agent_id, branch_name,
         (select count(*)::int from registry.worktree_files where worktree_id = w.id) as files
       from registry.worktrees w where id = $1`,
      [id],
    );
    expect(life).toEqual({
      merged_at: null,
      merged_by: null,
      merge_commit: null,
      agent_id: 'agent-2',
      branch_name: 'fix/y',
      files: 0,
    });
  });

  test('maintenance_vacuum() always failing: every statement of its list runs', async () => {
    const statements = await rows<{ statement: string }>(
      database.owner,
      `select statement from registry.maintenance_vacuum() as statement`,
    );
    expect(statements.length).toBeGreaterThan(10);
    for (const { statement } of statements) await database.owner.query(statement);
  });

  test('behind-only work in the view but not in the counts: one definition serves view, function, counts and column', async () => {
    const behind = await worktree();
    const ahead = await worktree();
    await database.owner.query(`select registry.update_worktree_git_state($1, p_behind => 3)`, [behind]);
    await database.owner.query(`select registry.update_worktree_git_state($1, p_ahead => 3)`, [ahead]);
    const of = async (sql: string) =>
      (await rows<{ id: string }>(database.owner, sql, [project])).map((row) => row.id).sort();
    const column = await of(`select id from registry.worktrees where in_flight and project_id = $1`);
    expect(column).toContain(ahead);
    expect(column).not.toContain(behind);
    expect(await of(`select id from registry.v_inflight_work where project_id = $1`)).toEqual(column);
    expect(await of(`select id from registry.get_inflight_work($1)`)).toEqual(column);
    expect(
      await value(database.owner, `select in_flight_worktrees::int from registry.v_projects_summary where id = $1`, [
        project,
      ]),
    ).toBe(column.length);
    expect(await value(database.owner, `select in_flight_worktrees::int from registry.get_registry_stats()`)).toBe(
      column.length,
    );
  });

  test('no typo tolerance in search: renmed finds renamed', async () => {
    const renamed = await value(database.owner, `select registry.register_project('Renamed thing', null)`);
    await database.owner.query(`select registry.register_project('Something else', null)`);
    const found = await rows<{ id: string }>(database.owner, `select id from registry.search_projects('renmed')`);
    expect(found[0]?.id).toBe(renamed);
  });

  test("HTTPS and other hosts' remotes rejected: they are taken", async () => {
    for (const remote of [
      'https://git.example.org:8443/team/tool',
      'ssh://git@codeberg.org/a/b.git',
      'git://h.example/x.git',
    ]) {
      expect(await value(database.owner, `select registry.register_project('other', $1)`, [remote])).toBeTypeOf(
        'string',
      );
    }
  });

  test('a claim that anyone can overwrite: another is refused with the holder and the expiry', async () => {
    const id = await worktree();
    await database.owner.query(`select registry.claim_worktree($1, 'first', 's')`, [id]);
    const refusal = await refusalOf(database.owner.query(`select registry.claim_worktree($1, 'second', 's')`, [id]));
    expect(refusal).toMatchObject({ code: 'CLAIMED', sqlstate: '55006', details: { agentId: 'first' } });
    expect(Date.parse(String(refusal.details?.expiresAt))).toBeGreaterThan(Date.now());
    expect(
      await value(database.owner, `select agent_id from registry.worktree_claims where worktree_id = $1`, [id]),
    ).toBe('first');
  });
});
