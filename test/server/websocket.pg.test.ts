import { once } from 'node:events';
import { createClient } from 'graphql-ws';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { startGateway, type TestGateway } from '../support/gateway.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.close());

interface Message {
  type: string;
  id?: string;
  payload?: unknown;
}

/** A bare socket, of which no frame is lost: what came is kept until it is asked for. */
async function open(token: string | null, target = gateway) {
  const socket = new WebSocket(`${target.wsUrl}/graphql`, 'graphql-transport-ws');
  const messages: Message[] = [];
  const waiting: ((message: Message) => void)[] = [];
  socket.on('message', (data) => {
    const message = JSON.parse(String(data)) as Message;
    const next = waiting.shift();
    if (next === undefined) messages.push(message);
    else next(message);
  });
  const closed = once(socket, 'close').then(([code, reason]) => ({ code: code as number, reason: String(reason) }));
  await once(socket, 'open');
  const send = (message: Message) => socket.send(JSON.stringify(message));
  const next = () => {
    const message = messages.shift();
    return message === undefined ? new Promise<Message>((resolve) => waiting.push(resolve)) : Promise.resolve(message);
  };
  send({ type: 'connection_init', payload: token === null ? {} : { authorization: `Bearer ${token}` } });
  return { socket, send, next, closed };
}

const subscribe = (id: string, query: string, variables = {}): Message => ({
  id,
  type: 'subscribe',
  payload: { query, variables },
});

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
      const { closed } = await open(token);
      expect(await closed).toMatchObject({ code: 4403 });
    }
  });

  test('a syntax error is an error to that operation, and the others go on', async () => {
    const { send, next, socket, closed } = await open(gateway.token);
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
    const { send, next, socket, closed } = await open(gateway.token);
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
    const { send, next, socket, closed } = await open(gateway.token);
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
    const { closed } = await open(createToken.token);
    expect(await closed).toMatchObject({ code: 4403 });
  });

  test('a token revoked meanwhile opens nothing new', async () => {
    const made = await gateway.ask<{ createToken: { token: string; record: { id: string } } }>(
      'mutation { createToken(input: { name: "gone", scopes: [REGISTRY_READ] }) { token record { id } } }',
    );
    const { send, next, closed } = await open(made.createToken.token);
    await next();
    await gateway.ask('mutation ($id: ID!) { revokeToken(input: { token: $id }) { userErrors { code } } }', {
      id: made.createToken.record.id,
    });
    send(subscribe('1', '{ viewer { scopes } }'));
    expect(await closed).toMatchObject({ code: 4403 });
  });
});

describe('worktreeChanged', () => {
  const watch = `subscription ($project: ProjectRef) {
    worktreeChanged(project: $project) { change worktreeId worktree { name status gitState { aheadOfTrunk } project { slug } } }
  }`;

  test('tells of changes made through the API and in plain SQL, fresh each time and only of what was asked for', async () => {
    const project = async (name: string) => {
      const { rows } = await gateway.database.owner.query(`select registry.register_project($1, null) as id`, [name]);
      return (rows[0] as { id: string }).id;
    };
    const [watched, other] = [await project('Watched'), await project('Other')];
    const { send, next, socket, closed } = await open(gateway.token);
    await next();
    send(subscribe('1', watch, { project: { id: watched } }));
    // Answered in order: once this is there, the subscription before it stands.
    send(subscribe('2', '{ viewer { scopes } }'));
    while ((await next()).type !== 'complete');
    const sql = (text: string, values: unknown[]) => gateway.database.owner.query(text, values);
    await sql(`select registry.register_worktree($1, 'feat', 'o', 'feat/o', '/o')`, [other]);
    await sql(`select registry.register_worktree($1, 'feat', 'w', 'feat/w', '/w')`, [watched]);
    expect(await next()).toMatchObject({
      id: '1',
      payload: {
        data: {
          worktreeChanged: {
            change: 'CREATED',
            worktree: { name: 'w', status: 'CLEAN', project: { slug: 'watched' } },
          },
        },
      },
    });
    await gateway.ask(
      `mutation { updateWorktreeGitState(input: { worktree: { path: { path: "/w" } }, aheadOfTrunk: 4 }) { changed } }`,
    );
    expect(await next()).toMatchObject({
      payload: {
        data: { worktreeChanged: { change: 'UPDATED', worktree: { status: 'AHEAD', gitState: { aheadOfTrunk: 4 } } } },
      },
    });
    // A rename of the project shows in the next event: nothing is remembered from the one before.
    await sql(`update registry.projects set slug = 'renamed' where id = $1`, [watched]);
    await sql(`update registry.worktrees set behind_trunk = 1 where name = 'w'`, []);
    expect(await next()).toMatchObject({
      payload: { data: { worktreeChanged: { worktree: { status: 'DIVERGED', project: { slug: 'renamed' } } } } },
    });
    socket.close();
    await closed;
  });
});

test('at shutdown sockets are told 1001, and a request in progress is answered', async () => {
  const leaving = await startGateway({ database: gateway.database });
  const { next, closed } = await open(leaving.token, leaving);
  await next();
  const blocker = await gateway.database.owner.connect();
  await blocker.query('begin; lock table registry.hosts in access exclusive mode');
  const answer = leaving.ask<{ hosts: { nodes: unknown[] } }>('{ hosts { nodes { name } } }');
  await gateway.database.owner.query(
    `do $$ begin while not exists (select from pg_locks where not granted and relation = 'registry.hosts'::regclass) loop perform pg_sleep(0.01); end loop; end $$`,
  );
  const stopped = leaving.close();
  expect(await closed).toMatchObject({ code: 1001 });
  await expect(fetch(`${leaving.url}/health`)).rejects.toThrow();
  await blocker.query('rollback');
  blocker.release();
  expect((await answer).hosts.nodes.length).toBeGreaterThan(0);
  await stopped;
});
