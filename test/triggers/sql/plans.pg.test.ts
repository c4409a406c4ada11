import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { size } from '../../support/size.ts';
import { rows, value } from '../../support/sql.ts';
import { as } from '../../sync/transaction.ts';
import { claim, finish } from './running.ts';
import { createTrigger, database, owner, type Person, person, project, saveScript } from './setting.ts';

const total = size(200_000);
/** What looks at each row of a table looks at more pages than that. */
const fewPages = Math.round(total / 100);

/** Pages that a statement looks at. */
async function pages(
  client: pg.Client | pg.PoolClient | pg.Pool,
  statement: string,
  values: unknown[] = [],
): Promise<number> {
  const [row] = await rows<{ 'QUERY PLAN': [{ Plan: Record<string, number> }] }>(
    client,
    `explain (analyze, buffers, format json) ${statement}`,
    values,
  );
  const plan = row?.['QUERY PLAN'][0].Plan;
  return (plan?.['Shared Hit Blocks'] ?? 0) + (plan?.['Shared Read Blocks'] ?? 0);
}

let ada: Person;
let place: string;
let script: string;
/** It made its plans when there was next to nothing; and one that made them when all was there. */
let early: pg.Client;
let late: pg.Client;

beforeAll(async () => {
  ada = await person();
  place = await project(ada);
  script = await saveScript(ada, place);
  [early, late] = [await database.connect(), await database.connect()];
  await fill(2);
  await practise(early);
  await fill(total);
  await practise(late);
}, 120_000);
afterAll(() => Promise.all([early.end(), late.end()]));

const rooms = `array[row('operation', 100, 100, '{}')::triggers.room, row('webhook', 100, 100, '{}')::triggers.room]`;
const idle = [
  `claim('worker', 60000, ${rooms}, 16000000)`,
  'reclaim(100)',
  `renew_claims('worker', '{}', 60000)`,
  `next_due(${rooms})`,
  'next_expiry()',
  'sweep_replies()',
];

/** As often as it takes until plans are kept. */
async function practise(client: pg.Client): Promise<void> {
  for (let n = 0; n < 6; n += 1) {
    for (const call of idle) await client.query(`select * from triggers.${call}`);
    await makeDue(1);
    await finish(await claim(client), {}, { client });
  }
}

/** Rows that are due much later, attempts that ended, and letters, of many triggers; statistics are as old as they were. */
async function fill(count: number): Promise<void> {
  await owner.query(
    `insert into triggers.outbox (project_id, source_kind, trigger_id, script_id, principal_id, scopes, payload, lane, retry_max_attempts,
       retry_backoff, retry_base_ms, failures, due_at)
     select $1, 'kv', md5((n % 100)::text)::uuid, $2, $3, '{}', '{"type": "worktrees.update"}', 'operation', 3, 'constant', 1000, 1,
       now() + make_interval(hours => 1, secs => n) from generate_series(1, $4::int) n`,
    [place, script, ada.id, count],
  );
  await owner.query(
    `insert into triggers.executions (id, outbox_id, project_id, source_kind, trigger_id, script_id, principal_id, attempt, worker, status, started_at, finished_at)
     select gen_random_uuid(), gen_random_uuid(), $1, 'kv', md5((n % 100)::text)::uuid, $2, $3, 1, 'w', 'succeeded', now() - make_interval(secs => n), now()
     from generate_series(1, $4::int) n`,
    [place, script, ada.id, count],
  );
  await owner.query(
    `insert into triggers.dead_letters (message_id, project_id, source_kind, trigger_id, script_id, principal_id, scopes, payload, attempts,
       first_error, last_error, retry_max_attempts, retry_backoff, retry_base_ms, depth, created_at)
     select gen_random_uuid(), $1, 'kv', md5((n % 100)::text)::uuid, $2, $3, '{}', '{}', 1, 'x', 'x', 3, 'constant', 1000, 0, now() - make_interval(secs => n)
     from generate_series(1, $4::int) n`,
    [place, script, ada.id, count],
  );
}

const makeDue = (count: number) =>
  owner.query(
    `update triggers.outbox set due_at = clock_timestamp() where id in (select id from triggers.outbox where claimed_by is null limit $1)`,
    [count],
  );

