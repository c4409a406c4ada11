import { randomUUID } from 'node:crypto';
import { sign as signAsGithub } from '@octokit/webhooks-methods';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { makeSecret } from '../../../src/triggers/secret.ts';
import { startGateway } from '../../support/gateway.ts';
import { makePerson, makeProject } from '../../support/people.ts';
import { rows } from '../../support/sql.ts';
import { done, manager, mutate, type Setting, saveScript } from '../api/asking.ts';
import { call, callSigned, open, refusalIn, type SavedRoute, saveRoute, signed } from './calling.ts';

/** Nothing is run here: what was accepted is looked at in the outbox. */
const environment = { TREELINE_TRIGGER_MAX_DEPTH: '3' };
let setting: Setting;
const logged: string[] = [];
beforeAll(async () => {
  const log = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) });
  const gateway = await startGateway({ environment, log });
  const [grace, mallory] = [await makePerson(gateway, 'grace', manager), await makePerson(gateway, 'mallory', manager)];
  setting = { gateway, grace, mallory, projectId: await makeProject(gateway, 'hopper', grace) };
});
afterAll(() => setting.gateway.close());

interface OutboxRow {
  id: string;
  source_kind: string;
  trigger_id: string;
  principal_id: string;
  project_id: string;
  depth: number;
  // biome-ignore lint/suspicious/noExplicitAny: as the request was
  payload: any;
}
const accepted = () =>
  rows<OutboxRow>(
    setting.gateway.database.owner,
    'select id, source_kind, trigger_id, principal_id, project_id, depth, payload from triggers.outbox order by created_at',
  );
afterEach(() => setting.gateway.database.owner.query('delete from triggers.outbox'));

const unsigned = (more: Record<string, unknown> = {}) => saveRoute(setting, { signature: 'NONE', ...more });
const code = (expected: string) => [expected, expect.any(String)];

describe('a signed request', () => {
  let route: SavedRoute;
  beforeAll(async () => {
    route = await saveRoute(setting);
  });

  test('is accepted without a token, and runs as who registered the route', async () => {
    const answer = await callSigned(setting, route, { body: '{"a":1}' });
    const [row, ...others] = await accepted();
    expect(answer).toMatchObject({ status: 202, body: { id: row?.id } });
    expect(others).toEqual([]);
    expect(row).toMatchObject({
      source_kind: 'http',
      trigger_id: route.key,
      principal_id: setting.grace.uuid,
      project_id: setting.projectId,
      depth: 0,
      payload: {
        type: 'http',
        timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
        method: 'POST',
        path: route.path,
        query: {},
        body: { a: 1 },
      },
    });
  });

  test.each([
    ['without a signature', () => ({})],
    ['with a token instead of one', () => ({ authorization: `Bearer ${setting.gateway.token}` })],
    ["with a signature of somebody else's", () => signed({ secret: makeSecret() }, '{}')],
    ['with one of another body', () => signed(route, '{ }')],
    ["with GitHub's", async () => ({ 'x-hub-signature-256': await signAsGithub(route.secret, '{}') })],
    ['that is ten minutes old', () => signed(route, '{}', { lateS: 600 })],
    ['from ten minutes ahead', () => signed(route, '{}', { lateS: -600 })],
  ])('%s is refused and leaves nothing', async (_case, headers) => {
    const answer = await call(setting, route.path, { headers: await headers() });
    expect(answer.status).toBe(401);
    expect(refusalIn(answer)).toEqual(code('UNAUTHENTICATED'));
    expect(JSON.stringify(answer.body)).not.toContain(route.secret.slice('whsec_'.length));
    expect(await accepted()).toEqual([]);
  });

  test('that is sent again, also several times at once, is accepted once', async () => {
    const headers = signed(route, '{}');
    const answers = await Promise.all(Array.from({ length: 8 }, () => call(setting, route.path, { headers })));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 202));
    const [row] = await accepted();
    const bodies = answers.map(({ body }) => body);
    expect(bodies.filter(({ id }) => id !== undefined)).toEqual([{ id: row?.id }]);
    expect(bodies.filter(({ duplicate }) => duplicate === true)).toHaveLength(7);
    expect(await accepted()).toHaveLength(1);
    // Another route knows nothing of it.
    const other = await saveRoute(setting);
    const id = headers['webhook-id'] ?? '';
    expect((await call(setting, other.path, { headers: signed(other, '{}', { id }) })).body).toHaveProperty('id');
  });

  test("by GitHub's scheme is accepted each time, for its id is not signed", async () => {
    const github = await saveRoute(setting, { signature: 'GITHUB' });
    const headers = {
      'x-hub-signature-256': await signAsGithub(github.secret, '{}'),
      'x-github-delivery': randomUUID(),
    };
    expect((await call(setting, github.path, { headers })).status).toBe(202);
    expect((await call(setting, github.path, { headers })).status).toBe(202);
    expect((await callSigned(setting, github)).status).toBe(401);
    expect(await accepted()).toHaveLength(2);
  });

  test('leaves nothing of the secret, of signatures and of what was said in the log', async () => {
    const headers = signed(route, '{"said":"hush-hush"}');
    await call(setting, route.path, { body: '{"said":"hush-hush"}', headers });
    await call(setting, route.path, { body: '{"said":"hush-hush!"}', headers });
    const text = logged.join('');
    expect(text).toContain('"operation":"hook"');
    for (const hidden of [route.secret.slice('whsec_'.length), headers['webhook-signature'] ?? '', 'hush-hush']) {
      expect(text).not.toContain(hidden);
    }
  });
});

