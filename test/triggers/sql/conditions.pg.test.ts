import { beforeEach, describe, expect, test } from 'vitest';
import { rows, value } from '../../support/sql.ts';
import { lettersOf, log, match, matched, waiting } from './matching.ts';
import { claimOne, failed, finish } from './running.ts';
import { anything, connect, createTrigger, owner, type Person, person, project } from './setting.ts';

let ada: Person;
let place: string;
beforeEach(async () => {
  await owner.query('delete from triggers.triggers');
  await owner.query('delete from triggers.outbox');
  ada = await person();
  place = await project(ada);
});

const conditioned = { condition: 'data.n = 1' };

interface Candidate {
  id: string;
  trigger_id: string;
  condition: string;
  payload: Record<string, unknown>;
}

/** @param quick of these many are taken; of those that are not named one each */
async function take(
  { quick = [], slow = [], leaseMs = 60_000 }: { quick?: string[]; slow?: string[]; leaseMs?: number } = {},
  client = owner,
): Promise<Candidate[]> {
  return rows<Candidate>(client, 'select * from triggers.take_candidates(500, $1::uuid[], $2::uuid[], $3)', [
    quick,
    slow,
    leaseMs,
  ]);
}

const settle = (verdicts: readonly { id: string; passed?: boolean; error?: string }[], maxDepth = 8) =>
  value<number>(owner, 'select triggers.settle_candidates($1, $2)', [JSON.stringify(verdicts), maxDepth]);

const passed = ({ id }: Candidate) => ({ id, passed: true });

describe('a trigger with a condition', () => {
  test('has nothing in the outbox until somebody says that it is true', async () => {
    const trigger = await createTrigger(ada, place, anything, { ...conditioned, retry_base_ms: 77 });
    const plain = await createTrigger(ada, place);
    const [first, second] = await log({ project_id: place, depth: 2 }, { project_id: place });
    await match();
    expect([await matched(trigger), await matched(plain)]).toEqual([[], [first, second]]);
    const [one, other, ...more] = await take({ quick: [trigger] });
    expect(more).toEqual([]);
    expect([one, other]).toMatchObject([
      { trigger_id: trigger, condition: 'data.n = 1', payload: { position: first, depth: 2 } },
      { trigger_id: trigger, condition: 'data.n = 1', payload: { position: second } },
    ]);
    expect(await settle([passed(one as Candidate), { id: other?.id ?? '', passed: false }])).toBe(1);
    expect(await waiting(trigger)).toMatchObject([
      {
        source_kind: 'kv',
        depth: 2,
        lane: 'operation',
        retry_base_ms: 77,
        principal_id: ada.id,
        payload: one?.payload,
      },
    ]);
    expect(await take({ quick: [trigger] })).toEqual([]);
  });

  test('whose condition cannot be told leaves a dead letter', async () => {
    const trigger = await createTrigger(ada, place, anything, conditioned);
    await log({ project_id: place });
    await match();
    const [{ id } = { id: '' }] = await take();
    expect(await settle([{ id, error: 'It is no condition.' }])).toBe(0);
    expect(await matched(trigger)).toEqual([]);
    expect(await lettersOf(trigger)).toMatchObject([
      {
        source_kind: 'kv',
        attempts: 0,
        first_error: 'It is no condition.',
        last_error: 'It is no condition.',
        resolved: false,
      },
    ]);
  });

  test('that would run at the depth limit leaves a dead letter, only if the condition is true', async () => {
    const trigger = await createTrigger(ada, place, anything, conditioned);
    await log({ project_id: place, depth: 8 });
    await match();
    expect(await lettersOf(trigger)).toEqual([]);
    expect(await settle((await take()).map(passed))).toBe(0);
    expect(await lettersOf(trigger)).toMatchObject([
      { depth: 8, last_error: expect.stringContaining('TREELINE_TRIGGER_MAX_DEPTH') },
    ]);
  });

  test('that is gone, disabled, or means something else by then sets off nothing', async () => {
    const [gone, disabled, changed] = await Promise.all(
      [1, 2, 3].map(() => createTrigger(ada, place, anything, conditioned)),
    );
    await log({ project_id: place });
    await match();
    const taken = await take();
    expect(new Set(taken.map((one) => one.trigger_id))).toEqual(new Set([gone, disabled, changed]));
    await owner.query('delete from triggers.triggers where id = $1', [gone]);
    await owner.query('update triggers.triggers set enabled = false where id = $1', [disabled]);
    await owner.query(`update triggers.triggers set condition = 'false' where id = $1`, [changed]);
    expect(await settle(taken.flatMap((one) => [passed(one)]))).toBe(0);
    expect([await matched(disabled ?? ''), await matched(changed ?? '')]).toEqual([[], []]);
  });
});

