import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { makeProject, type Person } from '../../support/people.ts';
import {
  bury,
  createTrigger,
  done,
  idOf,
  keyIn,
  mutate,
  type Payload,
  refused,
  run,
  saveScript,
  triggersGateway,
} from './asking.ts';

const setting = triggersGateway();
let script: string;
let trigger: string;
beforeAll(async () => {
  script = await saveScript(setting, { name: 'run' });
  trigger = await createTrigger(setting, { script });
});
beforeEach(async () => {
  await setting.gateway.database.owner.query('delete from triggers.dead_letters; delete from triggers.outbox');
});

interface Letter {
  id: string;
  resolution: string | null;
}
interface Outcome {
  replayedCount: number | null;
  hasMore: boolean | null;
  deadLetters: Letter[] | null;
}

const replay = (input: Record<string, unknown>, person: Person = setting.grace): Promise<Payload<Outcome>> =>
  mutate(setting, 'replayDeadLetters', 'replayedCount hasMore deadLetters { id resolution }', input, person);
const ignore = (input: Record<string, unknown>, person: Person = setting.grace) =>
  mutate<{ ignoredCount: number; deadLetters: Letter[] }>(
    setting,
    'ignoreDeadLetters',
    'ignoredCount deadLetters { id resolution resolvedAt }',
    input,
    person,
  );

async function list(filter: string, person: Person = setting.grace): Promise<string[]> {
  const { deadLetters } = await setting.gateway.ask<{ deadLetters: { nodes: Letter[] } }>(
    `{ deadLetters${filter} { nodes { id } } }`,
    {},
    { token: person.token },
  );
  return deadLetters.nodes.map(({ id }) => id);
}

test('a dead letter says what was to be run, why it failed and what became of it', async () => {
  const id = await bury(setting, script, { trigger, payload: { type: 'worktrees.update', n: 1 }, depth: 3 });
  const { node } = await setting.gateway.ask<{ node: Record<string, unknown> }>(
    `query ($id: ID!) { node(id: $id) { ... on DeadLetter { uuid messageId sourceKind trigger { id } route { id } script { name } payload attempts
      firstError lastError depth principal { handle } project { slug } createdAt resolvedAt resolution } } }`,
    { id },
    { token: setting.grace.token },
  );
  expect(node).toMatchObject({
    uuid: keyIn(id),
    sourceKind: 'KV',
    trigger: { id: trigger },
    route: null,
    script: { name: 'run' },
    payload: { type: 'worktrees.update', n: 1 },
    attempts: 1,
    firstError: 'It broke.',
    lastError: 'It broke.',
    depth: 3,
    principal: { handle: 'grace' },
    project: { slug: 'hopper' },
    resolvedAt: null,
    resolution: null,
  });
});

test('dead letters are filtered; the unresolved ones are listed unless somebody asks for others', async () => {
  const other = await saveScript(setting);
  const [first, second] = [await bury(setting, script, { trigger }), await bury(setting, other, { source: 'cron' })];
  await done(ignore({ ids: [first] }));
  const third = await bury(setting, script);
  const cases: [string, string[]][] = [
    ['', [third, second]],
    ['(filter: {})', [third, second]],
    ['(filter: { unresolved: null })', [third, second, first]],
    ['(filter: { unresolved: false })', [first]],
    ['(filter: { source: [CRON, HTTP] })', [second]],
    [`(filter: { unresolved: null, trigger: "${trigger}" })`, [first]],
    [`(filter: { unresolved: null, script: "${script}" })`, [third, first]],
    ['(filter: { project: { slug: "hopper" } }, first: 1)', [third]],
    ['(filter: { project: { slug: "nowhere" } })', []],
    ['(filter: { since: "2999-01-01T00:00:00Z" })', []],
    ['(filter: { since: "2001-01-01T00:00:00Z" })', [third, second]],
  ];
  for (const [filter, expected] of cases) expect([filter, await list(filter)]).toEqual([filter, expected]);
});

