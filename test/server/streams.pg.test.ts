import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { full, size } from '../support/size.ts';
import { openSocket, subscribeMessage } from '../support/socket.ts';
import { value } from '../support/sql.ts';
import { metric, untilMetric, watch } from '../support/watch.ts';

/** What becomes of streams: those that are shared, that lag, that stall, that end. */

let worktree: string;
const path = '/streams';

async function start(environment: Record<string, string> = {}): Promise<TestGateway> {
  const gateway = await startGateway({ environment });
  worktree = await value(
    gateway.database.owner,
    `select registry.register_worktree(registry.register_project('streams', null), 'feat', 'w', 'feat/w', $1)`,
    [path],
  );
  return gateway;
}

const activities = `subscription ($after: Cursor) {
  activityLogged(after: $after) { cursor activity { id description metadata } }
}`;
interface Update {
  cursor: string;
  activity: { id: string; description: string };
}

/** Each in a transaction of its own or all in one; each some kilobytes, so that no socket's buffers hold many. */
function logActivities(gateway: TestGateway, count: number, bytes = 10): Promise<unknown> {
  return gateway.database.owner.query(
    `insert into registry.agent_activities (agent_id, worktree_id, activity_type, description, metadata)
     select 'a', $1, 'other', 'n' || n, jsonb_build_object('padding', repeat('x', $3)) from generate_series(1, $2) n`,
    [worktree, count, bytes],
  );
}

describe('shared execution', () => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await start({ TREELINE_LOG: 'silent' });
  });
  afterAll(() => gateway.close());

  test('many subscriptions of few documents: an event costs an execution per document, and reaches all', async () => {
    const [socketCount, perSocket, documents] = [size(1_000), 10, 20];
    // Twenty that ask for different things.
    const document = (n: number) => `subscription { worktreeChanged { change a${n}: worktreeId worktree { name } } }`;
    const before = await metric(gateway, 'treeline_subscribers');
    const sockets = await Promise.all(
      Array.from({ length: socketCount }, async () => {
        const socket = await openSocket(gateway, gateway.token);
        await socket.next();
        return socket;
      }),
    );
    sockets.forEach((socket, index) => {
      for (let n = 0; n < perSocket; n += 1) {
        socket.send(subscribeMessage(String(n), document((index * perSocket + n) % documents)));
      }
    });
    await untilMetric(gateway, 'treeline_subscribers', (count) => count === before + socketCount * perSocket);
    expect(await metric(gateway, 'treeline_subscription_groups')).toBe(documents);
    const executions = await metric(gateway, 'treeline_subscription_executions_total');
    await gateway.database.owner.query('update registry.worktrees set behind_trunk = behind_trunk + 1 where id = $1', [
      worktree,
    ]);
    await Promise.all(
      sockets.map(async (socket) => {
        const ids = new Set<string | undefined>();
        for (let n = 0; n < perSocket; n += 1) {
          const message = await socket.next();
          expect(message).toMatchObject({
            type: 'next',
            payload: { data: { worktreeChanged: { change: 'UPDATED' } } },
          });
          ids.add(message.id);
        }
        expect(ids.size).toBe(perSocket);
      }),
    );
    expect(await metric(gateway, 'treeline_subscription_executions_total')).toBe(executions + documents);
    await Promise.all(sockets.map((socket) => socket.close()));
    await untilMetric(gateway, 'treeline_subscribers', (count) => count === before);
    expect(await metric(gateway, 'treeline_subscription_groups')).toBe(0);
  }, 120_000);

  test('variables that differ are not shared, cursors that differ are', async () => {
    const { cursor } = await gateway.ask<{ cursor: string }>('{ cursor }');
    const document =
      'subscription ($a: String, $after: Cursor) { worktreeChanged(agentId: $a, after: $after) { change } }';
    const watching = [
      await watch(gateway, document, { a: 'ada' }),
      await watch(gateway, document, { a: 'grace' }),
      await watch(gateway, document, { a: 'grace', after: cursor }),
    ];
    expect(await metric(gateway, 'treeline_subscription_groups')).toBe(2);
    await Promise.all(watching.map((one) => one.close()));
  });

  test('whoever may see other things does not share, and nobody shares what is personal', async () => {
    const { createToken } = await gateway.ask<{ createToken: { token: string } }>(
      'mutation { createToken(input: { name: "reader", scopes: [REGISTRY_READ] }) { token } }',
    );
    const { createPrincipal } = await gateway.ask<{ createPrincipal: { principal: { id: string } } }>(
      'mutation { createPrincipal(input: { kind: USER, handle: "other", scopes: [REGISTRY_READ] }) { principal { id } } }',
    );
    const other = await gateway.ask<{ createToken: { token: string } }>(
      'mutation ($id: ID) { createToken(input: { principal: $id, name: "other", scopes: [REGISTRY_READ] }) { token } }',
      { id: createPrincipal.principal.id },
    );
    const groupsOf = async (document: string, tokens: string[]) => {
      const watching = [];
      for (const token of tokens) watching.push(await watch(gateway, document, {}, token));
      const groups = await metric(gateway, 'treeline_subscription_groups');
      await Promise.all(watching.map((one) => one.close()));
      await untilMetric(gateway, 'treeline_subscribers', (count) => count === 0);
      return groups;
    };
    const [admin, reader, stranger] = [gateway.token, createToken.token, other.createToken.token];
    const plain = 'subscription { projectChanged { project { name } } }';
    expect(await groupsOf(plain, [reader, stranger])).toBe(1);
    expect(await groupsOf(plain, [admin, reader])).toBe(2);
    const members = 'subscription { projectChanged { project { members { role } } } }';
    expect(await groupsOf(members, [reader, stranger])).toBe(2);
  });

  test('a result with an error in it reaches all, masked', async () => {
    const failing = await watch(gateway, 'subscription { worktreeChanged { worktree { host { platform } } } }');
    await gateway.database.owner.query('alter table registry.hosts rename column platform to hidden');
    try {
      await gateway.database.owner.query('update registry.worktrees set behind_trunk = behind_trunk + 1');
      expect(await failing.failure()).toMatchObject({ extensions: { code: 'INTERNAL' } });
    } finally {
      await gateway.database.owner.query('alter table registry.hosts rename column hidden to platform');
    }
    await failing.close();
  });
});

