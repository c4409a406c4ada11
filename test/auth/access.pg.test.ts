import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ensureLocalToken } from '../../src/auth/local-token.ts';
import { operations } from '../../src/auth/operations.ts';
import { schema } from '../../src/graphql/schema.ts';
import { createTestDatabase } from '../support/database.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { rows, value } from '../support/sql.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.close());

interface Made {
  createPrincipal: { principal: { id: string; uuid: string } | null; userErrors: { code: string }[] };
}

async function makePrincipal(handle: string, kind = 'USER', scopes = ['REGISTRY_READ', 'REGISTRY_WRITE', 'CHAT']) {
  const { createPrincipal } = await gateway.ask<Made>(
    'mutation ($i: CreatePrincipalInput!) { createPrincipal(input: $i) { principal { id uuid } userErrors { code } } }',
    { i: { kind, handle, scopes } },
  );
  if (createPrincipal.principal === null) throw new Error(JSON.stringify(createPrincipal.userErrors));
  return createPrincipal.principal;
}

const createToken =
  'mutation ($i: CreateTokenInput!) { createToken(input: $i) { token record { id } userErrors { code message } } }';
interface MadeToken {
  createToken: { token: string | null; record: { id: string } | null; userErrors: { code: string; message: string }[] };
}

async function makeToken(input: object, token?: string) {
  const { createToken: made } = await gateway.ask<MadeToken>(
    createToken,
    { i: { name: 'test', scopes: ['REGISTRY_READ'], ...input } },
    token === undefined ? {} : { token },
  );
  return made;
}

async function userWith(handle: string, scopes: string[], kind = 'USER'): Promise<{ id: string; token: string }> {
  const { id } = await makePrincipal(handle, kind, scopes);
  const { token } = await makeToken({ principal: id, scopes });
  if (token === null) throw new Error('no token');
  return { id, token };
}

describe('a request', () => {
  const query = '{ projects { nodes { name } } }';
  const statements = () =>
    gateway
      .takeStatements()
      .map((event) => event.query.sql)
      .filter((sql) => !/auth\.(authenticate|touch_token)/.test(sql));

  test.each([
    ['without a token', null],
    ['with a wrong one', `tl_${'w'.repeat(43)}`],
    ['with something that is none', 'nonsense'],
  ])('%s is UNAUTHENTICATED and touches no table', async (_case, token) => {
    gateway.takeStatements();
    const answer = await gateway.request(query, {}, { token });
    expect(answer.status).toBe(401);
    expect(answer.errors?.[0]?.extensions.code).toBe('UNAUTHENTICATED');
    expect(statements()).toEqual([]);
  });

  test('with too few scopes is FORBIDDEN, says which, and touches no table', async () => {
    const reader = await userWith('reader', ['REGISTRY_READ']);
    await gateway.request(query, {}, { token: reader.token });
    gateway.takeStatements();
    const answer = await gateway.request(
      'mutation { registerProject(input: { name: "x" }) { created } }',
      {},
      { token: reader.token },
    );
    expect(answer.errors?.[0]).toMatchObject({
      extensions: { code: 'FORBIDDEN' },
      message: expect.stringContaining('registry:write'),
    });
    expect(statements()).toEqual([]);
  });

  test("with an expired, a revoked or a disabled principal's token is UNAUTHENTICATED", async () => {
    const { id, token } = await userWith('soon-gone', ['REGISTRY_READ']);
    const own = await makeToken({}, token);
    await gateway.ask(
      'mutation ($i: ID!) { revokeToken(input: { token: $i }) { userErrors { code } } }',
      { i: own.record?.id },
      { token },
    );
    expect((await gateway.request(query, {}, { token: own.token })).status).toBe(401);
    const short = await makeToken({ expiresAt: new Date(Date.now() + 60_000).toISOString() }, token);
    await gateway.database.owner.query(
      `update auth.tokens set expires_at = now() - interval '1 second' where expires_at is not null`,
    );
    expect((await gateway.request(query, {}, { token: short.token })).status).toBe(401);
    await gateway.ask('mutation ($i: ID!) { disablePrincipal(input: { principal: $i }) { userErrors { code } } }', {
      i: id,
    });
    expect((await gateway.request(query, {}, { token })).status).toBe(401);
    await gateway.ask('mutation ($i: ID!) { enablePrincipal(input: { principal: $i }) { userErrors { code } } }', {
      i: id,
    });
    expect((await gateway.request(query, {}, { token })).status).toBe(200);
  });
});