describe('candidates', () => {
  test('are tested by one at a time, and by another when the lease has ended; what comes of them counts once', async () => {
    const trigger = await createTrigger(ada, place, anything, conditioned);
    const [position] = await log({ project_id: place });
    await match();
    const taken = await take({ leaseMs: 0 });
    const again = await take();
    expect(again).toEqual(taken);
    expect(await take()).toEqual([]);
    expect([await settle(again.map(passed)), await settle(taken.map(passed))]).toEqual([1, 0]);
    expect(await matched(trigger)).toEqual([position]);
  });

  test('are taken by several at once each by one', async () => {
    const trigger = await createTrigger(ada, place, anything, conditioned);
    const positions = await log(...Array.from({ length: 40 }, () => ({ project_id: place })));
    await match();
    const takers = await Promise.all(Array.from({ length: 4 }, () => connect()));
    const taken = await Promise.all(takers.map((taker) => take({ quick: [trigger] }, taker as never)));
    expect(
      taken
        .flat()
        .map(({ payload }) => payload.position)
        .toSorted(),
    ).toEqual(positions.toSorted());
  });

  test('of a slow trigger keep no quick one waiting: of those that are slow one is taken, in turn', async () => {
    const [quick = '', slow = '', slower = '', unknown = ''] = await Promise.all(
      [1, 2, 3, 4].map(() => createTrigger(ada, place, anything, conditioned)),
    );
    await log(...Array.from({ length: 5 }, () => ({ project_id: place })));
    await match();
    const taken = await take({ quick: [quick], slow: [slow, slower] });
    const counts = new Map([...Map.groupBy(taken, (one) => one.trigger_id)].map(([id, own]) => [id, own.length]));
    expect(counts).toEqual(
      new Map([
        [quick, 5],
        [slow, 1],
        [unknown, 1],
      ]),
    );
    const next = await take({ quick: [quick], slow: [slower, slow] });
    expect(next.filter((one) => one.trigger_id === slower)).toHaveLength(1);
    expect(next.filter((one) => one.trigger_id === slow)).toEqual([]);
  });

  test('go with their trigger while somebody settles them, and nobody waits for the other', async () => {
    const triggers = await Promise.all(
      Array.from({ length: 10 }, () => createTrigger(ada, place, anything, conditioned)),
    );
    await log({ project_id: place });
    await match();
    const taken = await take();
    await Promise.all([
      settle(taken.map(passed)),
      ...triggers.map((id) => value(owner, 'delete from triggers.triggers where id = $1', [id])),
    ]);
    expect(await value(owner, 'select count(*)::int from triggers.candidates')).toBe(0);
  });
});

describe('a handler of dead letters with a condition', () => {
  test('that cannot be told has failed, and makes no further letter', async () => {
    const other = await project(ada);
    const trigger = await createTrigger(ada, other, anything, { retry_max_attempts: 1 });
    const telling = await createTrigger(ada, other, { kind: 'dead_letter' }, conditioned);
    await owner.query('delete from triggers.outbox');
    await log({ project_id: other });
    await match();
    await finish([await claimOne()], failed);
    await match();
    const [found] = await take();
    expect(found).toMatchObject({ trigger_id: telling, payload: { deadLetter: { triggerId: trigger } } });
    expect(await settle([{ id: found?.id ?? '', error: 'It is no condition.' }])).toBe(0);
    expect(await lettersOf(trigger)).toMatchObject([{ resolution: 'handler_failed', resolved: false }]);
    expect([await waiting(telling), await lettersOf(telling)]).toEqual([[], []]);
  });
});
