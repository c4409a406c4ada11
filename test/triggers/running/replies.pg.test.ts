import { request } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { TestGateway } from '../../support/gateway.ts';
import { spawnGateway } from '../../support/gateway-process.ts';
import { makePerson } from '../../support/people.ts';
import { rows, value } from '../../support/sql.ts';
import type { Receiver } from '../receiver.ts';
import { database, owner, type Person, project, saveRoute, saveScript } from '../sql/setting.ts';
import { spawnDispatcher } from './processes.ts';
import {
  attemptsOf,
  deliveringTo,
  dispatching,
  receiving,
  startDispatching,
  untilEnded,
  untilFound,
} from './setting.ts';

/** Serves those who wait; who runs what they wait for is another gateway, or a process that a test can kill. */
let asked: TestGateway;
let grace: Person & { token: string };
beforeAll(async () => {
  asked = await startDispatching({ environment: { TREELINE_DISPATCH: 'off' } });
  const { uuid, token } = await makePerson(asked, 'grace', ['REGISTRY_READ', 'REGISTRY_WRITE', 'TRIGGERS_ADMIN']);
  grace = { id: uuid, token, scopes: ['registry:read', 'registry:write', 'triggers:admin'] };
});
afterAll(() => asked.close());

interface Invoked {
  result: unknown;
  execution: { status: string; error: string | null } | null;
  userErrors: { code: string; message: string }[];
}

const invocation = `mutation ($input: InvokeScriptInput!) {
  invokeScript(input: $input) { result execution { status error } userErrors { code message } }
}`;

async function invoke(script: string, more: Record<string, unknown> = {}): Promise<Invoked> {
  const { token } = grace;
  return (await asked.ask<{ invokeScript: Invoked }>(invocation, { input: { script, ...more } }, { token }))
    .invokeScript;
}

interface Abandoned {
  execution_id: string;
  result: unknown;
  error: string | null;
}

const untilAbandoned = (scriptId: string) =>
  untilFound(async () => {
    const found = await rows<Abandoned>(
      owner,
      'select execution_id, result, error from triggers.abandoned_executions where script_id = $1',
      [scriptId],
    );
    return found.length > 0 && found;
  });

const counted = (table: string) => value<number>(owner, `select count(*)::int from triggers.${table}`);

/** A script that runs for as long as its receiver leaves it unanswered. */
async function slowScript(): Promise<{ scriptId: string; receiver: Receiver; projectId: string; release: () => void }> {
  const receiver = await receiving();
  const { promise, resolve } = Promise.withResolvers<void>();
  receiver.reply((response) => void promise.then(() => response.writeHead(200).end('late')));
  const projectId = await project(grace);
  const scriptId = await saveScript(grace, projectId, deliveringTo(receiver));
  return { scriptId, receiver, projectId, release: resolve };
}

/** Begins a request; @returns how to leave it */
function post(url: string, body: string, headers: Record<string, string> = {}): () => Promise<void> {
  const sent = request(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers } });
  const closed = new Promise<void>((resolve) => void sent.on('close', resolve));
  sent.on('error', () => {});
  sent.end(body);
  return () => {
    sent.destroy();
    return closed;
  };
}