test('every root field has a scope, and readers see the same table', async () => {
  for (const type of [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()]) {
    const table: Record<string, string | null> = operations[type?.name as keyof typeof operations];
    expect(Object.keys(table).sort()).toEqual(Object.keys(type?.getFields() ?? {}).sort());
  }
  const text = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8');
  const listed = [...text.matchAll(/^\|\s*`(\w+)`\s*\|\s*(?:`([\w:]+)`|any)\s*\|/gm)].map(([, field, scope]) => [
    field,
    scope ?? null,
  ]);
  const expected = Object.values(operations).flatMap((table) => Object.entries(table as Record<string, string | null>));
  expect(listed.sort()).toEqual(expected.sort());
});

describe('tokens', () => {
  test('never do more than their principal, nor than the token that made them', async () => {
    const { id, token } = await userWith('limited', ['REGISTRY_READ', 'REGISTRY_WRITE']);
    expect((await makeToken({ principal: id, scopes: ['MAINTENANCE'] })).userErrors[0]?.code).toBe('FORBIDDEN');
    const narrow = await makeToken({ scopes: ['REGISTRY_READ'] }, token);
    expect((await makeToken({ scopes: ['REGISTRY_WRITE'] }, narrow.token ?? '')).userErrors[0]?.code).toBe('FORBIDDEN');
    await gateway.ask(
      'mutation ($i: ID!) { updatePrincipal(input: { principal: $i, scopes: [REGISTRY_READ] }) { userErrors { code } } }',
      { i: id },
    );
    const viewer = await gateway.ask<{ viewer: { scopes: string[] } }>('{ viewer { scopes } }', {}, { token });
    expect(viewer.viewer.scopes).toEqual(['REGISTRY_READ']);
  });

  test('are made for others by admin only, and with chat only as the first', async () => {
    const { id, token } = await userWith('chatty', ['REGISTRY_READ', 'CHAT']);
    const other = await makePrincipal('other');
    expect((await makeToken({ principal: other.id }, token)).userErrors[0]?.code).toBe('FORBIDDEN');
    expect((await makeToken({ principal: id, scopes: ['CHAT'] })).userErrors[0]?.code).toBe('FORBIDDEN');
    expect((await makeToken({ scopes: ['CHAT'] }, token)).token).toMatch(/^tl_/);
  });

  test('that expire in the past are refused, and admins cannot shut themselves out', async () => {
    expect((await makeToken({ expiresAt: '2020-01-01T00:00:00Z' })).userErrors[0]?.code).toBe('INVALID');
    const { viewer } = await gateway.ask<{ viewer: { principal: { id: string } } }>('{ viewer { principal { id } } }');
    const { disablePrincipal } = await gateway.ask<{ disablePrincipal: { userErrors: { code: string }[] } }>(
      'mutation ($i: ID!) { disablePrincipal(input: { principal: $i }) { userErrors { code } } }',
      { i: viewer.principal.id },
    );
    expect(disablePrincipal.userErrors[0]?.code).toBe('INVALID');
  });
});

test('an agent acts only as itself', async () => {
  const agent = await userWith('agent-7', ['REGISTRY_READ', 'REGISTRY_WRITE'], 'AGENT');
  const project = await value<string>(gateway.database.owner, `select registry.register_project('Agents', null)`);
  const tree = await value<string>(
    gateway.database.owner,
    `select registry.register_worktree($1, 'feat', 'a', 'feat/a', '/agents/a')`,
    [project],
  );
  const log = (agentId: string) =>
    gateway.ask<{
      logActivities: { activities: ({ agentId: string } | null)[]; userErrors: { code: string; path: string[] }[] };
    }>(
      'mutation ($i: LogActivitiesInput!) { logActivities(input: $i) { activities { agentId } userErrors { code path } } }',
      { i: { activities: [{ agentId, worktree: { id: tree }, type: 'OTHER', description: 'x' }] } },
      { token: agent.token },
    );
  expect((await log('agent-7')).logActivities.activities).toEqual([{ agentId: 'agent-7' }]);
  expect((await log('agent-8')).logActivities).toEqual({
    activities: [null],
    userErrors: [{ code: 'FORBIDDEN', path: ['input', 'activities', '0'] }],
  });
});

