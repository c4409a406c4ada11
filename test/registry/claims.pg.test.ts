import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, createClient } from '../../src/client/client.ts';
import { graphql } from '../../src/client/generated/gql.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { value } from '../support/sql.ts';

const claim = graphql(`
  mutation ClaimForTest($input: ClaimWorktreeInput!) {
    claimWorktree(input: $input) {
      claim { agentId session fence expiresAt }
      worktree { agentId claim { fence } }
      userErrors { code message details }
    }
  }
`);

const renew = graphql(`
  mutation RenewForTest($input: RenewClaimInput!) {
    renewClaim(input: $input) { claim { fence expiresAt } userErrors { code } }
  }
`);

const release = graphql(`
  mutation ReleaseForTest($input: ReleaseWorktreeInput!) {
    releaseWorktree(input: $input) { worktree { claim { fence } } userErrors { code } }
  }
`);

const claimed = graphql(`
  query ClaimedForTest($claimed: Boolean!) {
    worktrees(filter: { claimed: $claimed }) { nodes { name } }
  }
`);

let gateway: TestGateway;
let client: Client;
let tree: string;
beforeAll(async () => {
  gateway = await startGateway();
  client = createClient(gateway);
  const { owner } = gateway.database;
  const project = await value<string>(owner, `select registry.register_project('Claims', null)`);
  tree = await value<string>(owner, `select registry.register_worktree($1, 'feat', 'claimed', 'feat/c', '/claims/c')`, [
    project,
  ]);
});
afterAll(() => gateway.close());

test('a claim is a lease: held, renewed, refused to others with its holder, released, taken anew with a higher fence', async () => {
  const worktree = { id: tree };
  const first = (await client.request(claim, { input: { worktree, agentId: 'one', session: 's1' } })).claimWorktree;
  expect(first).toMatchObject({
    claim: { fence: '1', session: 's1' },
    worktree: { agentId: 'one', claim: { fence: '1' } },
  });
  expect((await client.request(claimed, { claimed: true })).worktrees.nodes).toEqual([{ name: 'claimed' }]);

  const again = (await client.request(claim, { input: { worktree, agentId: 'one', session: 's1', ttlSeconds: 600 } }))
    .claimWorktree;
  expect(again.claim?.fence).toBe('1');
  expect(Date.parse(again.claim?.expiresAt ?? '')).toBeGreaterThan(Date.parse(first.claim?.expiresAt ?? ''));

  for (const other of [{ agentId: 'two' }, { agentId: 'one', session: 's2' }]) {
    const { userErrors } = (await client.request(claim, { input: { worktree, ...other } })).claimWorktree;
    expect(userErrors).toMatchObject([{ code: 'CLAIMED', details: { agentId: 'one', session: 's1' } }]);
  }

  expect((await client.request(renew, { input: { worktree, fence: '1' } })).renewClaim.claim?.fence).toBe('1');
  expect((await client.request(renew, { input: { worktree, fence: '7' } })).renewClaim.userErrors).toEqual([
    { code: 'FENCED' },
  ]);
  expect((await client.request(release, { input: { worktree, fence: '7' } })).releaseWorktree.userErrors).toEqual([
    { code: 'FENCED' },
  ]);
  expect(
    (await client.request(release, { input: { worktree, fence: '1' } })).releaseWorktree.worktree?.claim,
  ).toBeNull();
  expect((await client.request(claimed, { claimed: true })).worktrees.nodes).toEqual([]);

  expect((await client.request(claim, { input: { worktree, agentId: 'two' } })).claimWorktree.claim?.fence).toBe('2');
  const taken = (await client.request(claim, { input: { worktree, agentId: 'three', takeover: true } })).claimWorktree;
  expect(taken.claim).toMatchObject({ agentId: 'three', fence: '3' });
});

test.each([0, -5, 86_401, 2_147_483_647])('a time to live of %d seconds is refused', async (ttlSeconds) => {
  const input = { worktree: { id: tree }, agentId: 'x', ttlSeconds };
  expect((await client.request(claim, { input })).claimWorktree.userErrors[0]?.code).toBe('INVALID');
});

test('what is gone or merged cannot be claimed, and merging ends the claim', async () => {
  const { owner } = gateway.database;
  await owner.query('select registry.mark_worktree_merged($1)', [tree]);
  expect(await value(owner, 'select agent_id from registry.worktree_claims where worktree_id = $1', [tree])).toBeNull();
  const { userErrors } = (await client.request(claim, { input: { worktree: { id: tree }, agentId: 'late' } }))
    .claimWorktree;
  expect(userErrors[0]?.code).toBe('INVALID');
});
