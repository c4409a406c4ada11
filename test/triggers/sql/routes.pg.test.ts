import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { beforeEach, describe, expect, test } from 'vitest';
import { refusalOf, rows, value } from '../../support/sql.ts';
import { lettersOf, waiting } from './matching.ts';
import { claimOne } from './running.ts';
import {
  ask,
  connect,
  database,
  disable,
  owner,
  type Person,
  person,
  project,
  saveRoute,
  saveScript,
  webhook,
} from './setting.ts';

let ada: Person;
let place: string;
beforeEach(async () => {
  await owner.query('delete from triggers.outbox');
  ada = await person();
  place = await project(ada);
});

interface Receiving {
  messageId?: string | null;
  depth?: number;
  reply?: string | null;
  client?: pg.Pool | pg.Client;
}
/** As the gateway, to whoever asks. */
async function receive(
  route: string,
  { messageId = null, depth = 0, reply = null, client = database.runtime }: Receiving = {},
) {
  const [answer] = await rows<{ outcome: string; id: string | null }>(
    client,
    'select * from triggers.receive($1, $2, $3, $4, 8, $5, 5000)',
    [route, messageId, { type: 'http' }, depth, reply],
  );
  return answer?.outcome;
}
const find = (method: string, path: string) =>
  rows<Record<string, unknown>>(database.runtime, 'select * from triggers.find_route($1, $2)', [method, path]);
const saveAgain = (route: string, columns: Record<string, unknown>) =>
  ask(ada, 'triggers.save_route($1, $2)', [route, columns]);

describe('a route', () => {
  test('is found by its method and path, unless its registrant is disabled', async () => {
    const path = `/hooks/${randomUUID()}`;
    const secret = webhook.secret;
    const posting = await saveRoute(ada, place, { path, signature: 'standard', secret, dispatch_mode: 'sync' });
    const putting = await saveRoute(ada, place, { path, method: 'PUT' });
    expect(await find('POST', path)).toMatchObject([
      { id: posting, dispatch_mode: 'sync', signature: 'standard', secret },
    ]);
    expect(await find('PUT', path)).toMatchObject([
      { id: putting, dispatch_mode: 'async', signature: 'none', secret: null },
    ]);
    for (const [method, other] of [
      ['GET', path],
      ['POST', `${path}/`],
      ['POST', path.toUpperCase()],
    ] as const)
      expect(await find(method, other)).toEqual([]);
    await disable(ada);
    expect(await find('POST', path)).toEqual([]);
  });

  test('keeps its secret as long as it keeps its scheme', async () => {
    const script_id = await saveScript(ada, place);
    const columns = { method: 'POST', path: `/hooks/${randomUUID()}`, script_id, dispatch_mode: 'async' };
    const route = await saveRoute(ada, place, { ...columns, signature: 'standard', secret: webhook.secret });
    const kept = () => value<string | null>(owner, 'select secret from triggers.routes where id = $1', [route]);
    await saveAgain(route, { ...columns, signature: 'standard' });
    expect(await kept()).toBe(webhook.secret);
    await expect(saveAgain(route, { ...columns, signature: 'github' })).rejects.toMatchObject({
      constraint: 'routes_secret_check',
    });
    await saveAgain(route, { ...columns, signature: 'github', secret: 'of the forge' });
    expect(await kept()).toBe('of the forge');
    await saveAgain(route, { ...columns, signature: 'none' });
    expect(await kept()).toBeNull();
  });

  test('stays in its project, and is the only one of its method and path', async () => {
    const columns = { path: `/hooks/${randomUUID()}`, script_id: await saveScript(ada, place) };
    const route = await saveRoute(ada, place, columns);
    const moved = refusalOf(saveAgain(route, { ...columns, project_id: await project(ada) }));
    expect(await moved).toMatchObject({ code: 'INVALID', details: { field: 'project' } });
    const other = await person();
    const taken = saveRoute(other, await project(other), { path: columns.path });
    await expect(taken).rejects.toMatchObject({ constraint: 'routes_method_path_key' });
  });

  test.each([
    ['routes_method_check', { method: 'post' }],
    ['routes_method_check', { method: 'HEAD' }],
    ['routes_path_check', { path: '/hook/a' }],
    ['routes_path_check', { path: '/hooks/' }],
    ['routes_path_check', { path: '/hooks/a/' }],
    ['routes_path_check', { path: '/hooks//a' }],
    ['routes_path_check', { path: '/hooks/a b' }],
    ['routes_path_check', { path: '/hooks/a?b' }],
    ['routes_path_check', { path: '/hooks/a\n' }],
    ['routes_path_check', { path: `/hooks/${'a'.repeat(200)}` }],
    ['routes_dispatch_mode_check', { dispatch_mode: 'later' }],
    ['routes_signature_check', { signature: 'hmac', secret: 'x' }],
    ['routes_secret_check', { signature: 'standard' }],
    ['routes_secret_check', { signature: 'none', secret: 'x' }],
    ['routes_retry_max_attempts_check', { retry_max_attempts: 0 }],
    ['routes_retry_backoff_check', { retry_backoff: 'x' }],
    ['routes_retry_base_ms_check', { retry_base_ms: 0 }],
  ])('is held to %s: %o', async (constraint, columns) => {
    await expect(saveRoute(ada, place, columns)).rejects.toMatchObject({ constraint });
  });
});

