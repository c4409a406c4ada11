import { randomUUID } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { rows, value } from '../../support/sql.ts';
import { lettersOf } from './matching.ts';
import { claim, claimOne, endLeases, enqueue, executionsOf, failed, finish, outboxRow } from './running.ts';
import { connect, owner, type Person, person, project, saveScript } from './setting.ts';

let ada: Person;
let place: string;
let script: string;
let trigger: string;
beforeEach(async () => {
  await owner.query('delete from triggers.outbox');
  ada = await person();
  place = await project(ada);
  script = await saveScript(ada, place);
  trigger = randomUUID();
});

const setOff = (columns: Parameters<typeof enqueue>[2] = {}) =>
  enqueue(ada, script, { project_id: place, trigger_id: trigger, ...columns });

async function reclaim(limit = 100, client: Parameters<typeof rows>[0] = owner) {
  const [counts] = await rows<{ reclaimed: number; buried: number }>(client, 'select * from triggers.reclaim($1)', [
    limit,
  ]);
  return counts;
}
async function lose(): Promise<void> {
  await claimOne();
  await endLeases();
  await reclaim();
}

describe('what a worker had that stopped answering', () => {
  test("is anybody's again when the lease has ended, and not before; its execution is lost", async () => {
    const id = await setOff();
    await claimOne({ worker: 'dead' });
    expect(await reclaim()).toEqual({ reclaimed: 0, buried: 0 });
    await endLeases();
    // A lease that has ended is not yet anybody's: somebody takes it back first.
    expect(await claim()).toEqual([]);
    expect(await reclaim()).toEqual({ reclaimed: 1, buried: 0 });
    expect(await outboxRow(id)).toMatchObject({ claimed_by: null, attempt: 1, failures: 0, first_error: null });
    expect(await executionsOf(id)).toMatchObject([
      { status: 'lost', worker: 'dead', finished: true, error: expect.stringContaining('stopped answering') },
    ]);
    expect(await claimOne()).toMatchObject({ id, attempt: 2 });
    const told = `select count(*)::int from feed.events where topic = 'executions' and data ->> 'status' = 'lost' and data ->> 'trigger_id' = $1`;
    expect(await value<number>(owner, told, [trigger])).toBe(1);
  });

  test('uses up none of its tries', async () => {
    const id = await setOff({ retry_max_attempts: 2 });
    for (let n = 0; n < 3; n += 1) await lose();
    await finish([await claimOne()], failed);
    expect(await outboxRow(id)).toMatchObject({ attempt: 4, failures: 1 });
    await owner.query('update triggers.outbox set due_at = now() where id = $1', [id]);
    await lose();
    expect(await finish([await claimOne()], { ...failed, error: 'last' })).toMatchObject({ buried: 1 });
    expect(await lettersOf(trigger)).toMatchObject([{ attempts: 6, first_error: 'It broke.', last_error: 'last' }]);
  });

  test('is given up when ten have died of it', async () => {
    const id = await setOff({ retry_max_attempts: 9 });
    // What failed is told apart from what was lost.
    await owner.query('update triggers.outbox set attempt = 4, failures = 4 where id = $1', [id]);
    for (let n = 0; n < 9; n += 1) await lose();
    expect(await outboxRow(id)).toMatchObject({ attempt: 13, failures: 4 });
    await claimOne();
    await endLeases();
    expect(await reclaim()).toEqual({ reclaimed: 1, buried: 1 });
    expect(await outboxRow(id)).toBeUndefined();
    expect(await lettersOf(trigger)).toMatchObject([
      { attempts: 14, last_error: expect.stringContaining('10 workers') },
    ]);
    expect((await executionsOf(id)).map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 'lost'));
  });

  test('is not run again where somebody waited for it, who is told', async () => {
    const reply = randomUUID();
    await owner.query(`insert into triggers.replies (reply_to, wait_until) values ($1, now() + interval '1 minute')`, [
      reply,
    ]);
    const id = await setOff({ lane: 'reply', source_kind: 'invoke', reply_to: reply });
    const listener = await connect();
    const told = new Promise((resolve) => listener.once('notification', (message) => resolve(message.payload)));
    await listener.query('listen treeline_replies');
    await lose();
    expect(await told).toBe(reply);
    expect(await outboxRow(id)).toBeUndefined();
    expect(await rows(owner, 'select status, error from triggers.collect_reply($1)', [reply])).toEqual([
      { status: 'lost', error: expect.stringContaining('stopped answering') },
    ]);
    expect(await lettersOf(trigger)).toEqual([]);
  });

  test('is taken back in pages, by several at once each row once', async () => {
    for (let n = 0; n < 30; n += 1) await setOff();
    await claim();
    await endLeases();
    const clients = await Promise.all(Array.from({ length: 4 }, () => connect()));
    const counts = await Promise.all(
      clients.map(async (client) => {
        for (let total = 0; ; ) {
          const { reclaimed = 0 } = (await reclaim(4, client)) ?? {};
          if (reclaimed === 0) return total;
          total += reclaimed;
        }
      }),
    );
    expect(counts.reduce((sum, count) => sum + count)).toBe(30);
    const [state] = await rows(
      owner,
      `select count(*) filter (where o.claimed_by is null)::int as free,
         (select count(*)::int from triggers.executions e where e.status = 'lost' and e.trigger_id = $1) as lost
       from triggers.outbox o`,
      [trigger],
    );
    expect(state).toEqual({ free: 30, lost: 30 });
  });

  test('is its own as long as it ends it before anybody takes it back', async () => {
    const id = await setOff();
    const row = await claimOne();
    await endLeases();
    expect(await finish([row])).toMatchObject({ finished: 1 });
    expect(await reclaim()).toEqual({ reclaimed: 0, buried: 0 });
    expect(await executionsOf(id)).toMatchObject([{ status: 'succeeded' }]);
  });

  test('ends once, when it is ended and taken back at the same moment', async () => {
    const [ending, taking] = [await connect(), await connect()];
    for (let n = 0; n < 40; n += 1) {
      const id = await setOff();
      const row = await claimOne();
      await endLeases();
      const [finished, taken] = await Promise.all([finish([row], {}, { client: ending }), reclaim(10, taking)]);
      expect(finished.finished + (taken?.reclaimed ?? 0)).toBe(1);
      expect((await executionsOf(id)).map(({ status }) => status)).toEqual([
        finished.finished === 1 ? 'succeeded' : 'lost',
      ]);
      expect((await outboxRow(id)) === undefined).toBe(finished.finished === 1);
      await owner.query('delete from triggers.outbox');
    }
  });
});