describe('there is nothing', () => {
  test('at a path that no route has, or for another method', async () => {
    const route = await unsigned({ method: 'PUT' });
    for (const [method, path] of [
      ['POST', route.path],
      ['PUT', `${route.path}/`],
      ['PUT', `${route.path}/more`],
      ['PUT', route.path.toUpperCase()],
      ['PUT', '/hooks/none'],
      ['DELETE', route.path],
    ] as const) {
      expect((await call(setting, path, { method })).status).toBe(404);
    }
    expect(refusalIn(await call(setting, '/hooks/none'))).toEqual(['NOT_FOUND', expect.stringContaining('POST')]);
    expect((await call(setting, route.path, { method: 'PUT' })).status).toBe(202);
  });

  test('once its registrant is disabled, or it is deleted', async () => {
    const route = await unsigned();
    const enable = (verb: string) =>
      done(mutate(setting, `${verb}Principal`, '__typename', { principal: setting.grace.id }));
    await enable('disable');
    expect((await call(setting, route.path)).status).toBe(404);
    await enable('enable');
    expect((await call(setting, route.path)).status).toBe(202);
    await done(mutate(setting, 'deleteRoute', '__typename', { id: route.id }, setting.grace));
    expect((await call(setting, route.path)).status).toBe(404);
  });
});

describe('what a script is told of a request', () => {
  const told = async (path: string, sent: Parameters<typeof call>[2]) => {
    expect(await call(setting, path, sent)).toMatchObject({ status: 202 });
    return (await accepted()).at(-1)?.payload;
  };

  test.each([
    ['JSON', 'application/json; charset=utf-8', '[1,{"ä":null}]', [1, { ä: null }]],
    ['JSON of a kind', 'application/vnd.acme+json', '{"a":1}', { a: 1 }],
    ['a form', 'application/x-www-form-urlencoded', 'a=1&b=x+y', { a: '1', b: 'x y' }],
    ['a form with JSON in it', 'application/x-www-form-urlencoded', 'payload=%7B%22a%22%3A1%7D', { payload: { a: 1 } }],
    ['text', 'text/plain', '{"a":1}', '{"a":1}'],
    ['nothing', 'application/json', '', null],
  ])('is its body: %s', async (_case, type, body, expected) => {
    const route = await unsigned();
    expect((await told(route.path, { body, headers: { 'content-type': type } })).body).toEqual(expected);
  });

  test('are its method, path and query', async () => {
    const route = await unsigned({ method: 'GET' });
    const payload = await told(`${route.path}?a=1&b=x%20y`, { method: 'GET', body: '' });
    expect(payload).toMatchObject({ method: 'GET', path: route.path, query: { a: '1', b: 'x y' }, body: null });
  });

  test('are its headers, but none that proves who somebody is', async () => {
    const route = await unsigned();
    const secrets = {
      authorization: 'Bearer hush',
      'proxy-authorization': 'Basic hush',
      cookie: 'session=hush',
      'x-hub-signature-256': 'sha256=hush',
      'webhook-signature': 'v1,hush',
      'x-gitlab-token': 'hush',
      'x-client-secret': 'hush',
      'x-api-key': 'hush',
      apikey: 'hush',
    };
    const payload = await told(route.path, { headers: { ...secrets, 'X-GitHub-Event': 'push', 'webhook-id': 'm1' } });
    expect(payload.headers).toMatchObject({ 'x-github-event': 'push', 'webhook-id': 'm1' });
    expect(JSON.stringify(payload)).not.toContain('hush');
  });
});