describe('a client that reads too slowly', () => {
  const queue = 20;
  // Told within the time in which a client that reads nothing still counts as there.
  const rows = full ? 1_000 : 200;
  /** More in all than sockets and kernels hold by themselves. */
  const bytes = 40_000_000 / rows;

  test('loses its stream with RESYNC_REQUIRED and goes on from there; nobody else notices, and memory is bounded', async () => {
    const gateway = await start({ TREELINE_STREAM_QUEUE: String(queue), TREELINE_STALL_MS: '600000' });
    const [slow, quick] = [await watch<Update>(gateway, activities), await watch<Update>(gateway, activities)];
    slow.socket.socket.pause();
    // Each is written once the quick one has the one before: whatever the slow one held up would hold up all that follows.
    for (let n = 0; n < rows; n += 1) {
      await gateway.database.owner.query(
        `insert into registry.agent_activities (agent_id, worktree_id, activity_type, description, metadata)
         values ('a', $1, 'other', $2, jsonb_build_object('padding', repeat('x', $3)))`,
        [worktree, `n${n}`, bytes],
      );
      expect((await quick.next()).activity.description).toBe(`n${n}`);
    }
    expect(await metric(gateway, 'treeline_subscriber_queue_depth_max')).toBeLessThanOrEqual(queue);
    expect(await metric(gateway, 'treeline_streams_dropped_total{reason="resync"}'.replace(/[{}]/g, '\\$&'))).toBe(1);

    slow.socket.socket.resume();
    const told: string[] = [];
    let last = '';
    let failure: { extensions: { code: string; cursor?: string } } | null = null;
    while (failure === null) {
      const message = await slow.message();
      if (message.type === 'error') failure = message.payload[0];
      else {
        told.push(message.payload.data.activityLogged.activity.description);
        last = message.payload.data.activityLogged.cursor;
      }
    }
    expect(failure.extensions).toMatchObject({ code: 'RESYNC_REQUIRED', cursor: last });
    const resumed = await watch<Update>(gateway, activities, { after: failure.extensions.cursor });
    while (told.length < rows) told.push((await resumed.next()).activity.description);
    expect(told).toEqual(Array.from({ length: rows }, (_, n) => `n${n}`));
    await Promise.all([quick.close(), slow.close(), resumed.close()]);
    await gateway.close();
  }, 120_000);

  test('is closed after a while when it reads nothing at all, over WebSocket and server-sent events', async () => {
    const gateway = await start({ TREELINE_STREAM_QUEUE: '100000', TREELINE_STALL_MS: '300' });
    const stalled = await watch<Update>(gateway, activities);
    stalled.socket.socket.pause();
    const response = await events(gateway, activities);
    await untilMetric(gateway, 'treeline_subscribers', (count) => count === 2);
    // More than sockets hold, and less than may wait for one client.
    await logActivities(gateway, Math.ceil(14_000_000 / bytes), bytes);
    await untilMetric(gateway, 'treeline_subscribers', (count) => count === 0);
    expect(await metric(gateway, 'treeline_streams_dropped_total{reason="stalled"}'.replace(/[{}]/g, '\\$&'))).toBe(2);
    await untilMetric(gateway, 'treeline_websockets', (count) => count === 0);
    stalled.socket.socket.resume();
    await stalled.socket.closed;
    await response.body?.cancel().catch(() => {});
    await gateway.close();
  }, 120_000);

  test('ten thousand events at once do not take the process down', async () => {
    const gateway = await start();
    const watching = await watch<Update>(gateway, activities);
    await logActivities(gateway, size(100_000));
    const told = new Set<string>();
    let after: string | null = null;
    let stream = watching;
    while (told.size < size(100_000)) {
      const message = await stream.message();
      if (message.type === 'next') {
        const { activity, cursor } = message.payload.data.activityLogged as Update;
        expect(told.has(activity.id)).toBe(false);
        told.add(activity.id);
        after = cursor;
      } else {
        expect(message.payload[0].extensions.code).toBe('RESYNC_REQUIRED');
        await stream.close();
        stream = await watch(gateway, activities, { after });
      }
    }
    await stream.close();
    await gateway.close();
  }, 120_000);
});

