import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeDataSet } from '../support/data-set.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { size } from '../support/size.ts';
import { rows, value } from '../support/sql.ts';

interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  Plans?: PlanNode[];
}

/** Plans are read, not timed: a sequential scan is what turns a fast registry into a slow one as it grows. */
describe('plans on a large registry', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
    await makeDataSet(database.owner, { projects: size(1_000), worktrees: size(10_000), activities: size(1_000_000) });
  }, 300_000);
  afterAll(() => database.close());

  async function nodes(sql: string, values: unknown[] = []): Promise<PlanNode[]> {
    const [row] = await rows<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(
      database.owner,
      `explain (format json) ${sql}`,
      values,
    );
    const flat = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(flat)];
    return row === undefined ? [] : flat(row['QUERY PLAN'][0].Plan);
  }
  const scanned = (plan: PlanNode[]) =>
    plan
      .filter((node) => node['Node Type'] === 'Seq Scan')
      .map((node) => node['Relation Name'] ?? '')
      .filter((name) => name === 'worktrees' || name.startsWith('agent_activities'));

  test('the in-flight query reads worktrees and activities off their indexes', async () => {
    const plan = await nodes(
      `select w.id, (select row_to_json(p) from registry.projects p where p.id = w.project_id),
         (select json_agg(x) from (select a.* from registry.agent_activities a where a.worktree_id = w.id
           order by a.created_at desc, a.id desc limit 4) x)
       from registry.worktrees w where w.in_flight order by w.updated_at desc, w.id desc limit 51`,
    );
    expect(scanned(plan)).toEqual([]);
    expect(plan.map((node) => node['Index Name'])).toContain('idx_worktrees_in_flight');
  });

  test("an agent's recent work is read off its index", async () => {
    const plan = await nodes(
      `select a.id, w.name, w.slug from (
         select * from registry.agent_activities where agent_id = 'agent-7' order by created_at desc, id desc limit 50
       ) a cross join lateral (
         select w.name, p.slug from registry.worktrees w join registry.projects p on p.id = w.project_id
         where w.id = a.worktree_id limit 1
       ) w`,
    );
    expect(scanned(plan)).toEqual([]);
  });

  test("a project's activities are read off an index, however many others there are", async () => {
    const project = await value<string>(database.owner, `select id from registry.projects where slug = 'project-7'`);
    const plan = await nodes(
      `select a.* from registry.worktrees w
       cross join lateral (select a.id, a.created_at from registry.agent_activities a where a.worktree_id = w.id
         order by a.created_at desc, a.id desc limit 21) a
       where w.project_id = $1 order by a.created_at desc, a.id desc limit 21`,
      [project],
    );
    expect(scanned(plan)).toEqual([]);
  });

  test.each(['updated_at', 'created_at', 'behind_trunk'])(
    'a page of worktrees by %s needs no sort of all',
    async (column) => {
      const where = column === 'behind_trunk' ? 'where w.in_flight' : '';
      const plan = await nodes(
        `select w.id from registry.worktrees w ${where} order by w.${column} desc, w.id desc limit 21`,
      );
      expect(scanned(plan)).toEqual([]);
      expect(plan.map((node) => node['Node Type'])).not.toContain('Sort');
    },
  );
});

describe('search among many projects', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
    await makeDataSet(database.owner, { projects: size(100_000), worktrees: 1, activities: 1 });
  }, 300_000);
  afterAll(() => database.close());

  test('project search uses its trigram index', async () => {
    const client = await database.owner.connect();
    // As the function does it: see search_projects.
    await client.query('begin; set local enable_seqscan = off');
    const plan = await rows<{ 'QUERY PLAN': string }>(
      client,
      `explain select id from registry.projects p where p.active and p.search_text %> 'ledgr 4217' limit 1000`,
    );
    await client.query('rollback');
    client.release();
    const text = plan.map((row) => row['QUERY PLAN']).join('\n');
    expect(text).toContain('idx_projects_search_trgm');
    expect(text).not.toContain('Seq Scan');
  });

  test('the index is used by the function that the API calls', async () => {
    const scans = () =>
      value<number>(
        database.owner,
        `select idx_scan::int from pg_stat_user_indexes where indexrelname = 'idx_projects_search_trgm'`,
      );
    await database.owner.query('select pg_stat_force_next_flush()');
    const before = await scans();
    const found = await rows<{ slug: string }>(
      database.owner,
      `select slug from registry.search_projects('project-77')`,
    );
    await database.owner.query('select pg_stat_force_next_flush()');
    expect(found[0]?.slug).toBe('project-77');
    expect(await scans()).toBeGreaterThan(before);
  });
});
