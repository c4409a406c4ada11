import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeCursor } from '../../src/feed/cursor.ts';
import { openFeed } from '../../src/feed/feed.ts';
import { createLogger } from '../../src/kernel/logger.ts';
import { createTestDatabase } from '../support/database.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { size } from '../support/size.ts';
import { rows, value } from '../support/sql.ts';
import { watch } from '../support/watch.ts';

/** Going on from a cursor: nothing is missed, nothing comes twice, and what cannot be had is refused. */
let gateway: TestGateway;
let worktree: string;
beforeAll(async () => {
  gateway = await startGateway();
  worktree = await value(
    gateway.database.owner,
    `select registry.register_worktree(registry.register_project('replay', null), 'feat', 'w', 'feat/w', '/replay')`,
  );
});
afterAll(() => gateway.close());

const document = 'subscription ($after: Cursor) { events(after: $after) { cursor topic entityId data } }';
interface Event {
  cursor: string;
  entityId: string;
  data: { name?: string };
}
const sql = (text: string, values: unknown[] = []) => gateway.database.owner.query(text, values);
const touch = () => sql('update registry.worktrees set behind_trunk = behind_trunk + 1 where id = $1', [worktree]);
const now = async () => (await gateway.ask<{ cursor: string }>('{ cursor }')).cursor;

async function refusal(after: string): Promise<string> {
  const watching = await watch(gateway, document, { after });
  const { extensions } = await watching.failure();
  await watching.close();
  return extensions.code;
}

describe('from a query to a subscription', () => {
  test('nothing is missed in between, wherever the cursor stands in the query', async () => {
    const logged = `subscription ($after: Cursor) { activityLogged(after: $after) { activity { description } } }`;
    const count = 60;
    const writing = (async () => {
      for (let n = 0; n < count; n += 1) {
        await sql(`select registry.log_activity('a', $1, 'other', $2)`, [worktree, `between-${n}`]);
      }
    })();
    const document = '{ activities(first: 100) { nodes { description } } ...C } fragment C on Query { now: cursor }';
    const watching = [];
    for (let n = 0; n < 5; n += 1) {
      const asked = await gateway.ask<{ now: string; activities: { nodes: { description: string }[] } }>(document);
      const known = asked.activities.nodes.map((node) => node.description);
      watching.push({
        known,
        stream: await watch<{ activity: { description: string } }>(gateway, logged, { after: asked.now }),
      });
    }
    await writing;
    await sql(`select registry.log_activity('a', $1, 'other', 'the end')`, [worktree]);
    for (const { known, stream } of watching) {
      const told = (await stream.until((update) => update.activity.description === 'the end')).map(
        (update) => update.activity.description,
      );
      expect(told.length).toBe(new Set(told).size);
      expect(new Set([...known, ...told])).toEqual(
        new Set([...Array.from({ length: count }, (_, n) => `between-${n}`), 'the end']),
      );
      await stream.close();
    }
  });

  test("a payload's cursor replays the change itself, and nothing from before it", async () => {
    await touch();
    const { updateWorktreeGitState } = await gateway.ask<{ updateWorktreeGitState: { cursor: string } }>(
      `mutation ($id: ID!) { updateWorktreeGitState(input: { worktree: { id: $id }, aheadOfTrunk: 7 }) { cursor } }`,
      { id: worktree },
    );
    const watching = await watch<Event>(gateway, document, { after: updateWorktreeGitState.cursor });
    expect(await watching.next()).toMatchObject({ data: { after: { in_flight: true } } });
    await watching.close();
  });

  test('a refused mutation has no cursor', async () => {
    const { updateWorktree } = await gateway.ask<{ updateWorktree: { cursor: string | null } }>(
      `mutation { updateWorktree(input: { worktree: { path: { path: "/none" } } }) { cursor userErrors { code } } }`,
    );
    expect(updateWorktree.cursor).toBeNull();
  });

  test('each event of one transaction has a cursor that goes on after it', async () => {
    const start = await now();
    await sql(`insert into registry.hosts (name) select 'replay-' || n from generate_series(1, 5) n`);
    const watching = await watch<Event>(gateway, document, { after: start });
    const all = await watching.until((event) => event.data !== null && JSON.stringify(event.data).includes('replay-5'));
    await watching.close();
    expect(all).toHaveLength(5);
    for (const [index, event] of all.entries()) {
      const rest = await watch<Event>(gateway, document, { after: event.cursor });
      for (const expected of all.slice(index + 1)) {
        expect(await rest.next()).toMatchObject({ entityId: expected.entityId });
      }
      await touch();
      expect(await rest.next()).toMatchObject({ data: { name: 'w' } });
      await rest.close();
    }
  });

  test('cursors of a gateway outlive it', async () => {
    const start = await now();
    await touch();
    const next = await startGateway({ database: gateway.database });
    const watching = await watch<Event>(next, document, { after: start });
    expect(await watching.next()).toMatchObject({ data: { name: 'w' } });
    await watching.close();
    await next.close();
  });
});

