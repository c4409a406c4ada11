import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { rows, value } from '../../support/sql.ts';
import { lettersOf } from './matching.ts';
import { claim, claimOne, endLeases, enqueue, executionsOf, failed, finish, makeDue, outboxRow } from './running.ts';
import { owner, type Person, person, project, saveScript } from './setting.ts';

const hourMs = 3_600_000;

let ada: Person;
let place: string;
let script: string;
let trigger: string;
beforeEach(async () => {
  await owner.query('delete from triggers.outbox');
  ada = await person();
  place = await project(ada);
  script = await saveScript(ada, place);
  trigger = await value<string>(owner, 'select gen_random_uuid()');
});

const setOff = (columns: Parameters<typeof enqueue>[2] = {}) =>
  enqueue(ada, script, { project_id: place, trigger_id: trigger, ...columns });

describe('an attempt', () => {
  test('that succeeds takes its row out of the outbox, and is kept with what came back', async () => {
    const id = await setOff();
    expect(await finish([await claimOne()], { result: { data: { n: 1 } } })).toEqual({
      finished: 1,
      put_off: 0,
      buried: 0,
    });
    expect(await outboxRow(id)).toBeUndefined();
    expect(await executionsOf(id)).toEqual([
      { status: 'succeeded', worker: 'worker', attempt: 1, result: { data: { n: 1 } }, error: null, finished: true },
    ]);
    expect(await lettersOf(trigger)).toEqual([]);
  });

  test.each(['failed', 'timed_out'] as const)('that %s is put off, and tried again', async (status) => {
    const id = await setOff({ retry_base_ms: 20_000 });
    expect(await finish([await claimOne()], { ...failed, status })).toEqual({ finished: 1, put_off: 1, buried: 0 });
    const row = await outboxRow(id);
    expect(row).toMatchObject({
      claimed_by: null,
      attempt: 1,
      failures: 1,
      first_error: 'It broke.',
      expires_in_ms: null,
    });
    expect(row?.due_in_ms).toBeGreaterThan(10_000);
    expect(row?.due_in_ms).toBeLessThan(24_001);
    expect(await claim()).toEqual([]);
    await makeDue();
    expect(await claimOne()).toMatchObject({ id, attempt: 2 });
    expect((await executionsOf(id)).map((execution) => [execution.attempt, execution.status])).toEqual([
      [1, status],
      [2, 'running'],
    ]);
  });

  test('that was the last leaves a dead letter with the first error and the last, and all it takes to run it again', async () => {
    const id = await setOff({ payload: { n: 1 }, depth: 2, retry_max_attempts: 3, retry_backoff: 'linear' });
    const first = await claimOne();
    await finish([first], { ...failed, error: 'first' });
    for (const error of ['second', 'third']) {
      await makeDue();
      await finish([await claimOne()], { ...failed, error });
    }
    expect(await outboxRow(id)).toBeUndefined();
    expect(await lettersOf(trigger)).toMatchObject([
      {
        source_kind: 'kv',
        attempts: 3,
        first_error: 'first',
        last_error: 'third',
        depth: 2,
        resolution: null,
        resolved: false,
      },
    ]);
    const [kept] = await rows(
      owner,
      `select message_id, project_id, script_id, principal_id, scopes, payload, retry_max_attempts, retry_backoff, retry_base_ms
       from triggers.dead_letters where trigger_id = $1`,
      [trigger],
    );
    expect(kept).toEqual({
      message_id: first.message_id,
      project_id: place,
      script_id: script,
      principal_id: ada.id,
      scopes: ada.scopes,
      payload: { n: 1 },
      retry_max_attempts: 3,
      retry_backoff: 'linear',
      retry_base_ms: 1_000,
    });
    expect(await executionsOf(id)).toHaveLength(3);
  });

  test('that can never succeed leaves one at once', async () => {
    await setOff({ retry_max_attempts: 5 });
    expect(await finish([await claimOne()], { ...failed, permanent: true })).toEqual({
      finished: 1,
      put_off: 0,
      buried: 1,
    });
    expect(await lettersOf(trigger)).toMatchObject([
      { attempts: 1, first_error: 'It broke.', last_error: 'It broke.' },
    ]);
  });

  test('is told in the log, and so is its dead letter, to nobody but whose it is', async () => {
    await setOff();
    await setOff({ retry_max_attempts: 1 });
    const [done, broken] = await claim();
    const after = await value<string>(owner, 'select coalesce(max(position), 0) from feed.events');
    await finish([done as NonNullable<typeof done>]);
    await finish([broken as NonNullable<typeof broken>], failed);
    const told = await rows<{ topic: string; op: string; entity_id: string }>(
      owner,
      'select topic, op, entity_id, project_id, user_id, data from feed.events where position > $1 order by position',
      [after],
    );
    const common = { project_id: place, user_id: ada.id };
    const of = { trigger_id: trigger, script_id: script };
    const [letter] = await lettersOf(trigger);
    expect(told).toEqual(
      expect.arrayContaining([
        {
          topic: 'executions',
          op: 'update',
          entity_id: done?.execution_id,
          ...common,
          data: { status: 'succeeded', ...of },
        },
        {
          topic: 'executions',
          op: 'update',
          entity_id: broken?.execution_id,
          ...common,
          data: { status: 'failed', ...of },
        },
        { topic: 'dead_letters', op: 'insert', entity_id: letter?.id, ...common, data: { source: 'kv', ...of } },
      ]),
    );
    expect(told).toHaveLength(3);
  });
});

