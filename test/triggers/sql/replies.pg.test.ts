import { randomUUID } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { refusalOf, rows, value } from '../../support/sql.ts';
import { lettersOf } from './matching.ts';
import { claim, claimOne, executionsOf, failed, finish, outboxRow } from './running.ts';
import {
  ask,
  asking,
  connect,
  disable,
  member,
  owner,
  type Person,
  person,
  project,
  saveScript,
  withScopes,
} from './setting.ts';

type Client = Parameters<typeof rows>[0];

let ada: Person;
let place: string;
let script: string;
beforeEach(async () => {
  for (const table of ['outbox', 'replies', 'abandoned_executions']) await owner.query(`delete from triggers.${table}`);
  ada = await person();
  place = await project(ada);
  script = await saveScript(ada, place);
});

interface Waiting {
  reply: string;
  /** Of the outbox. */
  id: string;
}
async function invoke(
  who: Person = ada,
  { input = {}, maxDepth = 8, depth = 0 }: { input?: unknown; maxDepth?: number; depth?: number } = {},
): Promise<Waiting> {
  const reply = randomUUID();
  return asking(who, async (client) => {
    await client.query(`select set_config('feed.depth', $1, true)`, [String(depth)]);
    const id = await value<string>(client, 'select triggers.invoke($1, $2, $3, 5000, $4)', [
      script,
      { input },
      reply,
      maxDepth,
    ]);
    return { reply, id };
  });
}
const collect = (reply: string, client: Client = owner) =>
  rows<{ execution_id: string; status: string; result: unknown; error: string | null }>(
    client,
    'select * from triggers.collect_reply($1)',
    [reply],
  );
const leave = (reply: string, client: Client = owner) =>
  value<string>(client, 'select triggers.leave_reply($1)', [reply]);
const sweep = () => value<number>(owner, 'select triggers.sweep_replies()');
const abandoned = () =>
  rows<{
    reply_to: string;
    script_id: string;
    principal_id: string;
    project_id: string;
    result: unknown;
    error: string | null;
  }>(
    owner,
    'select reply_to, script_id, principal_id, project_id, result, error from triggers.abandoned_executions order by created_at',
  );
const replyRows = () => value<number>(owner, 'select count(*)::int from triggers.replies');
/** As if those who wait should have left so long ago. */
const late = (seconds: number) =>
  owner.query('update triggers.replies set wait_until = clock_timestamp() - make_interval(secs => $1)', [seconds]);

describe('a script that somebody asks for', () => {
  test('runs once as who saved it, with what the token had that saved it, and the result is there to be collected', async () => {
    const eve = await person();
    await member(place, eve, 'owner');
    const { reply, id } = await invoke(eve, { input: { n: 1 }, depth: 3 });
    expect(await collect(reply)).toEqual([]);
    const row = await claimOne();
    expect(row).toMatchObject({
      id,
      source_kind: 'invoke',
      payload: { input: { n: 1 } },
      depth: 3,
      principal_id: ada.id,
    });
    expect(row.scopes.sort()).toEqual([...ada.scopes].sort());
    expect(await leave(randomUUID())).toBe('gone');
    await finish([row], { result: { data: 5 } });
    expect(await collect(reply)).toEqual([
      { execution_id: row.execution_id, status: 'succeeded', result: { data: 5 }, error: null },
    ]);
    // It is collected once, and nobody waits any more.
    expect([await collect(reply), await abandoned(), await replyRows()]).toEqual([[], [], 0]);
  });

  test.each([failed, { ...failed, status: 'timed_out' as const }, { ...failed, retry_after_ms: 5 }])(
    'is never tried again, and leaves no dead letter, when it ends as %o',
    async (ending) => {
      const { reply, id } = await invoke();
      expect(await finish([await claimOne()], ending)).toEqual({ finished: 1, put_off: 0, buried: 0 });
      expect(await outboxRow(id)).toBeUndefined();
      expect(await collect(reply)).toMatchObject([{ status: ending.status, error: 'It broke.' }]);
      const letters = 'select count(*)::int from triggers.dead_letters where script_id = $1';
      expect(await value(owner, letters, [script])).toBe(0);
    },
  );

  test('is refused at the depth limit, without the scope, of strangers, and where its owner is disabled', async () => {
    const stranger = await person();
    expect(await refusalOf(invoke(ada, { depth: 8 }))).toMatchObject({ code: 'INVALID' });
    expect(await refusalOf(invoke(withScopes(ada, 'registry:read')))).toMatchObject({ code: 'FORBIDDEN' });
    expect(await refusalOf(invoke(stranger))).toMatchObject({
      code: 'NOT_FOUND',
      message: `You have no script with the id ${script}.`,
    });
    await member(place, stranger, 'owner');
    await disable(ada);
    expect(await refusalOf(invoke(stranger))).toMatchObject({ code: 'FORBIDDEN', details: { field: 'script' } });
    await ask(stranger, 'triggers.delete_script($1)', [script]);
    expect(await refusalOf(invoke(stranger))).toMatchObject({ code: 'NOT_FOUND' });
    expect([await replyRows(), await claim()]).toEqual([0, []]);
  });
});

