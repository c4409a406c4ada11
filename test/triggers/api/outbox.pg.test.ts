import { beforeAll, describe, expect, test } from 'vitest';
import { makePerson, type Person } from '../../support/people.ts';
import {
  bury,
  claim,
  createTrigger,
  done,
  idOf,
  keyIn,
  manager,
  mutate,
  run,
  saveScript,
  setOff,
  statementsOf,
  triggersGateway,
} from './asking.ts';

/** What waits, what ran, and what failed for good, as its people see it. */
const setting = triggersGateway();
let script: string;
let trigger: string;
let route: string;
beforeAll(async () => {
  script = await saveScript(setting, { name: 'run' });
  trigger = await createTrigger(setting, { script });
  const saving = mutate<{ route: { id: string } }>(
    setting,
    'saveRoute',
    'route { id }',
    { project: { slug: 'hopper' }, method: 'POST', path: 'in', script },
    setting.grace,
  );
  route = (await done(saving)).route.id;
});

async function read<Data>(query: string, variables: Record<string, unknown> = {}, person: Person = setting.grace) {
  return setting.gateway.ask<Data>(query, variables, { token: person.token });
}

const origin = 'sourceKind trigger { id } route { id } script { name } principal { handle } project { slug }';
const ofTrigger = {
  trigger: { id: '' },
  route: null,
  script: { name: 'run' },
  principal: { handle: 'grace' },
  project: { slug: 'hopper' },
};

describe('the outbox', () => {
  test('shows what waits and what runs, with where it came from', async () => {
    await setOff(setting, script, { trigger, payload: { type: 'worktrees.update', data: { n: 1 } }, depth: 2 });
    await claim(setting);
    await setOff(setting, script, { trigger: route, source: 'http' });
    const { outbox, outboxStats } = await read<{ outbox: { nodes: Record<string, unknown>[] }; outboxStats: unknown }>(
      `{ outbox { nodes { id messageId ${origin} payload attempt failures retryMaxAttempts firstError dueAt claimedBy claimExpiresAt depth createdAt } }
        outboxStats { due claimed waiting oldestDueAt unresolvedDeadLetters } }`,
    );
    const [second, first] = outbox.nodes;
    expect(first).toMatchObject({
      ...ofTrigger,
      trigger: { id: trigger },
      sourceKind: 'KV',
      payload: { type: 'worktrees.update', data: { n: 1 } },
      attempt: 1,
      failures: 0,
      retryMaxAttempts: 3,
      firstError: null,
      claimedBy: 'worker',
      claimExpiresAt: expect.any(String),
      depth: 2,
    });
    expect(second).toMatchObject({
      sourceKind: 'HTTP',
      trigger: null,
      route: { id: route },
      attempt: 0,
      claimedBy: null,
    });
    expect(outboxStats).toMatchObject({
      due: 1,
      claimed: 1,
      waiting: 0,
      oldestDueAt: second?.dueAt,
      unresolvedDeadLetters: 0,
    });
    await setting.gateway.database.owner.query('delete from triggers.outbox');
  });

  test('is told of what was put off, and why', async () => {
    await setOff(setting, script);
    await run(setting, { status: 'failed', error: 'It broke.' });
    expect(
      await read(
        '{ outbox { nodes { attempt failures firstError trigger { id } route { id } } } outboxStats { due waiting oldestDueAt } }',
      ),
    ).toEqual({
      outbox: { nodes: [{ attempt: 1, failures: 1, firstError: 'It broke.', trigger: null, route: null }] },
      outboxStats: { due: 0, waiting: 1, oldestDueAt: null },
    });
    await setting.gateway.database.owner.query('delete from triggers.outbox');
  });
});