describe('refused is', () => {
  test.each([
    ['what says that it is JSON and is not', 'application/json', '{"a":'],
    ['a form whose payload is no JSON', 'application/x-www-form-urlencoded', 'payload=%7B'],
    ['text that cannot be stored', 'application/json', '"\\u0000"'],
  ])('%s', async (_case, type, body) => {
    const route = await unsigned();
    const answer = await call(setting, route.path, { body, headers: { 'content-type': type } });
    expect(answer.status).toBe(400);
    expect(refusalIn(answer)).toEqual(code('INVALID'));
    expect(await accepted()).toEqual([]);
  });

  test('more than 1,000,000 bytes, whatever length is declared', async () => {
    const route = await unsigned();
    const sized = (bytes: number) => JSON.stringify('x'.repeat(bytes - 2));
    expect((await call(setting, route.path, { body: sized(1_000_000) })).status).toBe(202);
    const answer = await call(setting, route.path, { body: sized(1_000_001) });
    expect(answer.status).toBe(413);
    expect(refusalIn(answer)).toEqual(code('PAYLOAD_TOO_LARGE'));
    const { request, answer: chunked } = open(setting, route.path);
    request.write(sized(700_000));
    request.write(sized(700_000));
    request.end();
    expect((await chunked).status).toBe(413);
    expect(await accepted()).toHaveLength(1);
  });

  test('a Host that is not served here, and an Origin of another site', async () => {
    const route = await unsigned();
    expect((await call(setting, route.path, { headers: { host: 'evil.example' } })).status).toBe(403);
    expect((await call(setting, route.path, { headers: { origin: 'https://evil.example' } })).status).toBe(403);
    expect(await accepted()).toEqual([]);
  });

  test('what comes while 64 others are read: it is asked to wait, and they are served', async () => {
    const route = await unsigned();
    const others = Array.from({ length: 64 }, () => {
      const opened = open(setting, route.path, { headers: { 'content-length': '2' } });
      opened.request.flushHeaders();
      return opened;
    });
    let answer = await call(setting, route.path);
    // Until all of them have arrived.
    while (answer.status === 202) answer = await call(setting, route.path);
    expect(answer.status).toBe(503);
    expect(answer.headers['retry-after']).toBe('1');
    expect(refusalIn(answer)).toEqual(code('LIMIT_EXCEEDED'));
    for (const { request } of others) request.end('{}');
    const answers = await Promise.all(others.map(({ answer }) => answer));
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(64);
    expect((await call(setting, route.path)).status).toBe(202);
  });
});

describe('a request that scripts of ours set off', () => {
  test('is as deep as it says, and at the limit a dead letter that says so', async () => {
    const script = await saveScript(setting);
    const route = await saveRoute(setting, { script });
    const deep = (depth: string) => callSigned(setting, route, { headers: { 'treeline-depth': depth } });
    expect((await deep('2')).status).toBe(202);
    expect((await accepted()).map(({ depth }) => depth)).toEqual([2]);
    const answer = await deep('3');
    expect(answer.status).toBe(400);
    expect(refusalIn(answer)).toEqual(['INVALID', expect.stringContaining('dead letter')]);
    expect(await accepted()).toHaveLength(1);
    const { deadLetters } = await setting.gateway.ask<{ deadLetters: { nodes: object[] } }>(
      `query ($s: ID!) { deadLetters(filter: { script: $s }) { nodes { sourceKind depth attempts lastError route { id } } } }`,
      { s: script },
      { token: setting.grace.token },
    );
    expect(deadLetters.nodes).toEqual([
      {
        sourceKind: 'HTTP',
        depth: 3,
        attempts: 0,
        lastError: expect.stringContaining('TREELINE_TRIGGER_MAX_DEPTH'),
        route: { id: route.id },
      },
    ]);
    // What is there and cannot be read is no reason to begin anew.
    expect((await deep('-1')).status).toBe(400);
  });
});

test('a synchronous route without a dispatcher answers 504, and nothing is run later', async () => {
  const script = await saveScript(setting, { timeoutMs: 100 });
  const route = await saveRoute(setting, { script, dispatchMode: 'SYNC' });
  const answer = await callSigned(setting, route);
  expect(answer.status).toBe(504);
  expect(refusalIn(answer)).toEqual(['TIMED_OUT', 'No result came within 1100 ms.']);
  expect(await accepted()).toEqual([]);
});
