import { beforeAll, describe, expect, test } from 'vitest';
import { makePerson, makeProject, type Person, setMember } from '../../support/people.ts';
import {
  bury,
  createTrigger,
  done,
  idOf,
  keyIn,
  manager,
  mutate,
  refused,
  run,
  saveScript,
  setOff,
  statementsOf,
  triggersGateway,
} from './asking.ts';

const setting = triggersGateway();
let script: string;
let coOwner: Person;
beforeAll(async () => {
  script = await saveScript(setting, { name: 'run' });
  coOwner = await makePerson(setting.gateway, 'co-owner', manager);
  await setMember(setting.gateway, setting.projectId, coOwner, 'owner');
});

const fields = `id uuid kind enabled condition dispatchMode retryMaxAttempts retryBackoff retryBaseMs scopes collectionGlob ops
  sourceFilter triggerFilter scriptFilter cron timezone nextDueAt catchUp project { slug } script { name } registeredBy { handle }`;

type Trigger = Record<string, unknown> & { id: string };

const create = (input: Record<string, unknown>, person: Person = setting.grace) =>
  mutate<{ trigger: Trigger | null }>(
    setting,
    'createTrigger',
    `trigger { ${fields} }`,
    { project: { slug: 'hopper' }, script, ...input },
    person,
  );
const update = (input: Record<string, unknown>, person: Person = setting.grace) =>
  mutate<{ trigger: Trigger | null }>(setting, 'updateTrigger', `trigger { ${fields} }`, input, person);

const kv = (collectionGlob: string, ...ops: string[]) => ({ kv: { collectionGlob, ops } });

async function read<Data>(query: string, variables: Record<string, unknown> = {}, person: Person = setting.grace) {
  return setting.gateway.ask<Data>(query, variables, { token: person.token });
}

describe('createTrigger', () => {
  test('for changes, with the gateway’s settings of retries written into it', async () => {
    const { trigger } = await done(create({ spec: kv('worktrees', 'UPDATE', 'INSERT') }));
    expect(trigger).toMatchObject({
      kind: 'KV',
      enabled: true,
      condition: null,
      dispatchMode: 'ASYNC',
      retryMaxAttempts: 3,
      retryBackoff: 'EXPONENTIAL',
      retryBaseMs: 1_000,
      scopes: expect.arrayContaining(manager),
      collectionGlob: 'worktrees',
      ops: ['INSERT', 'UPDATE'],
      sourceFilter: null,
      triggerFilter: null,
      scriptFilter: null,
      cron: null,
      timezone: null,
      nextDueAt: null,
      catchUp: null,
      project: { slug: 'hopper' },
      script: { name: 'run' },
      registeredBy: { handle: 'grace' },
    });
    expect(trigger?.id).toBe(idOf('Trigger', trigger?.uuid as string));
  });

  test('for dead letters, of a trigger or of a route', async () => {
    const of = await createTrigger(setting);
    const { route } = await done(
      mutate<{ route: { id: string } }>(
        setting,
        'saveRoute',
        'route { id }',
        { project: { slug: 'hopper' }, method: 'post', path: 'letters', script },
        setting.grace,
      ),
    );
    for (const filter of [of, route.id]) {
      const { trigger } = await done(create({ spec: { deadLetter: { source: 'HTTP', trigger: filter, script } } }));
      expect(trigger).toMatchObject({
        kind: 'DEAD_LETTER',
        sourceFilter: 'HTTP',
        triggerFilter: filter,
        scriptFilter: script,
        ops: null,
      });
    }
  });

  test('for the clock, and says when it is due', async () => {
    const spec = { cron: { expression: '30 3 29 2 *', timezone: 'Europe/Berlin', catchUp: 'ONCE' } };
    const retries = { retryMaxAttempts: 7, retryBackoff: 'LINEAR', retryBaseMs: 5 };
    const { trigger } = await done(create({ spec, condition: 'missed < 3', enabled: false, ...retries }));
    expect(trigger).toMatchObject({
      kind: 'CRON',
      enabled: false,
      condition: 'missed < 3',
      cron: '30 3 29 2 *',
      timezone: 'Europe/Berlin',
      catchUp: 'ONCE',
      nextDueAt: expect.stringMatching(/-02-29T02:30:00/),
      ...retries,
    });
  });

  test('says what is wrong with it, at its place', async () => {
    const spec = kv('projects');
    const cases: [Record<string, unknown>, [string, string][]][] = [
      [{ spec: kv('hosts') }, [['INVALID', 'input.spec.kv.collectionGlob']]],
      [{ spec: kv('messages') }, [['FORBIDDEN', 'input.spec']]],
      [{ spec, dispatchMode: 'SYNC' }, [['INVALID', 'input.dispatchMode']]],
      [{ spec, condition: 'a +' }, [['INVALID', 'input.condition']]],
      [{ spec, retryMaxAttempts: 101 }, [['INVALID', 'input.retryMaxAttempts']]],
      [{ spec, retryBaseMs: 0 }, [['INVALID', 'input.retryBaseMs']]],
      [{ spec: { cron: { expression: 'often' } } }, [['INVALID', 'input.spec.cron.expression']]],
      [{ spec: { cron: { expression: '0 0 30 2 *' } } }, [['INVALID', 'input.spec.cron.expression']]],
      [
        { spec: { cron: { expression: '* * * * *', timezone: 'Mars/Base' } } },
        [['INVALID', 'input.spec.cron.timezone']],
      ],
      [{ spec: { deadLetter: { trigger: 'nonsense' } } }, [['NOT_FOUND', 'input.spec.deadLetter.trigger']]],
      [{ spec, script: 'nonsense' }, [['NOT_FOUND', 'input.script']]],
      [{ spec, script: idOf('Script', setting.projectId) }, [['NOT_FOUND', 'input.script']]],
      [{ spec, project: { slug: 'nowhere' } }, [['NOT_FOUND', 'input.project']]],
      [{ spec, project: null }, [['FORBIDDEN', 'input']]],
    ];
    for (const [input, expected] of cases) expect([input, await refused(create(input))]).toEqual([input, expected]);
  });

  test('of a collection that there is not lists those that there are', async () => {
    const { userErrors } = await create({ spec: kv('worktree') });
    for (const shown of ['worktrees', 'mirror', 'sync:<app>:<table>', 'prefix:*']) {
      expect(userErrors[0]?.message).toContain(shown);
    }
  });

  test('takes nobody else’s script, and no project of others', async () => {
    expect(await refused(create({ spec: kv('*') }, coOwner))).toEqual([['FORBIDDEN', 'input.script']]);
    expect(await refused(create({ spec: kv('*') }, setting.mallory))).toEqual([['FORBIDDEN', 'input']]);
  });
});