describe('a result', () => {
  test('of a worker whose row was taken back changes nothing, whoever has the row now', async () => {
    const id = await setOff();
    const late = await claimOne({ worker: 'slow' });
    await endLeases();
    await owner.query('select triggers.reclaim(10)');
    const nothing = { finished: 0, put_off: 0, buried: 0 };
    expect(await finish([late], {}, { worker: 'slow' })).toEqual(nothing);
    // Also where the same worker has it again: it is another execution.
    const again = await claimOne({ worker: 'slow' });
    expect(await finish([late], { ...failed, permanent: true }, { worker: 'slow' })).toEqual(nothing);
    expect(await finish([again], {}, { worker: 'other' })).toEqual(nothing);
    expect(await outboxRow(id)).toMatchObject({ claimed_by: 'slow', attempt: 2, failures: 0 });
    expect((await executionsOf(id)).map(({ status }) => status)).toEqual(['lost', 'running']);
    expect((await finish([again], {}, { worker: 'slow' })).finished).toBe(1);
    expect(await finish([again], {}, { worker: 'slow' })).toEqual(nothing);
  });

  test('is good or bad by itself: each of a batch goes its own way', async () => {
    const ids = [
      await setOff({ overdue_ms: 9 }),
      await setOff({ overdue_ms: 6, retry_max_attempts: 1 }),
      await setOff({ overdue_ms: 3 }),
    ];
    const claimed = await claim();
    const endings = [{ status: 'succeeded' }, { status: 'failed', error: 'x' }, { status: 'timed_out', error: 'y' }];
    const results = claimed.map(({ id, execution_id }, n) => ({ id, execution_id, ...endings[n] }));
    const counts = await rows(owner, 'select * from triggers.finish($1, $2)', ['worker', JSON.stringify(results)]);
    // What says nothing of permanence is not for good.
    expect(counts).toEqual([{ finished: 3, put_off: 1, buried: 1 }]);
    expect([await outboxRow(ids[0] ?? ''), await outboxRow(ids[1] ?? '')]).toEqual([undefined, undefined]);
    expect(await outboxRow(ids[2] ?? '')).toMatchObject({ claimed_by: null, failures: 1, first_error: 'y' });
  });

  test('of a failure without an error is kept all the same', async () => {
    await setOff({ retry_max_attempts: 1 });
    await setOff();
    const claimed = await claim();
    expect(await finish(claimed, { status: 'failed', error: null })).toEqual({ finished: 2, put_off: 1, buried: 1 });
    expect(await lettersOf(trigger)).toMatchObject([{ last_error: expect.stringMatching(/.+/) }]);
  });
});

describe('backoff', () => {
  const backoff = (kind: string, baseMs: number, failures: number, random: number) =>
    value<number>(owner, 'select triggers.backoff_ms($1, $2, $3, $4)', [kind, baseMs, failures, random]);
  const formulas: Record<string, (base: number, n: number) => number> = {
    exponential: (base, n) => base * 2 ** (n - 1),
    linear: (base, n) => base * n,
    constant: (base) => base,
  };

  test('follows its formula, give or take a fifth, and is at most an hour', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...Object.keys(formulas)),
        fc.integer({ min: 1, max: hourMs }),
        fc.integer({ min: 1, max: 100 }),
        fc.integer({ min: 0, max: 1_000 }).map((n) => n / 1_000),
        async (kind, baseMs, failures, random) => {
          const exact = Math.min(hourMs, formulas[kind]?.(baseMs, failures) ?? Number.NaN);
          const expected = Math.min(hourMs, exact * (0.8 + 0.4 * random));
          expect(await backoff(kind, baseMs, failures, random)).toBeCloseTo(expected, 3);
        },
      ),
      { numRuns: 200 },
    );
    expect(await backoff('exponential', 1_000, 3, 0.5)).toBe(4_000);
    expect(await backoff('exponential', hourMs, 100, 1)).toBe(hourMs);
  });

  test('is what a row is put off by, by how often it failed and not by how often it was lost', async () => {
    const id = await setOff({ retry_backoff: 'exponential', retry_base_ms: 60_000, retry_max_attempts: 9 });
    await owner.query('update triggers.outbox set failures = 2, attempt = 7 where id = $1', [id]);
    await finish([await claimOne()], failed);
    const { due_in_ms = 0 } = (await outboxRow(id)) ?? {};
    expect(due_in_ms).toBeGreaterThan(0.8 * 240_000 - 10_000);
    expect(due_in_ms).toBeLessThan(1.2 * 240_000 + 1);
  });

  test.each([
    [null, 1_000],
    [-5, 1_000],
    [500_000, 500_000],
    [9 * hourMs, hourMs],
  ])('is longer if the other side asks for %s ms', async (retry_after_ms, atLeast) => {
    const id = await setOff({ retry_base_ms: 1_250 });
    await finish([await claimOne()], { ...failed, retry_after_ms });
    const { due_in_ms = 0 } = (await outboxRow(id)) ?? {};
    expect(due_in_ms).toBeGreaterThan(atLeast - 1_000);
    expect(due_in_ms).toBeLessThanOrEqual(atLeast === 1_000 ? 1_500 : atLeast);
  });
});