describe('what is no cursor of this log', () => {
  test('is refused by name', async () => {
    expect(await refusal('x')).toBe('BAD_CURSOR');
    expect(await refusal('')).toBe('BAD_CURSOR');
    const cursor = await now();
    expect(await refusal(`${cursor.slice(0, -2)}${cursor.endsWith('A') ? 'B' : 'A'}`)).toBe('BAD_CURSOR');
  });

  test('one of the other kind, though signed with the right key, is BAD_CURSOR; one ahead of the log is CURSOR_EXPIRED', async () => {
    const [state] = await rows<{ epoch: string; cursor_key: Buffer }>(
      gateway.database.owner,
      'select epoch, cursor_key from feed.state',
    );
    const seal = { epoch: BigInt(state?.epoch ?? 0), key: state?.cursor_key ?? Buffer.alloc(0) };
    const other = Buffer.from(encodeCursor({ prev: '5:5:', within: null }, seal), 'base64url').subarray(0, -12);
    other[0] = 0x53;
    const tag = createHmac('sha256', seal.key).update(other).digest().subarray(0, 12);
    expect(await refusal(Buffer.concat([other, tag]).toString('base64url'))).toBe('BAD_CURSOR');
    const ahead = encodeCursor({ prev: '900000000000:900000000000:', within: null }, seal);
    expect(await refusal(ahead)).toBe('CURSOR_EXPIRED');
    const elsewhere = encodeCursor({ prev: '5:5:', within: null }, { ...seal, epoch: seal.epoch + 1n });
    expect(await refusal(elsewhere)).toBe('CURSOR_EXPIRED');
  });
});