describe('a login that did not take on the runtime role', () => {
  test('is bound all the same: it is no administrator in SQL', async () => {
    const { owner } = gateway.database;
    const made = await value<boolean>(owner, `select count(*) = 0 from pg_roles where rolname = 'treeline_plain'`);
    if (made) await owner.query('create role treeline_plain nologin');
    await owner.query('grant treeline_runtime to treeline_plain; grant treeline_plain to current_user');
    const client = await owner.connect();
    try {
      await client.query('begin; set local role treeline_plain');
      expect(await value(client, 'select auth.is_request() and not auth.is_admin()')).toBe(true);
    } finally {
      await client.query('rollback');
      client.release();
      if (made) await owner.query('drop role treeline_plain');
    }
    expect(await value(owner, 'select auth.is_request()')).toBe(false);
  });
});

describe('the runtime role, in SQL', () => {
  async function as<T extends object>(settings: Record<string, string>, sql: string): Promise<T[]> {
    const client = await gateway.database.runtime.connect();
    try {
      await client.query('begin');
      for (const [name, text] of Object.entries(settings))
        await client.query('select set_config($1, $2, true)', [name, text]);
      return await rows<T>(client, sql);
    } finally {
      await client.query('rollback');
      client.release();
    }
  }

  test('sees its own tokens only, and no hash of any', async () => {
    const one = await userWith('sql-one', ['REGISTRY_READ']);
    await userWith('sql-two', ['REGISTRY_READ']);
    const uuid = await value<string>(gateway.database.owner, `select id from auth.principals where handle = 'sql-one'`);
    expect(one.id).not.toBe('');
    const seen = await as<{ principal_id: string }>(
      { 'app.current_user_id': uuid },
      'select distinct principal_id from auth.tokens',
    );
    expect(seen).toEqual([{ principal_id: uuid }]);
    await expect(as({ 'app.current_user_id': uuid }, 'select hash from auth.tokens')).rejects.toThrow(
      /permission denied/,
    );
    await expect(as({ 'app.current_user_id': uuid }, 'select external_id from auth.principals')).rejects.toThrow(
      /permission denied/,
    );
  });

  test.each(['', 'nonsense'])('with the setting %j sees nothing and meets no error', async (setting) => {
    for (const table of ['principals', 'tokens', 'project_members', 'spaces', 'space_members']) {
      expect(await as({ 'app.current_user_id': setting }, `select 1 from auth.${table}`)).toEqual([]);
    }
  });

  test.each([
    "update auth.principals set scopes = '{admin}'",
    "insert into auth.spaces (id, name) values ('x', 'x')",
    'delete from registry.projects',
    "update registry.worktrees set name = 'x'",
    'truncate registry.agent_activities',
    'select * from registry.agent_activities_default',
  ])('may not %s', async (statement) => {
    await expect(as({}, statement)).rejects.toThrow(/permission denied/);
  });
});