describe('a request', () => {
  test('waits in the outbox as what the registrant may, with the settings of the route', async () => {
    const script_id = await saveScript(ada, place, webhook);
    const route = await saveRoute(ada, place, {
      script_id,
      retry_max_attempts: 2,
      retry_backoff: 'constant',
      retry_base_ms: 9,
    });
    expect(await receive(route, { depth: 3 })).toBe('accepted');
    expect(await waiting(route)).toMatchObject([
      {
        source_kind: 'http',
        project_id: place,
        script_id,
        principal_id: ada.id,
        scopes: ada.scopes,
        payload: { type: 'http' },
        lane: 'webhook',
        depth: 3,
        retry_max_attempts: 2,
        retry_backoff: 'constant',
        retry_base_ms: 9,
      },
    ]);
  });

  test('that came before under its id is a duplicate, however many come at once; of another route it is not', async () => {
    const [route, other] = [await saveRoute(ada, place), await saveRoute(ada, place)];
    const clients = await Promise.all(Array.from({ length: 6 }, () => connect()));
    const outcomes = await Promise.all(clients.map((client) => receive(route, { messageId: 'one', client })));
    expect(outcomes.sort()).toEqual(['accepted', ...Array.from({ length: 5 }, () => 'duplicate')]);
    expect(await receive(other, { messageId: 'one' })).toBe('accepted');
    expect(await receive(route, { messageId: 'two' })).toBe('accepted');
    // What has no id comes as often as it is sent.
    expect([await receive(route), await receive(route)]).toEqual(['accepted', 'accepted']);
    expect(await waiting(route)).toHaveLength(4);
  });

  test('that was not stored may come again', async () => {
    const route = await saveRoute(ada, place);
    const client = await connect();
    await client.query('begin');
    expect(await receive(route, { messageId: 'one', client })).toBe('accepted');
    await client.query('rollback');
    expect(await receive(route, { messageId: 'one' })).toBe('accepted');
  });

  test('that was waited for in vain may come again under its id', async () => {
    const [route, other] = [await saveRoute(ada, place), await saveRoute(ada, place)];
    const reply = randomUUID();
    expect(await receive(route, { messageId: 'one', reply })).toBe('accepted');
    expect(await receive(other, { messageId: 'one' })).toBe('accepted');
    expect(await receive(route, { messageId: 'one', reply: randomUUID() })).toBe('duplicate');
    expect(await value(database.runtime, 'select triggers.leave_reply($1)', [reply])).toBe('never begun');
    expect(await receive(route, { messageId: 'one', reply: randomUUID() })).toBe('accepted');
    expect(await receive(other, { messageId: 'one' })).toBe('duplicate');
  });

  test('at the depth limit leaves a dead letter; of strangers, who may say any depth, nothing', async () => {
    const open = await saveRoute(ada, place);
    expect(await receive(open, { depth: 8 })).toBe('too_deep');
    expect([await waiting(open), await lettersOf(open)]).toEqual([[], []]);
    const route = await saveRoute(ada, place, { signature: 'github', secret: 'a secret of github' });
    const reply = randomUUID();
    expect(await receive(route, { depth: 8, reply })).toBe('too_deep');
    expect(await waiting(route)).toEqual([]);
    expect(await lettersOf(route)).toMatchObject([{ source_kind: 'http', depth: 8, attempts: 0, resolved: false }]);
    expect(await rows(owner, 'select from triggers.replies where reply_to = $1', [reply])).toEqual([]);
  });

  test('of a route that is gone is answered so', async () => {
    const route = await saveRoute(ada, place);
    await ask(ada, 'triggers.delete_route($1)', [route]);
    expect(await receive(route, { messageId: 'one' })).toBe('gone');
    expect(await receive(randomUUID())).toBe('gone');
  });

  test('that somebody waits for is tried once; it survives its route, what nobody waits for does not', async () => {
    const route = await saveRoute(ada, place, { dispatch_mode: 'sync' });
    const reply = randomUUID();
    await receive(route, { reply });
    await receive(route);
    await ask(ada, 'triggers.delete_route($1)', [route]);
    expect(await waiting(route)).toMatchObject([{ lane: 'reply' }]);
    expect(await claimOne()).toMatchObject({ source_kind: 'http' });
    expect(await value(owner, 'select count(*)::int from triggers.replies where reply_to = $1', [reply])).toBe(1);
    await owner.query('delete from triggers.replies');
  });
});
