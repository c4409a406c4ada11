import { randomUUID } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { rows, value } from '../../support/sql.ts';
import { type Claimed, claim, claimOne, endLeases, enqueue, executionsOf, outboxRow } from './running.ts';
import {
  ask,
  connect,
  disable,
  everyScope,
  owner,
  type Person,
  person,
  project,
  saveScript,
  webhook,
} from './setting.ts';

let ada: Person;
let place: string;
let script: string;
beforeEach(async () => {
  await owner.query('delete from triggers.outbox');
  ada = await person();
  place = await project(ada);
  script = await saveScript(ada, place);
});

const idsOf = (claimed: readonly { id: string }[]) => claimed.map(({ id }) => id);
const enqueueMany = (count: number) =>
  owner.query(
    `insert into triggers.outbox (source_kind, script_id, principal_id, scopes, payload, lane, retry_max_attempts, retry_backoff, retry_base_ms)
     select 'kv', $1, $2, '{}', '{}', 'operation', 3, 'constant', 1000 from generate_series(1, $3)`,
    [script, ada.id, count],
  );
const renew = (worker: string, claimed: readonly Claimed[], leaseMs: number) =>
  value<number>(owner, 'select triggers.renew_claims($1, $2, $3)', [
    worker,
    claimed.map((row) => row.execution_id),
    leaseMs,
  ]);
const giveBack = (worker: string, ids: string[]) =>
  value<number>(owner, 'select triggers.give_back($1, $2)', [worker, ids]);