test('spaces belong to their owners, ids hold no comma, and the last owner stays', async () => {
  const [owner, guest] = [await userWith('space-owner', ['SYNC']), await userWith('space-guest', ['SYNC'])];
  const save = (id: string, token: string) =>
    gateway.ask<{
      saveSpace: {
        space: { members: { role: string; principal: { handle: string } }[] } | null;
        userErrors: { code: string }[];
      };
    }>(
      'mutation ($i: SaveSpaceInput!) { saveSpace(input: $i) { space { id members { role principal { handle } } } userErrors { code } } }',
      { i: { id, name: 'A space' } },
      { token },
    );
  const member = (principal: string, role: string | null, token: string) =>
    gateway.ask<{ setSpaceMember: { userErrors: { code: string }[] } }>(
      'mutation ($i: SetSpaceMemberInput!) { setSpaceMember(input: $i) { userErrors { code } } }',
      { i: { space: 'team', principal, role } },
      { token },
    );
  expect((await save('a,b', owner.token)).saveSpace.userErrors[0]?.code).toBe('INVALID');
  expect((await save('team', owner.token)).saveSpace.space?.members).toEqual([
    { role: 'OWNER', principal: { handle: 'space-owner' } },
  ]);
  expect((await save('team', guest.token)).saveSpace.userErrors[0]?.code).toBe('NOT_FOUND');
  expect((await member(guest.id, 'VIEWER', owner.token)).setSpaceMember.userErrors).toEqual([]);
  expect((await save('team', guest.token)).saveSpace.userErrors[0]?.code).toBe('FORBIDDEN');
  expect((await member(owner.id, null, owner.token)).setSpaceMember.userErrors[0]?.code).toBe('INVALID');
  const { spaces } = await gateway.ask<{ spaces: { id: string }[] }>('{ spaces { id } }', {}, { token: guest.token });
  expect(spaces).toEqual([{ id: 'team' }]);
});

test('projects: only an owner changes owner and members and deletes; an ownerless one needs admin', async () => {
  const [owner, other] = [
    await userWith('p-owner', ['REGISTRY_READ', 'REGISTRY_WRITE']),
    await userWith('p-other', ['REGISTRY_READ', 'REGISTRY_WRITE']),
  ];
  const make = async (token: string, name: string) =>
    (
      await gateway.ask<{ registerProject: { project: { id: string } } }>(
        'mutation ($n: String!) { registerProject(input: { name: $n }) { project { id } } }',
        { n: name },
        { token },
      )
    ).registerProject.project.id;
  const mine = await make(owner.token, 'Mine');
  const attempt = async (mutation: string, variables: object, token: string) => {
    const data = await gateway.ask<Record<string, { userErrors: { code: string }[] }>>(mutation, variables as never, {
      token,
    });
    return Object.values(data)[0]?.userErrors[0]?.code ?? null;
  };
  const setMember = 'mutation ($i: SetProjectMemberInput!) { setProjectMember(input: $i) { userErrors { code } } }';
  const remove = 'mutation ($i: DeleteProjectInput!) { deleteProject(input: $i) { userErrors { code } } }';
  expect(
    await attempt(setMember, { i: { project: { id: mine }, principal: other.id, role: 'EDITOR' } }, other.token),
  ).toBe('FORBIDDEN');
  for (const token of [other.token, gateway.token]) {
    expect(await attempt(remove, { i: { project: { id: mine }, slug: 'mine' } }, token)).toBe('FORBIDDEN');
  }
  expect(
    await attempt(setMember, { i: { project: { id: mine }, principal: other.id, role: 'OWNER' } }, owner.token),
  ).toBeNull();
  expect(await attempt(remove, { i: { project: { id: mine }, slug: 'wrong' } }, other.token)).toBe('INVALID');
  expect(await attempt(remove, { i: { project: { id: mine }, slug: 'mine' } }, other.token)).toBeNull();
  const nobodys = await value<string>(gateway.database.owner, `select registry.register_project('Nobody''s', null)`);
  expect(await attempt(remove, { i: { project: { id: nobodys }, slug: 'nobody-s' } }, owner.token)).toBe('FORBIDDEN');
  expect(await attempt(remove, { i: { project: { id: nobodys }, slug: 'nobody-s' } }, gateway.token)).toBeNull();
});

test('the local token: private, kept, registered again in a new database, and never brought back once revoked', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'treeline-token-'));
  const file = join(folder, 'data', 'token');
  const [first, second] = [await createTestDatabase(), await createTestDatabase()];
  try {
    const token = await ensureLocalToken({ ownerPool: first.owner, file });
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await ensureLocalToken({ ownerPool: first.owner, file })).toBe(token);
    expect(await ensureLocalToken({ ownerPool: second.owner, file })).toBe(token);
    await first.owner.query('update auth.tokens set revoked_at = now()');
    const next = await ensureLocalToken({ ownerPool: first.owner, file });
    expect(next).not.toBe(token);
    expect((await readFile(file, 'utf8')).trim()).toBe(next);
  } finally {
    await Promise.all([first.close(), second.close()]);
    await rm(folder, { recursive: true });
  }
});
