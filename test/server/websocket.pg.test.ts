import { once } from 'node:events';
import { createClient } from 'graphql-ws';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { openSocket, subscribeMessage as subscribe } from '../support/socket.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.close());

describe('graphql-ws', () => {
  test('queries and mutations work as over HTTP', async () => {
    const client = createClient({
      url: `${gateway.wsUrl}/graphql`,
      webSocketImpl: WebSocket,
      connectionParams: { authorization: `Bearer ${gateway.token}` },
    });
    const results = client.iterate({ query: '{ viewer { principal { handle } } }' });
    const { value } = await results.next();
    expect(value?.data).toEqual({ viewer: { principal: { handle: 'local' } } });
    await client.dispose();
  });

  test('without a token, or with a wrong one, the socket closes with 4403', async () => {
    for (const token of [null, `tl_${'x'.repeat(43)}`]) {
      const { closed } = await openSocket(gateway, token);
      expect(await closed).toMatchObject({ code: 4403 });
    }
  });

  test('a syntax error is an error to that operation, and the others go on', async () => {
    const { send, next, socket, closed } = await openSocket(gateway, gateway.token);
    expect(await next()).toMatchObject({ type: 'connection_ack' });
    send(subscribe('1', '{ not closed'));
    expect(await next()).toMatchObject({ id: '1', type: 'error' });
    send(subscribe('2', '{ nothingLikeThis }'));
    expect(await next()).toMatchObject({
      id: '2',
      type: 'error',
      payload: [{ extensions: { code: 'BAD_USER_INPUT' } }],
    });
    send(subscribe('3', '{ viewer { scopes } }'));
    expect(await next()).toMatchObject({ id: '3', type: 'next' });
    socket.close();
    await closed;
  });

  test('the limits are those of HTTP', async () => {
    const { send, next, socket, closed } = await openSocket(gateway, gateway.token);
    await next();
    send(subscribe('1', `{ ${Array.from({ length: 51 }, (_, n) => `a${n}: viewer { scopes }`).join(' ')} }`));
    expect(await next()).toMatchObject({
      id: '1',
      type: 'error',
      payload: [{ extensions: { code: 'LIMIT_EXCEEDED' } }],
    });
    const query = `query ($n: Int!) { projects(first: $n) { nodes { worktrees(first: $n) { nodes { activities(first: $n) { nodes { id } } } } } } }`;
    send(subscribe('2', query, { n: 100 }));
    expect(JSON.stringify(await next())).toContain('LIMIT_EXCEEDED');
    socket.close();
    await closed;
  });

  test('operations that were refused do not count as open', async () => {
    const { send, next, socket, closed } = await openSocket(gateway, gateway.token);
    await next();
    for (let n = 0; n < 105; n += 1) {
      send(subscribe(`bad-${n}`, '{ nothingLikeThis }'));
      expect(await next()).toMatchObject({ type: 'error' });
    }
    send(subscribe('good', '{ viewer { scopes } }'));
    expect(await next()).toMatchObject({ id: 'good', type: 'next' });
    socket.close();
    await closed;
  });

  test('an Origin of another site is refused before the socket opens', async () => {
    const socket = new WebSocket(`${gateway.wsUrl}/graphql`, 'graphql-transport-ws', {
      origin: 'https://evil.example',
    });
    const [error] = await once(socket, 'error');
    expect(String(error)).toContain('403');
  });

  test('a token that expires closes its socket with 4403', async () => {
    const { createToken } = await gateway.ask<{ createToken: { token: string } }>(
      'mutation ($at: DateTime) { createToken(input: { name: "short", scopes: [REGISTRY_READ], expiresAt: $at }) { token } }',
      { at: new Date(Date.now() + 1_000).toISOString() },
    );
    const { closed } = await openSocket(gateway, createToken.token);
    expect(await closed).toMatchObject({ code: 4403 });
  });

  test('a token revoked meanwhile opens nothing new', async () => {
    const made = await gateway.ask<{ createToken: { token: string; record: { id: string } } }>(
      'mutation { createToken(input: { name: "gone", scopes: [REGISTRY_READ] }) { token record { id } } }',
    );
    const { send, next, closed } = await openSocket(gateway, made.createToken.token);
    await next();
    await gateway.ask('mutation ($id: ID!) { revokeToken(input: { token: $id }) { userErrors { code } } }', {
      id: made.createToken.record.id,
    });
    send(subscribe('1', '{ viewer { scopes } }'));
    expect(await closed).toMatchObject({ code: 4403 });
  });
});

test('at shutdown sockets are told 1001, and a request in progress is answered', async () => {
  const leaving = await startGateway({ database: gateway.database });
  const { next, closed } = await openSocket(leaving, leaving.token);
  await next();
  const blocker = await gateway.database.owner.connect();
  await blocker.query('begin; lock table registry.hosts in access exclusive mode');
  const answer = leaving.ask<{ hosts: { nodes: unknown[] } }>('{ hosts { nodes { name } } }');
  await gateway.database.owner.query(
    `do $$ begin
      while not exists (
        select from pg_locks l join pg_database d on d.oid = l.database
        where not l.granted and l.relation = 'registry.hosts'::regclass and d.datname = current_database()
      ) loop
        perform pg_sleep(0.01);
      end loop;
    end $$`,
  );
  const stopped = leaving.close();
  expect(await closed).toMatchObject({ code: 1001 });
  await expect(fetch(`${leaving.url}/health`)).rejects.toThrow();
  await blocker.query('rollback');
  blocker.release();
  expect((await answer).hosts.nodes.length).toBeGreaterThan(0);
  await stopped;
});
