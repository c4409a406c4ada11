import { request as httpRequest } from 'node:http';
import { serverAudits } from 'graphql-http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.close());

describe('GraphQL over HTTP, by the official audit', () => {
  const audits = serverAudits({
    url: () => `${gateway.url}/graphql`,
    fetchFn: (url: string, init: RequestInit = {}) =>
      fetch(url, { ...init, headers: { ...(init.headers as object), authorization: `Bearer ${gateway.token}` } }),
  });
  test.each(audits.map((audit) => [audit.name, audit] as const))('%s', async (_name, audit) => {
    const result = await audit.fn();
    if (result.status !== 'ok') throw new Error(`${result.status}: ${result.reason}`);
  });
});

/** fetch sets Host itself; this does not. */
function raw(options: { path?: string; method?: string; headers?: Record<string, string>; chunks?: string[] }) {
  const { hostname, port } = new URL(gateway.url);
  return new Promise<{ status: number; body: string; headers: Record<string, unknown> }>((resolve, reject) => {
    const { path = '/graphql', method = 'GET', headers = {}, chunks = [] } = options;
    const request = httpRequest({ hostname, port, path, method, headers }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body, headers: response.headers }));
    });
    request.on('error', reject);
    for (const chunk of chunks) request.write(chunk);
    request.end();
  });
}

describe('who may come in', () => {
  test('a Host that is not ours is refused, whatever token comes with it', async () => {
    const answer = await raw({ headers: { host: 'evil.example', authorization: `Bearer ${gateway.token}` } });
    expect(answer).toMatchObject({ status: 403 });
    expect(answer.body).toContain('TREELINE_ALLOWED_HOSTS');
  });

  test('an Origin of another site is refused; our own page may call', async () => {
    const headers = { authorization: `Bearer ${gateway.token}`, 'content-type': 'application/json' };
    const chunks = ['{"query":"{ viewer { scopes } }"}'];
    const from = (origin: string) => raw({ method: 'POST', headers: { ...headers, origin }, chunks });
    expect(await from('https://evil.example')).toMatchObject({ status: 403 });
    expect(await from('null')).toMatchObject({ status: 403 });
    expect(await from(gateway.url)).toMatchObject({ status: 200 });
  });

  test('hosts and origins that the operator names are let in, with what a browser needs', async () => {
    const open = await startGateway({
      database: gateway.database,
      environment: { TREELINE_ALLOWED_ORIGINS: 'https://board.example', TREELINE_ALLOWED_HOSTS: 'treeline.example' },
    });
    try {
      const preflight = await fetch(`${open.url}/graphql`, {
        method: 'OPTIONS',
        headers: { origin: 'https://board.example' },
      });
      expect(preflight.status).toBe(204);
      expect(preflight.headers.get('access-control-allow-origin')).toBe('https://board.example');
    } finally {
      await open.close();
    }
  });

  test("GraphiQL's page is open, and its queries are not", async () => {
    const page = await fetch(`${gateway.url}/graphql`, { headers: { accept: 'text/html' } });
    expect(page.status).toBe(200);
    expect((await gateway.request('{ viewer { scopes } }', {}, { token: null })).status).toBe(401);
  });
});

