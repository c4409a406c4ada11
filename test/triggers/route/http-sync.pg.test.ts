import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rows } from '../../support/sql.ts';
import { idOf, saveScript, triggersGateway } from '../api/asking.ts';
import { type Receiver, startReceiver } from '../receiver.ts';
import { call, callSigned, refusalIn, saveRoute, signed } from './calling.ts';

const setting = triggersGateway({ TREELINE_WEBHOOK_ALLOW: '127.0.0.0/8' });

/** A synchronous route that looks a worktree up by what the body says. */
async function lookingUp(signature: 'STANDARD' | 'NONE') {
  const script = await saveScript(setting, {
    operation: {
      document: 'mutation ($id: ID!) { markWorktreeMerged(input: { worktree: { id: $id } }) { worktree { name } } }',
      variables: { id: '=body.id' },
    },
  });
  return saveRoute(setting, { script, signature, dispatchMode: 'SYNC' });
}
const unknown = '{"id":"00000000-0000-4000-8000-000000000000"}';

describe('a synchronous route', () => {
  test('answers the result of its script, and which execution it was', async () => {
    const script = await saveScript(setting, {
      operation: {
        document: 'query ($by: ProjectRef!) { project(by: $by) { name } }',
        variables: { by: { slug: '=query.slug' } },
      },
    });
    const route = await saveRoute(setting, { script, method: 'GET', signature: 'NONE', dispatchMode: 'SYNC' });
    const answer = await call(setting, `${route.path}?slug=hopper`, { method: 'GET', body: '' });
    expect(answer).toMatchObject({ status: 200, body: { project: { name: 'hopper' } } });
    const id = String(answer.headers['x-treeline-execution']);
    const { node } = await setting.gateway.ask<{ node: object }>(
      'query ($id: ID!) { node(id: $id) { ... on Execution { status sourceKind attempt principal { handle } } } }',
      { id: idOf('Execution', id) },
      { token: setting.grace.token },
    );
    expect(node).toEqual({ status: 'SUCCEEDED', sourceKind: 'HTTP', attempt: 1, principal: { handle: 'grace' } });
  });

  test('answers 502 when its script fails, tries it once, and leaves no dead letter', async () => {
    const route = await lookingUp('STANDARD');
    const answer = await callSigned(setting, route, { body: unknown });
    expect(answer.status).toBe(502);
    expect(refusalIn(answer)).toEqual(['FAILED', expect.stringMatching(/^The script failed: .*NOT_FOUND/)]);
    const kept = await rows(
      setting.gateway.database.owner,
      `select array_agg(id) as executions, (select count(*)::int from triggers.outbox) as waiting,
         (select count(*)::int from triggers.dead_letters) as letters
       from triggers.executions where trigger_id = $1`,
      [route.key],
    );
    expect(kept).toEqual([{ executions: [answer.body.errors[0].extensions.executionId], waiting: 0, letters: 0 }]);
  });

  test('does not tell strangers why its script failed', async () => {
    const route = await lookingUp('NONE');
    const answer = await call(setting, route.path, { body: unknown });
    expect(answer.status).toBe(502);
    expect(refusalIn(answer)).toEqual(['FAILED', 'The script failed.']);
  });

  test('runs what is sent again once', async () => {
    const route = await saveRoute(setting, { dispatchMode: 'SYNC' });
    const headers = signed(route, '{}');
    expect((await call(setting, route.path, { headers })).status).toBe(200);
    const again = await call(setting, route.path, { headers });
    expect(again.status).toBe(409);
    expect(refusalIn(again)).toEqual(['CONFLICT', expect.stringContaining('webhook-id')]);
  });

  test('runs what is sent again once more where it had failed', async () => {
    const route = await lookingUp('STANDARD');
    const id = '11111111-1111-4111-8111-111111111111';
    const body = JSON.stringify({ id });
    const headers = signed(route, body);
    expect((await call(setting, route.path, { body, headers })).status).toBe(502);
    await setting.gateway.database.owner.query(
      `insert into registry.worktrees (id, project_id, host_id, type_id, name, branch_name, path)
       select $1, $2, h.id, t.id, 'late', 'feat/late', '/srv/late' from registry.hosts h, registry.worktree_types t
       where h.name = 'local' and t.name = 'feat'`,
      [id, setting.projectId],
    );
    expect((await call(setting, route.path, { body, headers })).status).toBe(200);
    expect((await call(setting, route.path, { body, headers })).status).toBe(409);
  });
});

describe('a route that sends a webhook on', () => {
  let receiver: Receiver;
  beforeAll(async () => {
    receiver = await startReceiver();
  });
  afterAll(() => receiver.close());
  const forwarding = (timeoutMs: number) =>
    saveScript(setting, {
      operation: undefined,
      webhook: { url: receiver.url, secret: receiver.secret, body: { said: '=body.said' } },
      timeoutMs,
    });

  test('hands it on, and answers what came back', async () => {
    const route = await saveRoute(setting, { script: await forwarding(10_000), dispatchMode: 'SYNC' });
    const answer = await callSigned(setting, route, { body: '{"said":"hello"}', headers: { 'treeline-depth': '1' } });
    expect(answer).toMatchObject({ status: 200, body: { status: 200, body: 'ok' } });
    const [delivered] = await receiver.untilDelivered(1);
    expect(delivered).toMatchObject({ refusal: null, payload: { said: 'hello' } });
    expect(delivered?.headers['treeline-depth']).toBe('2');
  });

  test('answers 504 when that takes longer than the script may', async () => {
    receiver.reply(() => {});
    const route = await saveRoute(setting, { script: await forwarding(100), dispatchMode: 'SYNC' });
    const answer = await callSigned(setting, route);
    expect(answer.status).toBe(504);
    expect(refusalIn(answer)).toEqual(['TIMED_OUT', expect.stringContaining('100 ms')]);
  });
});