describe('executions', () => {
  test('tell how an attempt went, by trigger, route and script', async () => {
    const own = await saveScript(setting, { name: 'measured' });
    await setOff(setting, own, { trigger });
    await run(setting, { result: { data: { fine: true } } });
    await setOff(setting, own, { trigger: route, source: 'http' });
    await run(setting, { status: 'timed_out', error: 'It took too long.' });
    const fields = `uuid status attempt startedAt finishedAt durationMs worker result error ${origin}`;
    const { executions } = await read<{ executions: { nodes: Record<string, unknown>[] } }>(
      `query ($script: ID) { executions(script: $script) { nodes { id ${fields} } } }`,
      { script: own },
    );
    const [late, fine] = executions.nodes;
    expect(fine).toMatchObject({
      ...ofTrigger,
      script: { name: 'measured' },
      trigger: { id: trigger },
      status: 'SUCCEEDED',
      attempt: 1,
      worker: 'worker',
      result: { data: { fine: true } },
      error: null,
      durationMs: expect.any(Number),
    });
    expect(late).toMatchObject({ status: 'TIMED_OUT', result: null, error: 'It took too long.', route: { id: route } });
    const of = async (args: string) =>
      (await read<{ executions: { nodes: { id: string }[] } }>(`{ executions(first: 1, ${args}) { nodes { id } } }`))
        .executions.nodes;
    expect(await of(`trigger: "${trigger}"`)).toEqual([{ id: fine?.id }]);
    expect(await of(`trigger: "${route}"`)).toEqual([{ id: late?.id }]);
    expect(await of(`trigger: "${route}", script: "${own}"`)).toEqual([{ id: late?.id }]);
    expect(await of(`trigger: "${route}", script: "${script}"`)).toEqual([]);
    expect(await read('query ($id: ID!) { node(id: $id) { ... on Execution { status } } }', { id: fine?.id })).toEqual({
      node: { status: 'SUCCEEDED' },
    });
  });

  test('are told of still when their trigger and script are deleted', async () => {
    const own = await saveScript(setting, { name: 'short-lived' });
    const gone = await createTrigger(setting, { script: own });
    await setOff(setting, own, { trigger: gone });
    await run(setting);
    await done(mutate(setting, 'deleteTrigger', 'trigger { id }', { id: gone }, setting.grace));
    await done(mutate(setting, 'deleteScript', 'script { id }', { id: own }, setting.grace));
    expect(
      await read(
        'query ($id: ID!) { executions(script: $id) { nodes { trigger { id } script { name deletedAt } } } }',
        { id: own },
      ),
    ).toEqual({
      executions: { nodes: [{ trigger: null, script: { name: 'short-lived', deletedAt: expect.any(String) } }] },
    });
  });

  test('page through a list whose rows come and go', async () => {
    const own = await saveScript(setting);
    for (let count = 0; count < 5; count += 1) await setOff(setting, own);
    await run(setting);
    const query = `query ($script: ID, $after: String) {
      executions(script: $script, first: 2, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }`;
    interface Page {
      nodes: { id: string }[];
      pageInfo: { hasNextPage: boolean; endCursor: string };
    }
    const seen: string[] = [];
    for (let after: string | null = null, more = true; more; ) {
      const { executions }: { executions: Page } = await read(query, { script: own, after });
      seen.push(...executions.nodes.map(({ id }) => id));
      await setting.gateway.database.owner.query('delete from triggers.executions where id = $1', [
        keyIn(seen[0] ?? ''),
      ]);
      [after, more] = [executions.pageInfo.endCursor, executions.pageInfo.hasNextPage];
    }
    expect(new Set(seen).size).toBe(5);
  });
});

test('abandoned executions say for whom they came too late', async () => {
  await setOff(setting, script);
  const [execution = ''] = await run(setting, { result: 'late' });
  const { rows } = await setting.gateway.database.owner.query<{ id: string; reply_to: string }>(
    `insert into triggers.abandoned_executions (reply_to, execution_id, project_id, script_id, principal_id, result)
     values (gen_random_uuid(), $1, $2, $3, $4, '"late"') returning id, reply_to`,
    [execution, setting.projectId, keyIn(script), setting.grace.uuid],
  );
  const query = '{ abandonedExecutions { nodes { id replyTo script { name } execution { id } result error } } }';
  expect(await read(query)).toEqual({
    abandonedExecutions: {
      nodes: [
        {
          id: idOf('AbandonedExecution', rows[0]?.id ?? ''),
          replyTo: rows[0]?.reply_to,
          script: { name: 'run' },
          execution: { id: idOf('Execution', execution) },
          result: 'late',
          error: null,
        },
      ],
    },
  });
});