describe('retention', () => {
  /** Makes all that was written until now look as if it had been written days ago. */
  async function age(days: number, partition: boolean): Promise<void> {
    if (partition) {
      await sql(`do $$ declare d date := (now() at time zone 'UTC')::date - ${days}; begin
        execute format('create table if not exists feed.%I partition of feed.events for values from (%L) to (%L)',
          'events_' || to_char(d, 'YYYYMMDD'), d::timestamp at time zone 'UTC', (d + 1)::timestamp at time zone 'UTC');
      end $$`);
    }
    await sql(
      `update feed.events set at = ((now() at time zone 'UTC')::date - ${days})::timestamp at time zone 'UTC' + interval '1 hour'`,
    );
  }

  /**
   * Waits until every transaction of the server from before is over, as they all are days later: other tests have some open, whose
   * numbers are among those of what was written here.
   */
  async function pass(): Promise<void> {
    const over = `select pg_snapshot_xmin(pg_current_snapshot()) > (select e.xid from feed.events e order by e.xid desc limit 1)`;
    while (!(await value<boolean>(gateway.database.owner, over))) await new Promise((resolve) => setImmediate(resolve));
  }

  test.each([
    ['a day that has a partition', true],
    ['what lies in the default partition', false],
  ])('drops %s: older cursors are refused, newer ones go on', async (_name, partition) => {
    const old = await now();
    await touch();
    await age(9, partition);
    await pass();
    const young = await now();
    await touch();
    await sql('select feed.drop_old(7)');
    expect(await refusal(old)).toBe('CURSOR_EXPIRED');
    const watching = await watch<Event>(gateway, document, { after: young });
    expect(await watching.next()).toMatchObject({ data: { name: 'w' } });
    await watching.close();
    const watchingNow = await watch<Event>(gateway, document, { after: await now() });
    await touch();
    expect(await watchingNow.next()).toMatchObject({ data: { name: 'w' } });
    await watchingNow.close();
  });

  test('a transaction that was open at the cursor and committed into the dropped day makes it expire', async () => {
    const slow = await gateway.database.connect();
    await slow.query('begin');
    await slow.query('update registry.worktrees set behind_trunk = behind_trunk + 1 where id = $1', [worktree]);
    await sql('insert into registry.hosts (name) values (gen_random_uuid()::text)');
    const cursor = await now();
    await slow.query('commit');
    await slow.end();
    await age(9, true);
    await sql('select feed.drop_old(7)');
    expect(await refusal(cursor)).toBe('CURSOR_EXPIRED');
    // One that was taken afterwards is good: nothing that it has not seen was dropped.
    const after = await now();
    await touch();
    const watching = await watch<Event>(gateway, document, { after });
    expect(await watching.next()).toMatchObject({ data: { name: 'w' } });
    await watching.close();
  });

  test('waits for nobody: a day that somebody still writes into stays for the next time', async () => {
    const writer = await gateway.database.connect();
    await touch();
    await age(9, true);
    await writer.query('begin');
    await writer.query(`update feed.events set depth = 0 where at < now() - interval '8 days'`);
    expect(await value(gateway.database.owner, 'select feed.drop_old(7)')).toBe(0);
    await writer.query('rollback');
    expect(await value(gateway.database.owner, 'select feed.drop_old(7)')).toBe(1);
    await writer.end();
  });
});

test('catching up on many events reads each a bounded number of times', async () => {
  const count = size(1_000_000);
  const database = await createTestDatabase();
  const { owner, runtime } = database;
  const id = await value<string>(
    owner,
    `select registry.register_worktree(registry.register_project('many', null), 'feat', 'w', 'feat/w', '/many')`,
  );
  // As if a gateway had been there: the first one to come begins with an empty log.
  await owner.query('select from feed.open()');
  const after = { prev: await value<string>(owner, 'select pg_current_snapshot()::text'), within: null };
  await owner.query(
    `insert into registry.agent_activities (agent_id, worktree_id, activity_type, description)
     select 'a', $1, 'other', n::text from generate_series(1, $2) n`,
    [id, count],
  );
  // Only now, and without a gateway: whoever follows would read them as well.
  const feed = await openFeed({
    url: database.ownerUrl,
    pool: runtime,
    ownerPool: owner,
    log: createLogger('error'),
  });
  const read = () =>
    value<string>(
      owner,
      `select sum(idx_tup_read)::text from pg_stat_user_indexes where schemaname = 'feed' and relname like 'events%'`,
    );
  const before = Number(await read());
  const until = (await feed.fresh()).place;
  let seen = 0;
  for await (const events of feed.replay({ after, until, topics: ['activities'], isWanted: () => true }))
    seen += events.length;
  expect(seen).toBe(count);
  await feed.close();
  // Statistics are flushed when a connection of the pool is idle again.
  await Promise.all(Array.from({ length: 10 }, () => runtime.query('select pg_stat_force_next_flush()')));
  await Promise.all(Array.from({ length: 10 }, () => runtime.query('select 1')));
  const readByIndex = Number(await read()) - before;
  expect(readByIndex).toBeGreaterThanOrEqual(count);
  // Twice: by transaction for the first page, then along the positions.
  expect(readByIndex).toBeLessThan(3 * count);
  await database.close();
}, 240_000);
