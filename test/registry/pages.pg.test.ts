import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { value } from '../support/sql.ts';

interface Page {
  nodes: { name: string }[];
  pageInfo: { hasNextPage: boolean; hasPreviousPage: boolean; startCursor: string | null; endCursor: string | null };
}

const orders = ['UPDATED_DESC', 'CREATED_DESC', 'NAME_ASC', 'BEHIND_DESC'] as const;
const total = 53;

describe('pages of worktrees', () => {
  let gateway: TestGateway;
  let project: string;
  beforeAll(async () => {
    gateway = await startGateway();
    const { owner } = gateway.database;
    project = await value<string>(owner, `select registry.register_project('Pages', null)`);
    // Ties on purpose: many rows of one moment and one count, so that only the id tells them apart.
    await owner.query(
      `insert into registry.worktrees (project_id, host_id, type_id, name, branch_name, path, behind_trunk, created_at, updated_at)
       select $1, (select id from registry.hosts where name = 'local'), 1, 'w' || lpad(n::text, 3, '0'), 'feat/x', '/pages/' || n,
         n % 3, now() - make_interval(mins => n % 5), now() - make_interval(mins => n % 4)
       from generate_series(1, $2::int) n`,
      [project, total],
    );
  });
  afterAll(() => gateway.close());

  async function page(args: Record<string, unknown>): Promise<Page> {
    const { worktrees } = await gateway.ask<{ worktrees: Page }>(
      `query ($order: WorktreeOrder, $first: Int, $after: String, $last: Int, $before: String) {
        worktrees(orderBy: $order, first: $first, after: $after, last: $last, before: $before) {
          nodes { name } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
        }
      }`,
      args,
    );
    return worktrees;
  }

  async function walk(
    order: string,
    size: number,
    backwards: boolean,
    between: () => Promise<void> = async () => {},
  ): Promise<string[]> {
    const seen: string[] = [];
    for (let cursor: string | null = null; ; ) {
      const got: Page = await page(
        backwards ? { order, last: size, before: cursor } : { order, first: size, after: cursor },
      );
      const names = got.nodes.map(({ name }) => name);
      if (backwards) seen.unshift(...names);
      else seen.push(...names);
      if (!(backwards ? got.pageInfo.hasPreviousPage : got.pageInfo.hasNextPage)) return seen;
      cursor = backwards ? got.pageInfo.startCursor : got.pageInfo.endCursor;
      await between();
    }
  }

  test.each(orders)('by %s: every row once, the same forwards and backwards, for any page size', async (order) => {
    const whole = (await page({ order, first: 100 })).nodes.map(({ name }) => name);
    expect(new Set(whole).size).toBe(total);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 60 }), fc.boolean(), async (size, backwards) => {
        expect(await walk(order, size, backwards)).toEqual(whole);
      }),
      { numRuns: 8 },
    );
  });

  test('rows that come, change and go meanwhile neither repeat nor hide the others', async () => {
    const { owner } = gateway.database;
    let made = 0;
    const seen = await walk('NAME_ASC', 7, false, async () => {
      made += 1;
      await owner.query(`select registry.register_worktree($1, 'feat', $2, 'feat/x', $3)`, [
        project,
        `w000-${made}`,
        `/pages/new-${made}`,
      ]);
      await owner.query(`update registry.worktrees set ahead_of_trunk = ahead_of_trunk + 1 where name = 'w001'`);
    });
    expect(seen).toEqual(Array.from({ length: total }, (_, n) => `w${String(n + 1).padStart(3, '0')}`));
    await owner.query(`delete from registry.worktrees where name like 'w000-%'`);
  });

  test.each([
    ['forged', { first: 5, after: 'nonsense' }, 'BAD_CURSOR'],
    ['of another order', { order: 'NAME_ASC', first: 5, after: null }, 'BAD_CURSOR'],
    [
      'with a value that is no time',
      { first: 5, after: Buffer.from('["worktree.updated","x","y"]').toString('base64url') },
      'BAD_CURSOR',
    ],
    ['too large a page', { first: 101 }, 'BAD_USER_INPUT'],
    ['an empty page', { first: 0 }, 'BAD_USER_INPUT'],
    ['from both ends', { first: 1, last: 1 }, 'BAD_USER_INPUT'],
  ])('%s is refused', async (_case, args, code) => {
    const after = 'after' in args && args.after === null ? (await page({ first: 1 })).pageInfo.endCursor : undefined;
    const { errors } = await gateway.request(
      `query ($order: WorktreeOrder, $first: Int, $after: String, $last: Int) {
        worktrees(orderBy: $order, first: $first, after: $after, last: $last) { nodes { name } } }`,
      { ...args, ...(after === undefined ? {} : { after }) },
    );
    expect(errors?.[0]?.extensions.code).toBe(code);
  });

  test('nested pages go on by their own cursors, and edges agree with nodes', async () => {
    interface Nested {
      project: {
        worktrees: {
          edges: { cursor: string; node: { name: string } }[];
          nodes: { name: string }[];
          pageInfo: Page['pageInfo'];
        };
      };
    }
    const query = `query ($id: ID!, $after: String) { project(by: { id: $id }) { worktrees(first: 20, after: $after) {
      edges { cursor node { name } } nodes { name } pageInfo { hasNextPage endCursor } } } }`;
    const seen: string[] = [];
    for (let after: string | null = null; ; ) {
      const { worktrees }: Nested['project'] = (await gateway.ask<Nested>(query, { id: project, after })).project;
      expect(worktrees.edges.map(({ node }) => node)).toEqual(worktrees.nodes);
      seen.push(...worktrees.nodes.map(({ name }) => name));
      if (!worktrees.pageInfo.hasNextPage) break;
      after = worktrees.edges.at(-1)?.cursor ?? null;
    }
    expect(new Set(seen).size).toBe(total);
  });
});