describe('claiming', () => {
  test('takes what is due, the oldest first, and begins an execution of it', async () => {
    const later = await enqueue(ada, script, { overdue_ms: 1_000, payload: { n: 2 }, depth: 3 });
    const first = await enqueue(ada, script, { overdue_ms: 60_000 });
    await enqueue(ada, script, { overdue_ms: -60_000 });
    const claimed = await claim(owner, { worker: 'one', leaseMs: 30_000 });
    expect(idsOf(claimed)).toEqual([first, later]);
    expect(claimed[1]).toMatchObject({
      source_kind: 'kv',
      payload: { n: 2 },
      depth: 3,
      attempt: 1,
      script_id: script,
      kind: 'operation',
      document: '{ cursor }',
      script_deleted: false,
      principal_id: ada.id,
      disabled: false,
    });
    expect(claimed[0]?.late_ms).toBeGreaterThanOrEqual(60_000);
    expect(await executionsOf(first)).toEqual([
      { status: 'running', worker: 'one', attempt: 1, result: null, error: null, finished: false },
    ]);
    const row = await outboxRow(first);
    expect(row).toMatchObject({ claimed_by: 'one', attempt: 1, failures: 0 });
    expect(row?.expires_in_ms).toBeGreaterThan(20_000);
    expect(row?.expires_in_ms).toBeLessThanOrEqual(30_000);
    expect(await claim()).toEqual([]);
  });

  test('takes so many of each lane, and no lane waits for another', async () => {
    const hook = await saveScript(ada, place, webhook);
    for (let n = 0; n < 3; n += 1) {
      await enqueue(ada, script);
      await enqueue(ada, hook, { lane: 'webhook' });
      await enqueue(ada, script, { lane: 'reply', source_kind: 'invoke', reply_to: randomUUID() });
    }
    const kinds = (claimed: readonly { kind: string | null; source_kind: string }[]) =>
      claimed.map((row) => (row.source_kind === 'invoke' ? 'reply' : row.kind)).sort();
    expect(kinds(await claim(owner, { operations: 0, webhooks: 1, replies: 0 }))).toEqual(['webhook']);
    expect(kinds(await claim(owner, { operations: 2, webhooks: 0, replies: 1 }))).toEqual([
      'operation',
      'operation',
      'reply',
    ]);
    expect(kinds(await claim())).toEqual(['operation', 'reply', 'reply', 'webhook', 'webhook']);
    expect(await claim(owner, { operations: 0, webhooks: 0, replies: 0 })).toEqual([]);
  });

  test('gives each registrant a share, however much of another waits, and nothing to who has enough', async () => {
    const [bob, eve] = [await person(), await person()];
    const [theirs, others] = [await saveScript(bob, await project(bob)), await saveScript(eve, await project(eve))];
    for (let n = 0; n < 20; n += 1) await enqueue(ada, script, { overdue_ms: 60_000 });
    for (let n = 0; n < 3; n += 1) await enqueue(bob, theirs);
    await enqueue(eve, others);
    const whose = (claimed: readonly { principal_id: string }[]) =>
      [ada, bob, eve].map(({ id }) => claimed.filter((row) => row.principal_id === id).length);
    expect(whose(await claim(owner, { operations: 6 }))).toEqual([2, 2, 1]);
    expect(whose(await claim(owner, { operations: 6, lefts: { [ada.id]: 0, [eve.id]: 0 } }))).toEqual([0, 1, 0]);
    expect(whose(await claim(owner, { operations: 6, lefts: { [ada.id]: 4 } }))).toEqual([4, 0, 0]);
    expect(whose(await claim(owner, { operations: 6 }))).toEqual([6, 0, 0]);
    await owner.query('delete from triggers.outbox');
  });

  test('takes no more than there is room for, however many registrants there are, and leaves the others to others', async () => {
    const many = await Promise.all(Array.from({ length: 7 }, () => person()));
    const scripts = await Promise.all(many.map(async (who) => saveScript(who, await project(who))));
    for (const [n, who] of many.entries()) {
      for (const overdue_ms of [n * 1_000, 0]) await enqueue(who, scripts[n] as string, { overdue_ms });
    }
    await enqueue(many[0] as Person, scripts[0] as string, { lane: 'webhook' });
    const whose = (claimed: readonly Claimed[]) =>
      claimed.map((row) => many.findIndex(({ id }) => id === row.principal_id)).sort();
    const client = await connect();
    await client.query('begin');
    // Of those who have waited longest.
    expect(whose(await claim(client, { operations: 3, webhooks: 0 }))).toEqual([4, 5, 6]);
    // Until that is committed these seem to have waited longest; of the rest of theirs nothing was kept from others.
    expect(whose(await claim(owner, { operations: 5, webhooks: 1 }))).toEqual([0, 2, 3, 4, 5, 6]);
    await client.query('commit');
    // A share is rounded up, the sum of all is not.
    for (let n = 0; n < 2; n += 1) await enqueue(many[0] as Person, scripts[0] as string);
    expect(await claim(owner, { operations: 5 })).toHaveLength(5);
    expect(await claim(owner)).toHaveLength(15 + 2 - 3 - 6 - 5);
  });

  test('by eight at once gives each row to one of them', async () => {
    const total = 400;
    await enqueueMany(total);
    const clients = await Promise.all(Array.from({ length: 8 }, () => connect()));
    const got = await Promise.all(
      clients.map(async (client, n) => {
        const ids: string[] = [];
        for (;;) {
          const claimed = await claim(client, { worker: `w${n}`, operations: 7 });
          if (claimed.length === 0) return ids;
          ids.push(...idsOf(claimed));
        }
      }),
    );
    const all = got.flat();
    expect([all.length, new Set(all).size]).toEqual([total, total]);
    const [kept] = await rows(
      owner,
      `select count(*)::int as executions, count(distinct o.id)::int as rows from triggers.executions e
       join triggers.outbox o on o.execution_id = e.id and o.claimed_by = e.worker and e.outbox_id = o.id`,
    );
    expect(kept).toEqual({ executions: total, rows: total });
  });

  test('does not wait for what another one is at', async () => {
    const ids = [await enqueue(ada, script, { overdue_ms: 5_000 }), await enqueue(ada, script)];
    const client = await connect();
    await client.query('begin');
    expect(idsOf(await claim(client, { operations: 1 }))).toEqual([ids[0]]);
    expect(idsOf(await claim())).toEqual([ids[1]]);
    await client.query('rollback');
    expect(await claimOne()).toMatchObject({ id: ids[0], attempt: 1 });
  });

  test('says what it may do: no more than its token could, nor than the principal can now', async () => {
    const eve = await person(everyScope);
    await owner.query(`insert into auth.spaces (id, name) values ($1, 'x'), ($2, 'y')`, [`${place}-b`, `${place}-a`]);
    await owner.query(`insert into auth.space_members values ($1, $3, 'viewer'), ($2, $3, 'owner')`, [
      `${place}-b`,
      `${place}-a`,
      eve.id,
    ]);
    await enqueue({ ...eve, scopes: ['registry:read', 'chat', 'triggers:admin'] }, script);
    await owner.query(`update auth.principals set scopes = '{registry:read,chat,sync}' where id = $1`, [eve.id]);
    const [row] = await claim();
    expect(row?.scopes.sort()).toEqual(['chat', 'registry:read']);
    expect(row).toMatchObject({ principal_id: eve.id, disabled: false, space_ids: [`${place}-a`, `${place}-b`] });
  });

  test('says that the principal is disabled, and that the script was deleted', async () => {
    await enqueue(ada, script);
    await disable(ada);
    expect(await claimOne()).toMatchObject({ disabled: true, script_deleted: false });
    const eve = await person();
    const hook = await saveScript(eve, await project(eve), { ...webhook, headers: { authorization: 'Bearer x' } });
    await enqueue(eve, hook, { lane: 'webhook' });
    expect(await claimOne()).toMatchObject({
      url: webhook.url,
      secret: webhook.secret,
      headers: { authorization: 'Bearer x' },
    });
    await ask(eve, 'triggers.delete_script($1)', [hook]);
    await enqueue(eve, hook, { lane: 'webhook' });
    // What it signed with is gone with it.
    expect(await claimOne()).toMatchObject({ script_deleted: true, secret: null, headers: {} });
    await enqueue(eve, randomUUID());
    expect(await claimOne()).toMatchObject({ script_deleted: true, kind: null });
  });
});