describe('who waits for a script', () => {
  beforeEach(async () => {
    await dispatching();
  });

  test('gets its result, of what was given to it', async () => {
    const scriptId = await saveScript(grace, await project(grace), {
      document: 'mutation ($name: String!) { registerProject(input: { name: $name }) { project { name } } }',
      variables: { name: "=input.name & ' for ' & caller.handle" },
    });
    expect(await invoke(scriptId, { input: { name: 'Sheep' } })).toEqual({
      result: { registerProject: { project: { name: 'Sheep for grace' } } },
      execution: { status: 'SUCCEEDED', error: null },
      userErrors: [],
    });
    expect([await counted('outbox'), await counted('replies')]).toEqual([0, 0]);
  });

  test('is told of a failure, which is not tried again and leaves no dead letter', async () => {
    const receiver = await receiving();
    receiver.reply({ status: 500 });
    const scriptId = await saveScript(grace, await project(grace), deliveringTo(receiver));
    const { result, execution, userErrors } = await invoke(scriptId);
    expect({ result, execution }).toEqual({
      result: null,
      execution: { status: 'FAILED', error: 'Expected an answer from 200 to 299, got 500.' },
    });
    expect(userErrors).toMatchObject([{ code: 'CONFLICT', message: expect.stringContaining('got 500') }]);
    expect(receiver.deliveries).toHaveLength(1);
    expect([await counted('outbox'), await counted('replies'), await counted('dead_letters')]).toEqual([0, 0, 0]);
  });

  test('for less than it takes is told so, and the result is kept when it comes', async () => {
    const { scriptId, receiver, release } = await slowScript();
    const { execution, userErrors } = await invoke(scriptId, { timeoutMs: 1_000 });
    expect({ execution, userErrors }).toMatchObject({
      execution: null,
      userErrors: [{ code: 'TIMED_OUT', message: expect.stringMatching(/within 1000 ms: .*abandonedExecutions/) }],
    });
    expect(receiver.deliveries).toHaveLength(1);
    release();
    const [{ id } = { id: '' }] = await untilEnded(scriptId);
    expect(await untilAbandoned(scriptId)).toEqual([
      { execution_id: id, result: { status: 200, body: 'late' }, error: null },
    ]);
  });

  test.each([
    ['with invokeScript', () => '/graphql'],
    [
      'at a route',
      async (scriptId: string, projectId: string) =>
        value<string>(owner, 'select path from triggers.routes where id = $1', [
          await saveRoute(grace, projectId, { script_id: scriptId, dispatch_mode: 'sync' }),
        ]),
    ],
  ])('and leaves meanwhile, %s, leaves the result to be found', async (_how, findPath) => {
    const { scriptId, receiver, projectId, release } = await slowScript();
    const body = JSON.stringify({ query: invocation, variables: { input: { script: scriptId } } });
    const leave = post(`${asked.url}${await findPath(scriptId, projectId)}`, body, {
      authorization: `Bearer ${grace.token}`,
    });
    await receiver.untilDelivered(1);
    await leave();
    // By the time that this is answered it has been seen that the other one is gone.
    await fetch(`${asked.url}/health`);
    release();
    expect(await untilAbandoned(scriptId)).toMatchObject([{ result: { status: 200 } }]);
    expect(await counted('replies')).toBe(0);
  });

  test('in a gateway that dies leaves the result to be found', async () => {
    const { scriptId, receiver, release } = await slowScript();
    const gateway = await spawnGateway({
      databaseUrl: database.ownerUrl,
      token: asked.token,
      environment: { TREELINE_DISPATCH: 'off' },
    });
    const waiting = gateway
      .ask(invocation, { input: { script: scriptId } }, { token: grace.token })
      .catch((error: unknown) => error);
    await receiver.untilDelivered(1);
    await gateway.kill();
    expect(await waiting).toBeInstanceOf(Error);
    release();
    await untilEnded(scriptId);
    expect(await rows(owner, 'select from triggers.abandoned_executions where script_id = $1', [scriptId])).toEqual([]);
    await owner.query(`update triggers.replies set wait_until = wait_until - interval '5 minutes'`);
    await owner.query('select triggers.sweep_replies()');
    expect(await untilAbandoned(scriptId)).toMatchObject([{ result: { status: 200 } }]);
    expect(await counted('replies')).toBe(0);
  });
});

describe('who waits where', () => {
  test('no dispatcher runs is told that, and nothing is run later', async () => {
    const receiver = await receiving();
    const scriptId = await saveScript(grace, await project(grace), deliveringTo(receiver));
    const { execution, userErrors } = await invoke(scriptId, { timeoutMs: 50 });
    expect({ execution, userErrors }).toMatchObject({
      execution: null,
      userErrors: [
        {
          code: 'TIMED_OUT',
          message: expect.stringMatching(/no dispatcher took the script up, and it will not be run/),
        },
      ],
    });
    await dispatching();
    const sound = await saveScript(grace, await project(grace));
    expect((await invoke(sound)).execution).toMatchObject({ status: 'SUCCEEDED' });
    expect(await attemptsOf(scriptId)).toEqual([]);
    expect(receiver.deliveries).toEqual([]);
  });

  test('the dispatcher dies while the script runs is told that it is lost, and it is not run again', async () => {
    const { scriptId, receiver } = await slowScript();
    const dispatcher = await spawnDispatcher({
      DATABASE_URL: database.ownerUrl,
      TREELINE_DISPATCH_LEASE_MS: '1000',
      TREELINE_WEBHOOK_ALLOW: '127.0.0.0/8',
    });
    const waiting = invoke(scriptId);
    await receiver.untilDelivered(1);
    await dispatcher.kill();
    await dispatching({ environment: { TREELINE_DISPATCH_LEASE_MS: '1000' } });
    const { execution, userErrors } = await waiting;
    expect(execution).toEqual({ status: 'LOST', error: 'Its worker stopped answering while it was at it.' });
    expect(userErrors).toMatchObject([{ code: 'CONFLICT' }]);
    expect(receiver.deliveries).toHaveLength(1);
    expect(await counted('outbox')).toBe(0);
  });
});