describe('limits', () => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await start();
  });
  afterAll(() => gateway.close());

  test('a socket carries a hundred operations, a principal watches five hundred different things', async () => {
    const sockets = await Promise.all(Array.from({ length: 6 }, () => openSocket(gateway, gateway.token)));
    for (const socket of sockets) await socket.next();
    const subscribe = (index: number, name: string, agentId: string) =>
      sockets[index]?.send(
        subscribeMessage(name, 'subscription ($a: String) { worktreeChanged(agentId: $a) { change } }', { a: agentId }),
      );
    for (let n = 0; n < 500; n += 1) subscribe(Math.floor(n / 100), `n${n % 100}`, `agent-${n}`);
    await untilMetric(gateway, 'treeline_subscribers', (count) => count === 500);
    subscribe(0, 'one too many', 'agent-0');
    expect(await sockets[0]?.next()).toMatchObject({
      id: 'one too many',
      type: 'error',
      payload: [{ extensions: { code: 'LIMIT_EXCEEDED' } }],
    });
    subscribe(5, 'different', 'agent-500');
    expect(JSON.stringify(await sockets[5]?.next())).toContain('LIMIT_EXCEEDED');
    // What others watch already costs nothing more.
    subscribe(5, 'same', 'agent-0');
    await untilMetric(gateway, 'treeline_subscribers', (count) => count === 501);
    await Promise.all(sockets.map((socket) => socket.close()));
  });
});