describe('updateTrigger', () => {
  test('changes what is given; a null condition clears it', async () => {
    const id = await createTrigger(setting, { spec: kv('claims', 'DELETE'), condition: 'true' });
    const before = { enabled: true, condition: 'true', collectionGlob: 'claims', ops: ['DELETE'], retryMaxAttempts: 3 };
    expect((await done(update({ id, retryBaseMs: 9 }))).trigger).toMatchObject({ ...before, retryBaseMs: 9 });
    expect((await done(update({ id, enabled: null, retryBackoff: null }))).trigger).toMatchObject(before);
    const changed = await done(
      update({ id, condition: null, spec: kv('*'), retryBackoff: 'CONSTANT', enabled: false }),
    );
    expect(changed.trigger).toMatchObject({
      enabled: false,
      condition: null,
      collectionGlob: '*',
      ops: [],
      retryBackoff: 'CONSTANT',
      retryBaseMs: 9,
    });
  });

  test('keeps its kind, and says what is wrong', async () => {
    const id = await createTrigger(setting);
    expect(await refused(update({ id, spec: { deadLetter: {} } }))).toEqual([['INVALID', 'input.spec']]);
    expect(await refused(update({ id, condition: '=' }))).toEqual([['INVALID', 'input.condition']]);
    expect(await refused(update({ id: 'nonsense' }))).toEqual([['NOT_FOUND', 'input.id']]);
    expect(await refused(update({ id, enabled: false }, setting.mallory))).toEqual([['NOT_FOUND', 'input.id']]);
  });

  test('lets other owners disable it and nothing else', async () => {
    const id = await createTrigger(setting);
    expect(await refused(update({ id, condition: 'false' }, coOwner))).toEqual([['FORBIDDEN', 'input']]);
    expect((await done(update({ id, enabled: false }, coOwner))).trigger).toMatchObject({ enabled: false });
    expect(await refused(update({ id, enabled: true }, coOwner))).toEqual([['FORBIDDEN', 'input']]);
  });
});

test('deleteTrigger answers it as it was, and deletes what waits of it', async () => {
  const id = await createTrigger(setting, { script });
  await setOff(setting, script, { trigger: id });
  const remove = (person: Person) =>
    mutate<{ trigger: Trigger | null }>(setting, 'deleteTrigger', 'trigger { id }', { id }, person);
  expect(await refused(remove(setting.mallory))).toEqual([['NOT_FOUND', 'input.id']]);
  expect(await done(remove(coOwner))).toMatchObject({ trigger: { id } });
  expect(await read('query ($id: ID!) { trigger(id: $id) { id } outboxStats { due } }', { id })).toEqual({
    trigger: null,
    outboxStats: { due: 0 },
  });
  expect(await refused(remove(coOwner))).toEqual([['NOT_FOUND', 'input.id']]);
});

