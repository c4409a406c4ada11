import { beforeEach, describe, expect, test } from 'vitest';
import { rows, value } from '../../support/sql.ts';
import { bury, claim, claimOne, enqueue, failed, finish } from './running.ts';
import { ask, owner, type Person, person, project, saveRoute, saveScript } from './setting.ts';

let ada: Person;
let place: string;
let script: string;
beforeEach(async () => {
  await owner.query('delete from triggers.outbox');
  ada = await person();
  place = await project(ada);
  script = await saveScript(ada, place);
});

const count = (from: string, values: unknown[] = []) =>
  value<number>(owner, `select count(*)::int from triggers.${from}`, values);

describe('what is kept', () => {
  /** Dead letters for 30 days, abandoned executions for 7, executions for 5. */
  const dropOld = () => value<string>(owner, 'select triggers.drop_old(30, 7, 5)');
  const age = (table: string, column: string, days: number, id: string) =>
    owner.query(
      `update triggers.${table} set ${column} = clock_timestamp() - make_interval(days => $1) where id = $2`,
      [days, id],
    );

  test('are dead letters from when they were resolved on, and unresolved ones for good', async () => {
    const letters = await Promise.all([1, 2, 3, 4].map(() => bury(ada, script)));
    const [unresolved = '', handled = '', recent = '', old = ''] = letters;
    for (const id of letters) await age('dead_letters', 'created_at', 400, id);
    await owner.query(`update triggers.dead_letters set resolution = 'handler_failed' where id = $1`, [handled]);
    const resolve = (id: string, days: number) =>
      owner.query(
        `update triggers.dead_letters set resolution = 'ignored', resolved_at = clock_timestamp() - make_interval(days => $2) where id = $1`,
        [id, days],
      );
    await resolve(recent, 29);
    await resolve(old, 31);
    expect(Number(await dropOld())).toBe(1);
    const left = await rows<{ id: string }>(owner, 'select id from triggers.dead_letters where id = any ($1)', [
      letters,
    ]);
    expect(left.map(({ id }) => id).sort()).toEqual([unresolved, handled, recent].sort());
  });

  test('are executions and abandoned ones for their days, but what runs as long as it runs', async () => {
    await enqueue(ada, script);
    await enqueue(ada, script);
    const [done, running] = await claim();
    await finish(done === undefined ? [] : [done]);
    for (const execution of [done, running]) await age('executions', 'started_at', 6, execution?.execution_id ?? '');
    await owner.query(
      `insert into triggers.abandoned_executions (reply_to, execution_id, script_id, principal_id, created_at)
       select gen_random_uuid(), gen_random_uuid(), $1, $2, now() - make_interval(days => d) from unnest('{6,8}'::int[]) d`,
      [script, ada.id],
    );
    expect(Number(await dropOld())).toBe(2);
    expect(await rows(owner, 'select id from triggers.executions where script_id = $1', [script])).toEqual([
      { id: running?.execution_id },
    ]);
    expect(await count('abandoned_executions where script_id = $1', [script])).toBe(1);
  });

  test('is a deleted script as long as anything tells of it', async () => {
    await enqueue(ada, script);
    await ask(ada, 'triggers.delete_script($1)', [script]);
    const isThere = async () => {
      await dropOld();
      return count('scripts where id = $1', [script]);
    };
    expect(await isThere()).toBe(1);
    await finish([await claimOne()], { ...failed, permanent: true });
    await owner.query('delete from triggers.executions where script_id = $1', [script]);
    expect(await isThere()).toBe(1);
    await owner.query('delete from triggers.dead_letters where script_id = $1', [script]);
    expect(await isThere()).toBe(0);
    // One that is not deleted stays, though nothing tells of it.
    const kept = await saveScript(ada, place);
    await dropOld();
    expect(await count('scripts where id = $1', [kept])).toBe(1);
  });

  test('is that a request was accepted, for a day', async () => {
    const route = await saveRoute(ada, place);
    await owner.query(
      `insert into triggers.received_messages (route_id, message_id, received_at)
       values ($1, 'old', now() - interval '25 hours'), ($1, 'recent', now() - interval '23 hours')`,
      [route],
    );
    await dropOld();
    expect(await rows(owner, 'select message_id from triggers.received_messages where route_id = $1', [route])).toEqual(
      [{ message_id: 'recent' }],
    );
  });
});

test('an operator is told how much waits, since when, and how many letters nobody has seen to', async () => {
  const health = async () => (await rows<Record<string, unknown>>(owner, 'select * from triggers.health()'))[0];
  const before = Number((await health())?.unresolved_dead_letters);
  expect(await health()).toMatchObject({ due: '0', claimed: '0', waiting: '0', oldest_due_at: null });
  await enqueue(ada, script);
  await claimOne();
  await enqueue(ada, script, { overdue_ms: 60_000 });
  await enqueue(ada, script, { overdue_ms: 1_000 });
  await enqueue(ada, script, { overdue_ms: -60_000 });
  const letter = await bury(ada, script);
  const told = await health();
  expect(told).toMatchObject({ due: '2', claimed: '1', waiting: '1', unresolved_dead_letters: String(before + 1) });
  expect(Date.now() - Number(told?.oldest_due_at)).toBeGreaterThan(50_000);
  await owner.query(`update triggers.dead_letters set resolved_at = now(), resolution = 'ignored' where id = $1`, [
    letter,
  ]);
  expect(Number((await health())?.unresolved_dead_letters)).toBe(before);
});