describe('whoever leaves', () => {
  test('before it was begun takes it back', async () => {
    const { reply, id } = await invoke();
    expect(await leave(reply)).toBe('never begun');
    expect([await outboxRow(id), await replyRows(), await claim(), await abandoned()]).toEqual([undefined, 0, [], []]);
    expect(await leave(reply)).toBe('gone');
  });

  test('while it runs lets it run, and its result is kept as abandoned', async () => {
    const { reply, id } = await invoke();
    const row = await claimOne();
    expect(await leave(reply)).toBe('running');
    expect(await abandoned()).toEqual([]);
    await finish([row], { result: 1 });
    expect(await abandoned()).toEqual([
      { reply_to: reply, script_id: script, principal_id: ada.id, project_id: place, result: 1, error: null },
    ]);
    expect(await executionsOf(id)).toMatchObject([{ status: 'succeeded', result: 1 }]);
  });

  test('when it has ended, and nobody collected it, leaves it abandoned', async () => {
    const { reply } = await invoke();
    await finish([await claimOne()], failed);
    expect(await leave(reply)).toBe('finished');
    expect(await abandoned()).toMatchObject([{ reply_to: reply, error: 'It broke.' }]);
    expect([await collect(reply), await leave(reply)]).toEqual([[], 'gone']);
  });
});

describe('whoever died while waiting', () => {
  test('is found to be late, whatever became of what it waited for', async () => {
    const ended = await invoke();
    await finish([await claimOne()], { result: 'late' });
    const running = await invoke();
    const row = await claimOne();
    const never = await invoke();
    await late(10);
    expect([await sweep(), await replyRows()]).toEqual([0, 3]);
    await late(31);
    expect([await sweep(), await replyRows()]).toEqual([3, 0]);
    expect(await outboxRow(never.id)).toBeUndefined();
    expect((await abandoned()).map(({ reply_to }) => reply_to)).toEqual([ended.reply]);
    await finish([row], { result: 'later' });
    expect((await abandoned()).map(({ reply_to, result }) => [reply_to, result])).toEqual([
      [ended.reply, 'late'],
      [running.reply, 'later'],
    ]);
    expect(await sweep()).toBe(0);
  });
});

describe('at the same moment', () => {
  /** What became of one: exactly one of these. */
  async function fate({ reply, id }: Waiting, collectedRows: number): Promise<string> {
    const left = (await abandoned()).filter((row) => row.reply_to === reply).length;
    const begun = (await executionsOf(id)).length;
    const fates = [
      ...Array.from({ length: collectedRows }, () => 'collected'),
      ...Array.from({ length: left }, () => 'abandoned'),
      ...(begun === 0 ? ['never begun'] : []),
    ];
    expect(fates).toHaveLength(1);
    expect([await outboxRow(id), await replyRows()]).toEqual([undefined, 0]);
    return fates[0] ?? '';
  }

  test('ending and leaving: the result is abandoned, once', async () => {
    const [worker, waiter] = [await connect(), await connect()];
    for (let n = 0; n < 40; n += 1) {
      const waiting = await invoke();
      const row = await claimOne();
      const [, left] = await Promise.all([finish([row], {}, { client: worker }), leave(waiting.reply, waiter)]);
      expect(['running', 'finished']).toContain(left);
      expect(await fate(waiting, 0)).toBe('abandoned');
    }
  });

  test('being claimed and leaving: it is run or never begun, and not both', async () => {
    const [worker, waiter] = [await connect(), await connect()];
    for (let n = 0; n < 40; n += 1) {
      const waiting = await invoke();
      const [claimed, left] = await Promise.all([claim(worker), leave(waiting.reply, waiter)]);
      expect([claimed.length, left]).toEqual(claimed.length === 0 ? [0, 'never begun'] : [1, 'running']);
      await finish(claimed);
      expect(await fate(waiting, 0)).toBe(claimed.length === 0 ? 'never begun' : 'abandoned');
    }
  });

  test('ending, collecting, leaving and sweeping: it is collected or abandoned, once', async () => {
    const [worker, waiter, leaver, sweeper] = [await connect(), await connect(), await connect(), await connect()];
    for (let n = 0; n < 40; n += 1) {
      const waiting = await invoke();
      const row = await claimOne();
      await late(60);
      const [, collected, , , again] = await Promise.all([
        finish([row], {}, { client: worker }),
        collect(waiting.reply, waiter),
        n % 2 === 0 ? leave(waiting.reply, leaver) : undefined,
        n % 3 === 0 ? value(sweeper, 'select triggers.sweep_replies()') : undefined,
        collect(waiting.reply, waiter),
      ]);
      const last = await collect(waiting.reply);
      await leave(waiting.reply);
      expect(['collected', 'abandoned']).toContain(await fate(waiting, collected.length + again.length + last.length));
    }
    expect(await lettersOf(script)).toEqual([]);
  });
});