describe('what became of it', () => {
  test('is counted: what waits, what nobody has seen to, how the last attempts ended; and the newest attempt', async () => {
    const [busy, idle] = [await createTrigger(setting, { script }), await createTrigger(setting, { script })];
    await setOff(setting, script, { trigger: busy });
    await run(setting, { result: { fine: true } });
    await setOff(setting, script, { trigger: busy });
    await run(setting, { status: 'timed_out', error: 'It took too long.' });
    await bury(setting, script, { trigger: busy });
    const query = `query ($id: ID!) { trigger(id: $id) {
      stats { waiting unresolvedDeadLetters running succeeded failed timedOut lost }
      lastExecution { status error }
      executions(first: 2) { nodes { status } pageInfo { hasNextPage } }
    } }`;
    expect(await read(query, { id: busy })).toEqual({
      trigger: {
        stats: { waiting: 1, unresolvedDeadLetters: 1, running: 0, succeeded: 1, failed: 1, timedOut: 1, lost: 0 },
        lastExecution: { status: 'FAILED', error: 'It broke.' },
        executions: { nodes: [{ status: 'FAILED' }, { status: 'TIMED_OUT' }], pageInfo: { hasNextPage: true } },
      },
    });
    expect(await read(query, { id: idle })).toMatchObject({
      trigger: { stats: { waiting: 0, failed: 0 }, lastExecution: null, executions: { nodes: [] } },
    });
  });
});

describe('lists of triggers', () => {
  interface Listed {
    nodes: { id: string; kind: string }[];
    pageInfo: { hasNextPage: boolean; endCursor: string };
  }
  const list = async (args: string, person?: Person) =>
    (
      await read<{ triggers: Listed }>(
        `{ triggers${args} { nodes { id kind } pageInfo { hasNextPage endCursor } } }`,
        {},
        person,
      )
    ).triggers;

  test('by project, kind and script, the newest first, page by page', async () => {
    const slug = 'lists';
    const projectId = await makeProject(setting.gateway, slug, setting.grace);
    const own = await saveScript(setting, { project: { id: projectId } });
    const specs = [kv('*'), { cron: { expression: '* * * * *' } }, kv('claims'), { deadLetter: {} }];
    const ids: string[] = [];
    for (const spec of specs)
      ids.unshift(await createTrigger(setting, { project: { id: projectId }, script: own, spec }));
    const first = await list(`(project: { slug: "${slug}" }, first: 3)`);
    expect(first.nodes.map(({ id }) => id)).toEqual(ids.slice(0, 3));
    const rest = await list(`(project: { slug: "${slug}" }, first: 3, after: "${first.pageInfo.endCursor}")`);
    expect([rest.nodes.map(({ id }) => id), rest.pageInfo.hasNextPage]).toEqual([ids.slice(3), false]);
    const back = await list(`(project: { slug: "${slug}" }, last: 2)`);
    expect(back.nodes.map(({ id }) => id)).toEqual(ids.slice(2));
    expect((await list(`(script: "${own}", kind: [CRON, DEAD_LETTER])`)).nodes.map(({ kind }) => kind)).toEqual([
      'DEAD_LETTER',
      'CRON',
    ]);
    expect((await list('(project: { slug: "nowhere" })')).nodes).toEqual([]);
    const ofProject = await read<{ project: { triggers: Listed } }>(
      '{ project(by: { slug: "lists" }) { triggers(first: 1) { nodes { id } pageInfo { hasNextPage } } } }',
    );
    expect(ofProject.project.triggers).toEqual({ nodes: [{ id: ids[0] }], pageInfo: { hasNextPage: true } });
  });

  test('strangers see nothing, owners of the project see what others registered there', async () => {
    const id = await createTrigger(setting);
    const query =
      'query ($id: ID!) { trigger(id: $id) { id } node(id: $id) { id } project(by: { slug: "hopper" }) { triggers(first: 1) { nodes { id } } } }';
    const seen = { trigger: { id }, node: { id }, project: { triggers: { nodes: [{ id }] } } };
    expect(await read(query, { id }, coOwner)).toEqual(seen);
    expect((await list('', setting.mallory)).nodes).toEqual([]);
    expect(await read(query, { id }, setting.mallory)).toEqual({
      trigger: null,
      node: null,
      project: { triggers: { nodes: [] } },
    });
  });

  test('take one by its bare UUID, and say what is no id', async () => {
    const id = await createTrigger(setting);
    expect(await read('query ($id: ID!) { trigger(id: $id) { id } }', { id: keyIn(id) })).toEqual({ trigger: { id } });
    const { errors } = await setting.gateway.request('{ trigger(id: "nonsense") { id } }');
    expect(errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
  });

  test('cost as many statements for many triggers as for few, with everything on them', async () => {
    for (let count = 0; count < 12; count += 1) {
      const trigger = await createTrigger(setting);
      await setOff(setting, script, { trigger });
    }
    await run(setting);
    await createTrigger(setting, { spec: { deadLetter: { trigger: await createTrigger(setting) } } });
    const query = `query ($n: Int!) { triggers(first: $n) { nodes { ${fields} stats { waiting } lastExecution { status trigger { id } }
      executions(first: 2) { nodes { status principal { handle } script { name document } result } } } } }`;
    const few = await statementsOf(setting.gateway, () => read(query, { n: 3 }));
    expect(await statementsOf(setting.gateway, () => read(query, { n: 20 }))).toBe(few);
    expect(few).toBeLessThan(15);
  });
});
