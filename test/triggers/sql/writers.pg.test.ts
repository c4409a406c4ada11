import type pg from 'pg';
import { describe, expect, test } from 'vitest';
import { full } from '../../support/size.ts';
import { rows, value } from '../../support/sql.ts';
import { matchPage } from './matching.ts';
import { createTrigger, database, owner, type Person, person, project } from './setting.ts';

/**
 * The promise of the matching: whatever overlaps, rolls back and dies, each committed event has exactly one row in the
 * outbox for each trigger that means it.
 */
const writers = full ? 48 : 16;
const transactionsEach = full ? 40 : 12;
const readers = 4;

/** Writes from one to six rows in each transaction, takes its time over some, and rolls a third back. */
async function write(client: pg.Client, places: readonly string[]): Promise<void> {
  for (let n = 0; n < transactionsEach; n += 1) {
    await client.query('begin');
    // In one order everywhere, so that they wait for each other and do not deadlock.
    for (const place of places.filter(() => Math.random() < 0.2)) {
      await client.query('update registry.projects set description = gen_random_uuid()::text where id = $1', [place]);
      if (Math.random() < 0.1) await client.query('select pg_sleep(0.02)');
    }
    await client.query(Math.random() < 1 / 3 ? 'rollback' : 'commit');
  }
}

/** A dispatcher's connection, which another one takes the place of when it is ended. */
async function read(until: () => boolean, count: (what: 'ended' | 'pages') => void): Promise<void> {
  let client: pg.Client | undefined;
  while (!until()) {
    try {
      client ??= await connectReader();
      const pid = await value<number>(client, 'select pg_backend_pid()');
      const end = () => owner.query('select pg_terminate_backend($1)', [pid]);
      const fate = Math.random();
      await client.query('begin');
      // While it is at it, and when it is done and has not committed.
      const ending = fate < 0.1 ? end() : undefined;
      await matchPage(client, { limit: 1 + Math.floor(Math.random() * 7) });
      if (fate > 0.9) await end();
      await ending;
      await client.query('commit');
      count('pages');
    } catch {
      count('ended');
      await client?.end().catch(() => {});
      client = undefined;
    }
  }
  await client?.end();
}

async function connectReader(): Promise<pg.Client> {
  const client = await database.connect();
  client.on('error', () => {});
  return client;
}

/** Of the whole registry, of each project, some of which mean nothing that happens. */
async function register(who: Person, places: readonly string[]): Promise<void> {
  for (const place of places) {
    await createTrigger(who, place);
    await createTrigger(who, place, { kind: 'kv', collection_glob: 'projects', ops: ['update'] });
    await createTrigger(who, place, { kind: 'kv', collection_glob: 'projects', ops: ['delete'] });
  }
  await createTrigger(who, null, { kind: 'kv', collection_glob: 'projects' });
}

describe('many writers, and readers of which some die in the middle of it', () => {
  test('leave exactly one row for each event and trigger', async () => {
    const ada = await person(['admin', 'triggers:admin', 'registry:read', 'chat']);
    const places = (await Promise.all(Array.from({ length: 12 }, () => project(ada)))).sort();
    await register(ada, places);
    const clients = await Promise.all(Array.from({ length: writers }, () => database.connect()));

    let written = false;
    const counts = { ended: 0, pages: 0 };
    const reading = Array.from({ length: readers }, () =>
      read(
        () => written,
        (what) => {
          counts[what] += 1;
        },
      ),
    );
    await Promise.all(clients.map((client) => write(client, places)));
    written = true;
    await Promise.all([...reading, ...clients.map((client) => client.end())]);
    while ((await matchPage(owner, { limit: 50 })).outcome !== 'done');

    const [found] = await rows<{ rows: number; different: number; events: number; wrong: number }>(
      owner,
      `with expected as (
         select e.position, t.id from feed.events e
         join triggers.triggers t on t.project_id is null or t.project_id = e.project_id
         join triggers.kv_trigger_details k on k.trigger_id = t.id
         where e.topic = 'projects' and e.op = 'update' and k.ops <> '{delete}'
       ), found as (
         select (o.payload ->> 'position')::bigint as position, o.trigger_id as id from triggers.outbox o
       )
       select (select count(*)::int from found) as rows, (select count(*)::int from (select distinct * from found) d) as different,
         (select count(*)::int from expected) as events,
         (select count(*)::int from expected full join found using (position, id) where expected is null or found is null) as wrong`,
    );
    expect(found).toEqual({ rows: found?.events, different: found?.events, events: expect.any(Number), wrong: 0 });
    // Each change sets off three, and hardly a page went by without one.
    expect(found?.events).toBeGreaterThan(writers * transactionsEach);
    expect(counts.ended).toBeGreaterThan(0);
    expect(counts.pages).toBeGreaterThan(0);
  }, 240_000);
});
