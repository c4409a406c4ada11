import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeDataSet } from '../support/data-set.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
  await makeDataSet(gateway.database.owner, { projects: 20, worktrees: 400, activities: 4_000 });
});
afterAll(() => gateway.close());

async function statementsOf(query: string, variables: Record<string, unknown>): Promise<number> {
  await gateway.ask(query, variables);
  gateway.takeStatements();
  await gateway.ask(query, variables);
  return gateway.takeStatements().filter(({ query: { sql } }) => !/auth\.(authenticate|touch_token)/.test(sql)).length;
}

test('a page of work in flight with everything on it is one statement', async () => {
  const query = `query ($n: Int!) { inFlightWork(first: $n) { nodes {
    name baseBranch project { name } host { name } type { name } gitState { aheadOfTrunk } activities(first: 3) { nodes { description } pageInfo { hasNextPage } }
  } } }`;
  expect(await statementsOf(query, { n: 100 })).toBe(1);
});

test('a three-level query over 100 worktrees sends as many statements as one over 5', async () => {
  const query = `query ($n: Int!) { worktrees(first: $n) { nodes {
    name claim { agentId } lastActivityAt changedFiles(first: 2) { nodes { path } }
    project { name stats { inFlightWorktrees } owner { handle } members { role } links { rel } parents { slug } children(first: 2) { nodes { slug } } workingPath
      worktrees(first: 2) { nodes { name activities(first: 2, filter: { type: [CREATED] }) { nodes { description worktree { name } } } } } }
    host { name worktrees(first: 2) { nodes { name } } }
    activities(first: 2, filter: { agentId: "agent-1" }) { nodes { description principal { handle } } }
  } } }`;
  const few = await statementsOf(query, { n: 5 });
  expect(await statementsOf(query, { n: 100 })).toBe(few);
  expect(few).toBeLessThan(20);
});

test('a report of git state is one statement, and a batch of activities with their answers two', async () => {
  const { worktrees } = await gateway.ask<{ worktrees: { nodes: { id: string }[] } }>(
    '{ worktrees(first: 100) { nodes { id } } }',
  );
  const report =
    'mutation ($i: UpdateWorktreeGitStateInput!) { updateWorktreeGitState(input: $i) { changed worktree { name status } } }';
  expect(await statementsOf(report, { i: { worktree: { id: worktrees.nodes[0]?.id }, aheadOfTrunk: 7 } })).toBe(1);
  const log = 'mutation ($i: LogActivitiesInput!) { logActivities(input: $i) { activities { id } } }';
  const activities = worktrees.nodes.map(({ id }) => ({
    agentId: 'a',
    worktree: { id },
    type: 'OTHER',
    description: 'x',
  }));
  expect(await statementsOf(log, { i: { activities } })).toBe(2);
});