describe('a lease', () => {
  test('is lengthened by its worker, once a good part of it is used', async () => {
    const ids = [await enqueue(ada, script), await enqueue(ada, script)];
    const one = await claim(owner, { worker: 'one', operations: 1, leaseMs: 60_000 });
    const two = await claim(owner, { worker: 'two', leaseMs: 60_000 });
    expect(await renew('one', one, 60_000)).toBe(0);
    expect(await renew('one', [...one, ...two], 600_000)).toBe(1);
    expect((await outboxRow(ids[0] ?? ''))?.expires_in_ms).toBeGreaterThan(500_000);
    expect((await outboxRow(ids[1] ?? ''))?.expires_in_ms).toBeLessThan(60_001);
    await endLeases();
    expect(await renew('two', two, 60_000)).toBe(1);
  });

  test('of what its worker knows nothing of is not: the answer to the claim was lost', async () => {
    await enqueue(ada, script);
    await claim(owner, { worker: 'one' });
    await endLeases();
    expect(await renew('one', [], 60_000)).toBe(0);
    expect(await value(owner, 'select reclaimed from triggers.reclaim(10)')).toBe(1);
  });

  test('says when the next one ends', async () => {
    const next = () => value<number | null>(owner, 'select triggers.next_expiry()');
    expect(await next()).toBeNull();
    await enqueue(ada, script);
    await enqueue(ada, script);
    await claim(owner, { operations: 1, leaseMs: 45_000 });
    await claim(owner, { operations: 1, leaseMs: 90_000 });
    expect(await next()).toBeLessThanOrEqual(45_000);
    expect(await next()).toBeGreaterThan(25_000);
  });
});

describe('what is due next', () => {
  const next = (...rooms: { lane: string; lefts?: Record<string, number> }[]) =>
    value<number | null>(
      owner,
      `select triggers.next_due(array(
        select row(r.lane, 10, 5, r.lefts)::triggers.room from jsonb_to_recordset($1::jsonb) as r (lane text, lefts jsonb)
      ))`,
      [JSON.stringify(rooms)],
    );
  const isIn = async (ms: number | null, most: number) => {
    expect(ms).toBeLessThanOrEqual(most);
    expect(ms).toBeGreaterThan(most - 20_000);
  };

  test('is the first of any lane that there is room in', async () => {
    expect(await next({ lane: 'operation' }, { lane: 'webhook' })).toBeNull();
    await enqueue(ada, script, { overdue_ms: -90_000 });
    await enqueue(ada, script, { lane: 'webhook', overdue_ms: -30_000 });
    await isIn(await next({ lane: 'operation' }, { lane: 'webhook' }), 30_000);
    await isIn(await next({ lane: 'operation' }), 90_000);
    expect(await next({ lane: 'reply' })).toBeNull();
    expect(await next()).toBeNull();
  });

  test('is not hidden by what waits for its registrant to have room', async () => {
    const bob = await person();
    const theirs = await saveScript(bob, await project(bob));
    await enqueue(ada, script, { overdue_ms: 60_000 });
    await enqueue(bob, theirs, { overdue_ms: -50_000 });
    await isIn(await next({ lane: 'operation', lefts: { [ada.id]: 1 } }), -50_000);
    await isIn(await next({ lane: 'operation', lefts: { [ada.id]: 0 } }), 50_000);
    expect(await next({ lane: 'operation', lefts: { [ada.id]: 0, [bob.id]: 0 } })).toBeNull();
  });
});

describe('a worker that goes away', () => {
  test('gives back what it has not begun, as if it had never had it', async () => {
    const ids = [await enqueue(ada, script), await enqueue(ada, script), await enqueue(ada, script)];
    await claim(owner, { worker: 'one', operations: 2 });
    await claim(owner, { worker: 'two' });
    const [mine, notGiven, others] = ids as [string, string, string];
    expect(await giveBack('one', [mine, others, randomUUID()])).toBe(1);
    expect(await outboxRow(mine)).toMatchObject({ claimed_by: null, attempt: 0, failures: 0 });
    expect(await executionsOf(mine)).toEqual([]);
    expect((await outboxRow(notGiven))?.claimed_by).toBe('one');
    expect((await outboxRow(others))?.claimed_by).toBe('two');
    expect(await claimOne({ worker: 'three' })).toMatchObject({ id: mine, attempt: 1 });
    expect(await giveBack('one', [mine])).toBe(0);
  });
});