describe('by id', () => {
  test('those that can be are replayed, each of the others is refused at its place', async () => {
    const [good, again] = [await bury(setting, script, { trigger }), await bury(setting, script)];
    await done(replay({ ids: [again] }));
    await setting.gateway.database.owner.query('delete from triggers.outbox');
    const nobodys = idOf('DeadLetter', setting.projectId);
    const outcome = await replay({ ids: ['nonsense', again, keyIn(good), nobodys] });
    expect(outcome).toMatchObject({
      replayedCount: 1,
      hasMore: false,
      deadLetters: [{ id: good, resolution: 'REPLAYED' }],
      cursor: expect.any(String),
    });
    expect(outcome.userErrors.map(({ code, path }) => [code, path.join('.')]).toSorted()).toEqual([
      ['NOT_FOUND', 'input.ids.0'],
      ['NOT_FOUND', 'input.ids.3'],
      ['NOT_REPLAYABLE', 'input.ids.1'],
    ]);
    expect(outcome.userErrors.find(({ code }) => code === 'NOT_REPLAYABLE')?.details).toEqual({ id: again });
    const waiting = await setting.gateway.ask(
      '{ outbox { nodes { sourceKind trigger { id } attempt } } }',
      {},
      { token: setting.grace.token },
    );
    expect(waiting).toEqual({ outbox: { nodes: [{ sourceKind: 'REPLAY', trigger: { id: trigger }, attempt: 0 }] } });
  });

  test('one of a deleted script is refused, and can be ignored', async () => {
    const own = await saveScript(setting);
    const letter = await bury(setting, own);
    await done(mutate(setting, 'deleteScript', 'script { id }', { id: own }, setting.grace));
    expect(await refused(replay({ ids: [letter] }))).toEqual([['NOT_REPLAYABLE', 'input.ids.0']]);
    expect(await done(ignore({ ids: [letter] }))).toMatchObject({
      ignoredCount: 1,
      deadLetters: [{ id: letter, resolution: 'IGNORED', resolvedAt: expect.any(String) }],
    });
  });

  test('strangers’ are as unknown as none; more than a thousand are refused at once', async () => {
    const letter = await bury(setting, script);
    expect(await refused(replay({ ids: [letter] }, setting.mallory))).toEqual([['NOT_FOUND', 'input.ids.0']]);
    expect(await list('')).toEqual([letter]);
    const outcome = await replay({ ids: Array.from({ length: 1_001 }, () => letter) });
    expect(outcome.userErrors).toMatchObject([
      { code: 'PAYLOAD_TOO_LARGE', path: ['input', 'ids'], details: { limit: 1_000 } },
    ]);
  });

  test('two who replay one letter at once run it once', async () => {
    const letter = await bury(setting, script);
    const outcomes = await Promise.all(Array.from({ length: 6 }, () => replay({ ids: [letter] })));
    expect(outcomes.map(({ replayedCount }) => replayedCount).toSorted()).toEqual([0, 0, 0, 0, 0, 1]);
    expect(await run(setting)).toHaveLength(1);
  });
});

describe('by filter', () => {
  test('the unresolved ones of it, and no others', async () => {
    const [ofTrigger, other] = [await bury(setting, script, { trigger }), await bury(setting, script)];
    const outcome = await done(
      replay({ filter: { trigger, source: ['KV'], project: { slug: 'hopper' }, since: '2001-01-01T00:00:00Z' } }),
    );
    expect(outcome).toMatchObject({ replayedCount: 1, hasMore: false, deadLetters: [{ id: ofTrigger }] });
    expect(await done(ignore({ filter: {} }))).toMatchObject({ ignoredCount: 1, deadLetters: [{ id: other }] });
    expect(await done(ignore({ filter: {} }))).toMatchObject({ ignoredCount: 0, deadLetters: [] });
  });

  test('a thousand at a time, and says that there may be more', async () => {
    const { owner } = setting.gateway.database;
    await owner.query(
      `insert into triggers.dead_letters (message_id, project_id, source_kind, script_id, principal_id, scopes, payload, attempts, first_error,
         last_error, retry_max_attempts, retry_backoff, retry_base_ms, depth)
       select gen_random_uuid(), $1, 'kv', $2, $3, '{}', '{}', 1, 'x', 'x', 3, 'constant', 1000, 0 from generate_series(1, 1001)`,
      [setting.projectId, keyIn(script), setting.grace.uuid],
    );
    const counted = () =>
      mutate<Outcome>(setting, 'replayDeadLetters', 'replayedCount hasMore', { filter: {} }, setting.grace);
    expect(await done(counted())).toMatchObject({ replayedCount: 1_000, hasMore: true });
    expect(await done(counted())).toMatchObject({ replayedCount: 1, hasMore: false });
  });

  test('says what is wrong with it, at its place', async () => {
    const cases: [Record<string, unknown>, [string, string][]][] = [
      [{ unresolved: false }, [['INVALID', 'input.filter.unresolved']]],
      [{ trigger: 'nonsense' }, [['NOT_FOUND', 'input.filter.trigger']]],
      [{ script: 'nonsense' }, [['NOT_FOUND', 'input.filter.script']]],
      [{ project: { slug: 'nowhere' } }, [['NOT_FOUND', 'input.filter.project']]],
      [{ project: { id: 'nonsense' } }, [['NOT_FOUND', 'input.filter.project']]],
    ];
    for (const [filter, expected] of cases)
      expect([filter, await refused(replay({ filter }))]).toEqual([filter, expected]);
  });

  test('of strangers means none', async () => {
    await bury(setting, script);
    await makeProject(setting.gateway, 'empty', setting.mallory);
    expect(await done(replay({ filter: {} }, setting.mallory))).toMatchObject({ replayedCount: 0 });
  });
});
