import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.close());

interface Refused {
  userErrors: { code: string; path: string[] }[];
}
const refused = 'userErrors { code path }';

async function mutate<Payload>(field: string, type: string, input: object, selection: string, token?: string) {
  const data = await gateway.ask<Record<string, Payload & Refused>>(
    `mutation ($i: ${type}!) { ${field}(input: $i) { ${selection} ${refused} } }`,
    { i: input },
    token === undefined ? {} : { token },
  );
  const payload = data[field];
  if (payload === undefined) throw new Error(`no ${field} in the answer`);
  return payload;
}

const makePrincipal = (handle: string, scopes = ['REGISTRY_READ']) =>
  mutate<{ principal: { id: string } | null }>(
    'createPrincipal',
    'CreatePrincipalInput',
    { kind: 'USER', handle, scopes },
    'principal { id }',
  );

async function userWith(handle: string, scopes: string[]): Promise<{ id: string; token: string; record: string }> {
  const id = (await makePrincipal(handle, scopes)).principal?.id ?? '';
  const { token, record } = await mutate<{ token: string; record: { id: string } }>(
    'createToken',
    'CreateTokenInput',
    { principal: id, name: 'test', scopes },
    'token record { id }',
  );
  return { id, token, record: record.id };
}

describe('principals', () => {
  type Page = {
    principals: { nodes: { handle: string }[]; pageInfo: { endCursor: string; startCursor: string } };
  };
  const page = (args: string) =>
    gateway.ask<Page>(`{ principals(${args}) { nodes { handle } pageInfo { startCursor endCursor } } }`);
  const handlesOf = ({ principals }: Page) => principals.nodes.map(({ handle }) => handle);

  test('are paged by handle, forwards and backwards', async () => {
    for (const handle of ['page-b', 'page-a', 'page-c']) await makePrincipal(handle);
    const all = handlesOf(await page('first: 100'));
    expect(all).toEqual([...all].sort());
    const two = await page('first: 2');
    const next = await page(`first: 100, after: "${two.principals.pageInfo.endCursor}"`);
    expect([...handlesOf(two), ...handlesOf(next)]).toEqual(all);
    const lastOne = await page('last: 1');
    const before = await page(`last: 2, before: "${lastOne.principals.pageInfo.startCursor}"`);
    expect([...handlesOf(before), ...handlesOf(lastOne)]).toEqual(all.slice(-3));
  });

  test('are listed for admin only', async () => {
    const { token } = await userWith('curious', ['REGISTRY_READ', 'REGISTRY_WRITE', 'MAINTENANCE']);
    const { errors } = await gateway.request('{ principals { nodes { handle } } }', {}, { token });
    expect(errors?.[0]?.extensions.code).toBe('FORBIDDEN');
  });

  test('have one handle each, and the refusal says which field is to blame', async () => {
    await makePrincipal('taken');
    expect(await makePrincipal('TAKEN')).toEqual({
      principal: null,
      userErrors: [{ code: 'CONFLICT', path: ['input', 'handle'] }],
    });
    expect((await makePrincipal('not a handle')).userErrors).toEqual([{ code: 'INVALID', path: ['input', 'handle'] }]);
  });

  test('that nobody knows are NOT_FOUND, whatever the id looks like', async () => {
    for (const principal of ['4b0f8a1e-0000-4000-8000-000000000000', 'nonsense']) {
      const { userErrors } = await mutate<object>('disablePrincipal', 'DisablePrincipalInput', { principal }, '');
      expect(userErrors[0]?.code).toBe('NOT_FOUND');
    }
  });
});

describe('a token in use', () => {
  const status = async (token: string) => (await gateway.request('{ viewer { scopes } }', {}, { token })).status;

  test.each<[string, (user: { id: string; record: string }) => Promise<unknown>]>([
    ['revokeToken', ({ record }) => mutate('revokeToken', 'RevokeTokenInput', { token: record }, '')],
    ['disablePrincipal', ({ id }) => mutate('disablePrincipal', 'DisablePrincipalInput', { principal: id }, '')],
  ])('is refused from the answer to %s on', async (mutation, end) => {
    const user = await userWith(`ended-by-${mutation.toLowerCase()}`, ['REGISTRY_READ']);
    expect(await status(user.token)).toBe(200);
    await end(user);
    expect(await status(user.token)).toBe(401);
  });

  test("of another principal is neither shown nor ended: to others it doesn't exist", async () => {
    const [mine, theirs] = [await userWith('mine', ['REGISTRY_READ']), await userWith('theirs', ['REGISTRY_READ'])];
    const answer = await mutate(
      'revokeToken',
      'RevokeTokenInput',
      { token: theirs.record },
      'token { id }',
      mine.token,
    );
    expect(answer).toMatchObject({ token: null, userErrors: [{ code: 'NOT_FOUND' }] });
    const { viewer } = await gateway.ask<{ viewer: { tokens: { id: string }[] } }>(
      '{ viewer { tokens { id } } }',
      {},
      { token: mine.token },
    );
    expect(viewer.tokens).toEqual([{ id: mine.record }]);
    expect(await status(theirs.token)).toBe(200);
  });
});

test('spaces with their members and those principals take as many statements for ten as for one', async () => {
  const { token } = await userWith('sociable', ['SYNC']);
  const guest = await userWith('guest', ['SYNC']);
  const join = async (id: string) => {
    await mutate('saveSpace', 'SaveSpaceInput', { id, name: id }, '', token);
    await mutate(
      'setSpaceMember',
      'SetSpaceMemberInput',
      { space: id, principal: guest.id, role: 'VIEWER' },
      '',
      token,
    );
  };
  const count = async () => {
    gateway.takeStatements();
    const query = '{ spaces { id members { role principal { handle } } } }';
    const { spaces } = await gateway.ask<{ spaces: { members: unknown[] }[] }>(query, {}, { token });
    expect(spaces.every(({ members }) => members.length === 2)).toBe(true);
    const sql = gateway.takeStatements().map((event) => event.query.sql);
    return {
      spaces: spaces.length,
      statements: sql.filter((text) => !/auth\.(authenticate|touch_token)/.test(text)).length,
    };
  };
  await join('space-0');
  expect(await count()).toEqual({ spaces: 1, statements: 3 });
  for (let n = 1; n < 10; n += 1) await join(`space-${n}`);
  expect(await count()).toEqual({ spaces: 10, statements: 3 });
});
