import { PassThrough } from 'node:stream';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';

describe('errors that nobody foresaw', () => {
  const stream = new PassThrough();
  let logged = '';
  stream.on('data', (chunk: Buffer) => {
    logged += chunk.toString();
  });
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startGateway({ log: pino({ level: 'trace' }, stream) });
  });
  afterAll(() => gateway.close());

  test('are masked, and logged once with the id that the client got', async () => {
    await gateway.database.owner.query('alter table registry.hosts rename column platform to hidden');
    try {
      const { data, errors } = await gateway.request('{ hosts { nodes { platform } } }');
      expect(data).toBeNull();
      const [error] = errors ?? [];
      expect(error?.message).toBe('Something went wrong here. It was logged.');
      expect(error?.extensions.code).toBe('INTERNAL');
      const lines = logged.split('\n').filter((line) => line.includes('"unexpected error"'));
      expect(lines).toHaveLength(1);
      expect(lines[0]).toContain(error?.extensions.requestId);
      expect(JSON.stringify(errors)).not.toMatch(/platform.*exist|select/i);
    } finally {
      await gateway.database.owner.query('alter table registry.hosts rename column hidden to platform');
    }
  });

  test('a bad document and bad variables say what is wrong', async () => {
    const unknown = await gateway.request('{ nothingLikeThis }');
    expect(unknown.errors?.[0]).toMatchObject({ extensions: { code: 'BAD_USER_INPUT' } });
    const odd = await gateway.request('{ viewer { scopes } } "more than"');
    expect(odd.errors?.[0]).toMatchObject({ extensions: { code: 'BAD_USER_INPUT' } });
    const bad = await gateway.request('query ($id: UUID!) { project(by: { id: $id }) { name } }', { id: 'x' });
    expect(bad.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
    const time = await gateway.request('query ($t: DateTime) { activities(filter: { since: $t }) { nodes { id } } }', {
      t: '2026-02-31T00:00:00Z',
    });
    expect(time.errors?.[0]?.message).toContain('a time that exists');
  });

  test.each<[string, Record<string, unknown>, RegExp]>([
    ['query ($n: Int!) { projects(first: $n) { nodes { id } } }', { n: 'x' }, /"\$n".*Int cannot represent/],
    ['query ($n: Int!) { projects(first: $n) { nodes { id } } }', {}, /"\$n".*required/],
    ['query ($by: ProjectRef!) { project(by: $by) { id } }', { by: {} }, /exactly one/],
    ['query ($by: ProjectRef!) { project(by: $by) { id } }', { by: { id: 'a', slug: 'b' } }, /exactly one/],
    [
      'mutation ($i: AppendMessagesInput!) { appendMessages(input: $i) { insertedCount } }',
      { i: { project: { slug: 'p' }, messages: [{ messageId: 'm', role: 'USER', content: null }] } },
      /messages\[0\]\.content|content/,
    ],
    ['query ($id: ID!) { node(id: $id) { id } }', { id: Buffer.from('Project:zzz').toString('base64url') }, /id/],
    [
      'query ($id: ID!) { node(id: $id) { id } }',
      { id: Buffer.from('Nothing:00000000-0000-4000-8000-000000000000').toString('base64url') },
      /Nothing has the id/,
    ],
  ])('%s with %o is the caller’s to mend', async (query, variables, message) => {
    const { errors } = await gateway.request(query, variables);
    expect(errors?.[0]).toMatchObject({
      message: expect.stringMatching(message),
      extensions: { code: 'BAD_USER_INPUT' },
    });
  });

  test('what PostgreSQL cannot store is refused by name', async () => {
    const { data } = await gateway.request<Record<string, { userErrors: { code: string }[] }>>(
      `mutation ($name: String!, $metadata: JSON) {
        registerProject(input: { name: $name }) { userErrors { code } }
        cleanupOldActivities(input: { days: 2147483647 }) { userErrors { code } }
        updateProject(input: { project: { slug: "none" }, metadata: $metadata }) { userErrors { code } }
      }`,
      { name: 'a\u0000b', metadata: { half: '\ud800' } },
    );
    expect(data.updateProject?.userErrors).toEqual([{ code: 'INVALID' }]);
    expect(data.registerProject?.userErrors).toEqual([{ code: 'INVALID' }]);
    expect(data.cleanupOldActivities?.userErrors).toEqual([{ code: 'INVALID' }]);
  });

  test('tokens stand in no log line', async () => {
    await gateway.request('{ viewer { scopes } }');
    await gateway.request('{ viewer { scopes } }', {}, { token: `tl_${'A'.repeat(43)}` });
    expect(logged).not.toContain(gateway.token);
    expect(logged).not.toContain('A'.repeat(43));
  });
});