describe('when it is over', () => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await start();
  });
  afterAll(() => gateway.close());
  beforeEach(() => untilMetric(gateway, 'treeline_subscribers', (count) => count === 0));

  test('a completed subscription leaves nothing behind, without waiting for an event', async () => {
    const watching = await watch(gateway, activities);
    watching.socket.send({ id: 'watch', type: 'complete' });
    await untilMetric(gateway, 'treeline_subscribers', (count) => count === 0);
    await watching.close();
  });

  test('nor does a socket that breaks', async () => {
    const watching = await watch(gateway, activities);
    watching.socket.socket.terminate();
    await untilMetric(gateway, 'treeline_subscribers', (count) => count === 0);
    await untilMetric(gateway, 'treeline_websockets', (count) => count === 0);
  });

  test('nor does a stream of server-sent events that is aborted', async () => {
    const abort = new AbortController();
    const response = await events(gateway, activities, { signal: abort.signal });
    await untilMetric(gateway, 'treeline_subscribers', (count) => count === 1);
    abort.abort();
    await response.text().catch(() => {});
    await untilMetric(gateway, 'treeline_subscribers', (count) => count === 0);
  });

  test('nor do server-sent events that are aborted before they begin', async () => {
    const filtered = activities.replace('after: $after', 'after: $after, filter: { agentId: "nobody" }');
    await Promise.all(
      Array.from({ length: 60 }, async () => {
        const abort = new AbortController();
        const request = events(gateway, filtered, { signal: abort.signal }).then((response) => response.text());
        setImmediate(() => abort.abort());
        await request.catch(() => {});
      }),
    );
    // One more that stands for sure: whatever those did, they have done.
    const last = await watch(gateway, activities);
    await last.close();
    await untilMetric(gateway, 'treeline_subscribers', (count) => count === 0);
    await untilMetric(gateway, 'treeline_subscription_groups', (count) => count === 0);
  });

  test('nor do ones that are refused, or end while they begin', async () => {
    const socket = await openSocket(gateway, gateway.token);
    await socket.next();
    for (let n = 0; n < 20; n += 1) {
      socket.send(subscribeMessage(`n${n}`, activities, { after: n % 2 === 0 ? 'forged' : null }));
      socket.send({ id: `n${n}`, type: 'complete' });
    }
    socket.send(subscribeMessage('last', '{ viewer { scopes } }'));
    for (let message = await socket.next(); message.id !== 'last'; message = await socket.next());
    await untilMetric(gateway, 'treeline_subscribers', (count) => count === 0);
    await untilMetric(gateway, 'treeline_subscription_groups', (count) => count === 0);
    await socket.close();
  });
});

describe('server-sent events', () => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await start();
  });
  afterAll(() => gateway.close());

  test('carry updates and cursors as curl -N shows them, and resume', async () => {
    const { cursor } = await gateway.ask<{ cursor: string }>('{ cursor }');
    await logActivities(gateway, 3);
    const response = await events(gateway, activities, { variables: { after: cursor } });
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    const told: string[] = [];
    for await (const update of results(response)) {
      told.push((update as { data: { activityLogged: Update } }).data.activityLogged.activity.description);
      if (told.length === 3) await logActivities(gateway, 1);
      if (told.length === 4) break;
    }
    expect(told).toEqual(['n1', 'n2', 'n3', 'n1']);
  });

  test('say in band what ends them', async () => {
    const response = await events(gateway, activities, { variables: { after: 'forged' } });
    expect(await response.text()).toContain('BAD_CURSOR');
  });

  test('need a token, and obey the limits', async () => {
    const anonymous = await fetch(`${gateway.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
      body: JSON.stringify({ query: activities }),
    });
    expect(anonymous.status).toBe(401);
    const deep = `subscription { projectChanged { project { ${'parents { '.repeat(20)} name ${'} '.repeat(20)} } } }`;
    expect(await (await events(gateway, deep)).text()).toContain('LIMIT_EXCEEDED');
  });
});

function events(
  gateway: TestGateway,
  query: string,
  options: { variables?: Record<string, unknown>; signal?: AbortSignal; token?: string } = {},
): Promise<Response> {
  return fetch(`${gateway.url}/graphql`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'text/event-stream',
      authorization: `Bearer ${options.token ?? gateway.token}`,
    },
    body: JSON.stringify({ query, variables: options.variables ?? {} }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
}

/** The results that a stream of server-sent events carries. */
async function* results(response: Response): AsyncGenerator<unknown> {
  let text = '';
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += chunk;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const data = /^data: (.+)$/m.exec(text.slice(0, end))?.[1];
      text = text.slice(end + 2);
      if (data !== undefined) yield JSON.parse(data);
    }
  }
}