describe('limits', () => {
  const code = async (query: string, variables: Record<string, unknown> = {}) => {
    const { errors } = await gateway.request(query, variables);
    return errors?.[0]?.extensions.code;
  };

  test('a body is cut at the first byte over, also when its length was not declared', async () => {
    const headers = { authorization: `Bearer ${gateway.token}`, 'content-type': 'application/json' };
    const big = 'x'.repeat(1_000_000);
    const answer = await raw({
      method: 'POST',
      headers: { ...headers, 'transfer-encoding': 'chunked' },
      chunks: Array.from({ length: 12 }, () => big),
    });
    expect(answer.status).toBe(413);
    const declared = await raw({
      method: 'POST',
      headers: { ...headers, 'content-length': '999999999' },
      chunks: [],
    });
    expect(declared.status).toBe(413);
  });

  test('depth', async () => {
    const deep = (levels: number) =>
      `{ projects { nodes { ${'parents { '.repeat(levels)} name ${'} '.repeat(levels)} } } }`;
    expect(await code(deep(2))).toBeUndefined();
    const { errors } = await gateway.request(deep(20));
    expect(errors?.[0]).toMatchObject({
      extensions: { code: 'LIMIT_EXCEEDED' },
      message: expect.stringContaining('levels deep'),
    });
  });

  test('aliases', async () => {
    expect(await code(`{ ${Array.from({ length: 51 }, (_, n) => `a${n}: viewer { scopes }`).join(' ')} }`)).toBe(
      'LIMIT_EXCEEDED',
    );
  });

  test('tokens', async () => {
    expect(await code(`{ viewer { ${'scopes '.repeat(5_000)} } }`)).toBe('LIMIT_EXCEEDED');
  });

  test('cost, with the page sizes that come in variables', async () => {
    const query = `query ($n: Int!) {
      projects(first: $n) { nodes { name worktrees(first: $n) { nodes { name activities(first: $n) { nodes { id description } } } } } }
    }`;
    expect(await code(query, { n: 5 })).toBeUndefined();
    expect(await code(query, { n: 100 })).toBe('LIMIT_EXCEEDED');
    const many = `mutation ($activities: [ActivityInput!]!) { logActivities(input: { activities: $activities }) {
      activities { worktree { ${Array.from({ length: 20 }, (_, n) => `p${n}: project { name slug status }`).join(' ')} } } } }`;
    const activity = { agentId: 'a', worktree: { path: { path: '/none' } }, type: 'OTHER', description: 'x' };
    expect(await code(many, { activities: Array(10).fill(activity) })).toBeUndefined();
    expect(await code(many, { activities: Array(1_000).fill(activity) })).toBe('LIMIT_EXCEEDED');
    const withDefault = query.replace('$n: Int!', '$n: Int = 100');
    expect(await code(withDefault)).toBe('LIMIT_EXCEEDED');
  });

  test('fragments that spread each other a billion times are judged at once', async () => {
    const levels = Array.from({ length: 60 }, (_, n) => `fragment F${n} on Viewer { ...F${n + 1} ...F${n + 1} }`).join(
      ' ',
    );
    const answer = await code(`{ viewer { ...F0 } } ${levels} fragment F60 on Viewer { scopes }`);
    expect(answer).toBe('LIMIT_EXCEEDED');
  });

  test("GraphiQL's own introspection passes", async () => {
    const { getIntrospectionQuery } = await import('graphql');
    expect(await code(getIntrospectionQuery())).toBeUndefined();
  });

  test('a statement that runs too long is a limit, not a mystery', async () => {
    const slow = await startGateway({
      database: gateway.database,
      environment: { TREELINE_STATEMENT_TIMEOUT_MS: '100' },
    });
    const blocker = await gateway.database.owner.connect();
    try {
      await blocker.query('begin; lock table registry.projects in access exclusive mode');
      const { errors } = await slow.request('{ projects { nodes { name } } }');
      expect(errors?.[0]?.extensions.code).toBe('LIMIT_EXCEEDED');
    } finally {
      await blocker.query('rollback');
      blocker.release();
      await slow.close();
    }
  });
});

describe('what an operator asks', () => {
  test('/health, /ready, and a request id on everything', async () => {
    expect(await (await fetch(`${gateway.url}/health`)).json()).toEqual({ status: 'ok' });
    const ready = await fetch(`${gateway.url}/ready`, { headers: { 'x-request-id': 'mine-1' } });
    expect(ready.headers.get('x-request-id')).toBe('mine-1');
    expect(await ready.json()).toEqual({
      ready: true,
      checks: { serving: true, database: true, migrations: true, listening: true },
    });
  });

  test('/metrics counts requests by kind, statements, the pool and errors; a token without the scope is refused', async () => {
    await gateway.request('{ viewer { scopes } }');
    await gateway.request('{ nothing }');
    const text = await (await fetch(`${gateway.url}/metrics`)).text();
    expect(text).toMatch(/treeline_request_duration_seconds_count\{kind="query",transport="http",outcome="ok"\} [1-9]/);
    expect(text).toMatch(/treeline_errors_total\{code="BAD_USER_INPUT"\} [1-9]/);
    expect(text).toMatch(/treeline_pool_connections [1-9]/);
    expect(text).toMatch(/treeline_statement_duration_seconds_count\{outcome="ok"\} [1-9]/);
    const { createToken } = await gateway.ask<{ createToken: { token: string } }>(
      'mutation { createToken(input: { name: "reader", scopes: [REGISTRY_READ] }) { token } }',
    );
    const refused = await fetch(`${gateway.url}/metrics`, {
      headers: { authorization: `Bearer ${createToken.token}` },
    });
    expect(refused.status).toBe(403);
  });
});