describe.each([
  ['on a connection from when there was little', () => early],
  ['on one from when they were there', () => late],
])('beside many that wait, have ended or have failed, %s', (_, of) => {
  test.each(idle)('%s looks at few pages when there is nothing to do', async (call) => {
    expect(await pages(of(), `select * from triggers.${call}`)).toBeLessThan(fewPages);
  });

  test('claiming and ending look at what they take', async () => {
    const client = of();
    await makeDue(20);
    expect(
      await pages(
        client,
        `select * from triggers.claim('worker', 60000, array[row('operation', 20, 20, '{}')::triggers.room], 16000000)`,
      ),
    ).toBeLessThan(20 * 60);
    const claimed = await rows<{ id: string; execution_id: string }>(
      owner,
      `select id, execution_id from triggers.outbox where claimed_by = 'worker'`,
    );
    expect(claimed).toHaveLength(20);
    const results = claimed.map((row, n) => ({
      ...row,
      status: n % 2 === 0 ? 'succeeded' : 'failed',
      error: 'x',
      permanent: n % 4 === 1,
    }));
    const ending = `select * from triggers.finish('worker', $1)`;
    expect(await pages(client, ending, [JSON.stringify(results)])).toBeLessThan(20 * 60);
  });

  test('taking back looks at what it takes back', async () => {
    await makeDue(10);
    await claim(owner, { worker: 'dead', leaseMs: 1 });
    await owner.query(`update triggers.outbox set claim_expires_at = '-infinity' where claimed_by = 'dead'`);
    expect(await pages(of(), 'select * from triggers.reclaim(100)')).toBeLessThan(10 * 60);
    await owner.query(`update triggers.outbox set due_at = 'infinity' where due_at < now()`);
  });
});

describe('beside many, a request', () => {
  /** As request work of somebody's; planned before, as it is on a connection in use. */
  const asked = (statement: string, values: unknown[], who = ada) =>
    as(
      database.runtime,
      who.id,
      async (client) => {
        await client.query(statement, values);
        return pages(client, statement, values);
      },
      who.scopes.join(','),
    );
  beforeAll(() => owner.query('vacuum (analyze) triggers.outbox, triggers.executions, triggers.dead_letters'));

  test.each(['outbox', 'executions', 'dead_letters'])('finds %s by their ids', async (table) => {
    const [found] = await rows<{ ids: string[] }>(
      owner,
      `select array_agg(id) as ids from (select id from triggers.${table} limit 50) t`,
    );
    expect(await asked(`select id from triggers.${table} where id = any ($1)`, [found?.ids])).toBeLessThan(fewPages);
  });

  test.each([
    ['executions', 'started_at'],
    ['dead_letters', 'created_at'],
    ['outbox', 'created_at'],
  ])("lists %s a page at a time: a trigger's, a project's and one's own", async (table, at) => {
    const own = `principal_id = (select auth.current_principal_id())`;
    for (const of of [`trigger_id = md5('7')::uuid`, `project_id = '${place}'`, own]) {
      const page = `select id from triggers.${table} where ${of} order by ${at} desc, id desc limit 51`;
      expect([of, await asked(page, [])]).toEqual([of, expect.toSatisfy((count: number) => count < 2 * fewPages)]);
    }
  });

  const resolving = `select * from triggers.resolve_dead_letters($1, $2, 20, 'ignored')`;

  test('resolves letters by their ids, and the oldest of a filter', async () => {
    const oldest = `select array_agg(id) from (select id from triggers.dead_letters where resolved_at is null limit 20) t`;
    const ids = await value<string[]>(owner, oldest);
    expect(await asked(resolving, [ids, null])).toBeLessThan(20 * 60);
    expect(await asked(resolving, [null, {}])).toBeLessThan(20 * 60);
  });

  test('looks at few letters for somebody who may see none, and for a filter that means none', async () => {
    const stranger = await person();
    expect(await asked(resolving, [null, {}], stranger)).toBeLessThan(fewPages);
    expect(await asked(resolving, [null, { trigger_id: place }])).toBeLessThan(fewPages);
    expect(await asked(resolving, [null, { script_id: place }])).toBeLessThan(fewPages);
    expect(await asked(resolving, [null, { project_id: await project(ada) }])).toBeLessThan(fewPages);
  });
});

test('a page of the log is matched with many triggers well within a second', async () => {
  const others = await project(ada);
  const template = await createTrigger(ada, others, { kind: 'kv', collection_glob: 'claims' });
  await owner.query(
    `with made as (
       insert into triggers.triggers (project_id, script_id, kind, registered_by_principal, scopes)
       select case when n % 2 = 0 then $2::uuid end, t.script_id, 'kv', t.registered_by_principal, t.scopes
       from triggers.triggers t, generate_series(1, 1000) n where t.id = $1 returning id
     )
     insert into triggers.kv_trigger_details (trigger_id, collection_glob)
     select id, case when get_byte(decode(md5(id::text), 'hex'), 0) < 128 then 'sync:notes:*' else 'worktrees' end from made`,
    [template, others],
  );
  const events = `array(select e from feed.events e where topic = 'mirror' order by position)`;
  await owner.query(
    `insert into feed.events (topic, op, entity_id, project_id) select 'mirror', 'update', n::text, $1 from generate_series(1, 500) n`,
    [others],
  );
  const match = `select count(*)::int from triggers.find_matches(${events}, 8)`;
  expect(await value<number>(owner, match)).toBe(0);
  const startedAt = performance.now();
  await owner.query(match);
  expect(performance.now() - startedAt).toBeLessThan(1_000);
});