describe('who sees them', () => {
  const everything = `{ outbox { nodes { id } } outboxStats { due claimed waiting oldestDueAt unresolvedDeadLetters }
    executions { nodes { id } } deadLetters(filter: { unresolved: null }) { nodes { id } } abandonedExecutions { nodes { id } } }`;
  const nothing = {
    outbox: { nodes: [] },
    outboxStats: { due: 0, claimed: 0, waiting: 0, oldestDueAt: null, unresolvedDeadLetters: 0 },
    executions: { nodes: [] },
    deadLetters: { nodes: [] },
    abandonedExecutions: { nodes: [] },
  };

  test('neither strangers nor administrators, where a project has an owner', async () => {
    const letter = await bury(setting, script, { trigger });
    await setOff(setting, script, { trigger });
    expect(await read(everything, {}, setting.mallory)).toEqual(nothing);
    expect(await setting.gateway.ask(everything)).toEqual(nothing);
    expect(await read('query ($id: ID!) { node(id: $id) { id } }', { id: letter }, setting.mallory)).toEqual({
      node: null,
    });
  });

  test('administrators, of the whole registry', async () => {
    await setOff(setting, script, { projectId: null });
    const { outbox } = await setting.gateway.ask<{ outbox: { nodes: unknown[] } }>('{ outbox { nodes { id } } }');
    expect(outbox.nodes).toHaveLength(1);
  });

  test('without registry:read their projects stay closed, and nothing else', async () => {
    const { token } = await makePerson(setting.gateway, 'handler', ['TRIGGERS_ADMIN']);
    await setting.gateway.database.owner.query(
      'update registry.projects set owner_id = (select id from auth.principals where handle = $1)',
      ['handler'],
    );
    const { data, errors } = await setting.gateway.request<{ executions: { nodes: Record<string, unknown>[] } }>(
      '{ executions(first: 1) { nodes { status project { slug } } } }',
      {},
      { token },
    );
    expect(data.executions.nodes).toEqual([{ status: expect.any(String), project: null }]);
    expect(errors?.map(({ extensions }) => extensions.code)).toEqual(['FORBIDDEN']);
    await setting.gateway.database.owner.query('update registry.projects set owner_id = $1', [setting.grace.uuid]);
  });
});

describe('what a page costs', () => {
  test('as many statements for many rows as for few, with everything on them', async () => {
    for (let count = 0; count < 12; count += 1) {
      const own = await saveScript(setting);
      await bury(setting, own, { trigger: await createTrigger(setting, { script: own }) });
      await setOff(setting, own, { trigger });
    }
    for (const list of [
      `outbox(first: $n) { nodes { ${origin} payload } }`,
      `executions(first: $n) { nodes { ${origin} result script { document variables } } }`,
      `deadLetters(first: $n) { nodes { ${origin} payload } }`,
    ]) {
      const query = `query ($n: Int!) { ${list} }`;
      const few = await statementsOf(setting.gateway, () => read(query, { n: 2 }));
      expect([list, await statementsOf(setting.gateway, () => read(query, { n: 12 }))]).toEqual([list, few]);
    }
  });

  test('one statement for the outbox with its payloads: what is read in a second one may have left', async () => {
    expect(await statementsOf(setting.gateway, () => read('{ outbox { nodes { id payload attempt } } }'))).toBe(1);
  });

  test('no more than may be read and answered at once, however large payloads are', async () => {
    const large = await makePerson(setting.gateway, 'large', manager);
    const { owner } = setting.gateway.database;
    await owner.query(
      `insert into triggers.outbox (source_kind, script_id, principal_id, scopes, payload, lane, retry_max_attempts, retry_backoff, retry_base_ms)
       select 'kv', $1, $2, '{}', to_jsonb(repeat('x', 1000000)), 'operation', 1, 'constant', 1000 from generate_series(1, 40)`,
      [keyIn(script), large.uuid],
    );
    const ask = (n: number) =>
      setting.gateway.request<{ outbox: { nodes: unknown[] } }>(
        'query ($n: Int!) { outbox(first: $n) { nodes { id payload } } }',
        { n },
        { token: large.token },
      );
    expect((await ask(2)).errors).toBeUndefined();
    expect((await ask(40)).errors?.[0]?.extensions.code).toBe('LIMIT_EXCEEDED');
    const light = await read<{ outbox: { nodes: unknown[] } }>('{ outbox(first: 40) { nodes { id } } }', {}, large);
    expect(light.outbox.nodes).toHaveLength(40);
    await owner.query('delete from triggers.outbox where principal_id = $1', [large.uuid]);
  });
});
