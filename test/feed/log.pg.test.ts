import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { rows, value } from '../support/sql.ts';

/** What is written to the log and what is not, whoever writes: all through plain SQL. */
let database: TestDatabase;
let project: string;
beforeAll(async () => {
  database = await createTestDatabase();
  project = await value(database.owner, `select registry.register_project('log', null)`);
});
afterAll(() => database.close());

interface Event {
  topic: string;
  op: string;
  entity_id: string;
  changed: string[];
  data: Record<string, unknown>;
  principal_id: string | null;
  depth: number;
}

/** The events that some statements make. */
async function eventsOf(...statements: (string | [string, unknown[]])[]): Promise<Event[]> {
  const before = await value<string>(database.owner, 'select coalesce(max(position), 0)::text from feed.events');
  for (const statement of statements) {
    const [text, values] = typeof statement === 'string' ? [statement, []] : statement;
    await database.owner.query(text, values);
  }
  return rows<Event>(
    database.owner,
    `select topic, op, entity_id, changed, data, principal_id, depth from feed.events where position > $1
     order by feed.events.position`,
    [before],
  );
}

let made = 0;
async function worktree(): Promise<string> {
  made += 1;
  return value(database.owner, `select registry.register_worktree($1, 'feat', $2, 'feat/x', $3)`, [
    project,
    `w${made}`,
    `/log/${made}`,
  ]);
}

describe('an event is written', () => {
  test('for each row of a statement, with what changed and the facts before and after', async () => {
    const ids = [await worktree(), await worktree()].toSorted();
    const events = await eventsOf([
      'update registry.worktrees set ahead_of_trunk = 2, agent_id = $2 where id = any ($1)',
      [ids, 'ada'],
    ]);
    expect(events.map((event) => event.entity_id).toSorted()).toEqual(ids);
    expect(events[0]).toMatchObject({
      topic: 'worktrees',
      op: 'update',
      changed: ['agent_id', 'ahead_of_trunk', 'in_flight', 'status'],
      data: {
        before: { in_flight: false, status: 'clean', agent_id: null },
        after: { in_flight: true, status: 'ahead', agent_id: 'ada' },
      },
    });
  });

  test('not when nothing changed', async () => {
    const id = await worktree();
    expect(await eventsOf(['update registry.worktrees set name = name where id = $1', [id]])).toEqual([]);
    expect(await eventsOf(`update registry.projects set name = name`)).toEqual([]);
    expect(await eventsOf(`update registry.worktree_types set color = color`)).toEqual([]);
  });

  test('not for a heartbeat, but once a minute', async () => {
    const id = await worktree();
    await database.owner.query('select registry.update_worktree_git_state($1)', [id]);
    expect(await eventsOf(['select registry.update_worktree_git_state($1)', [id]])).toEqual([]);
    await database.owner.query(
      `update registry.worktrees set last_sync_at = now() - interval '61 seconds' where id = $1`,
      [id],
    );
    expect(await eventsOf(['select registry.update_worktree_git_state($1)', [id]])).toMatchObject([
      { changed: ['last_sync_at'] },
    ]);
    expect(await eventsOf(['select registry.update_worktree_git_state($1)', [id]])).toEqual([]);
  });

  test('not by what is rolled back, nor by a part that is', async () => {
    const [kept, lost] = [await worktree(), await worktree()];
    const touch = (id: string) => `update registry.worktrees set behind_trunk = behind_trunk + 1 where id = '${id}'`;
    expect(await eventsOf(`begin; ${touch(kept)}; rollback`)).toEqual([]);
    const events = await eventsOf(`begin; ${touch(kept)}; savepoint s; ${touch(lost)}; rollback to s; commit`);
    expect(events.map((event) => event.entity_id)).toEqual([kept]);
  });

  test('for each worktree that goes with its project, and none for its files, claims of nobody and activities', async () => {
    const doomed = await value<string>(database.owner, `select registry.register_project('doomed', null)`);
    const id = await value<string>(
      database.owner,
      `select registry.register_worktree($1, 'feat', 'd', 'feat/d', '/log/d')`,
      [doomed],
    );
    await database.owner.query(
      `select registry.update_worktree_git_state($1, p_changed_files => '[{"path": "a", "change": "M"}]')`,
      [id],
    );
    await database.owner.query(`select registry.log_activity('a', $1, 'other', 'x')`, [id]);
    const events = await eventsOf([`select registry.delete_project($1, 'doomed')`, [doomed]]);
    expect(events.map(({ topic, op }) => `${topic} ${op}`).toSorted()).toEqual(['projects delete', 'worktrees delete']);
  });

  test('for each row that a TRUNCATE takes', async () => {
    const id = await worktree();
    await database.owner.query(`select registry.claim_worktree($1, 'ada')`, [id]);
    expect(await eventsOf('truncate registry.worktree_claims')).toMatchObject([
      { topic: 'claims', op: 'delete', entity_id: id, data: { reason: 'deleted' } },
    ]);
  });

  test('for activities when they are logged, not when retention takes them', async () => {
    const id = await worktree();
    expect(await eventsOf([`select registry.log_activity('a', $1, 'other', 'x')`, [id]])).toMatchObject([
      { topic: 'activities', op: 'insert', data: { worktree_id: id, type: 'other' } },
    ]);
    await database.owner.query(`select registry.ensure_activity_partitions(6)`);
    expect(
      await eventsOf(
        [
          `insert into registry.agent_activities (agent_id, worktree_id, activity_type, description, created_at)
           values ('a', $1, 'other', 'old', now() - interval '5 months')`,
          [id],
        ],
        'select registry.cleanup_old_activities(90)',
      ),
    ).toHaveLength(1);
  });

  test('for hosts and worktree types; a host that is seen again, once a minute', async () => {
    expect(await eventsOf(`select registry.upsert_host('h1')`)).toMatchObject([{ topic: 'hosts', op: 'insert' }]);
    const seen = (interval: string) =>
      eventsOf(
        `update registry.hosts set last_seen_at = timestamptz '2026-01-01' + interval '${interval}' where name = 'h1'`,
      );
    expect(await seen('0')).toHaveLength(1);
    expect(await seen('30 seconds')).toHaveLength(0);
    expect(await seen('2 minutes')).toMatchObject([{ changed: ['last_seen_at'] }]);
    expect(await eventsOf(`select registry.create_worktree_type('spike', 'spike/', 'spike-')`)).toMatchObject([
      { topic: 'worktree_types', op: 'insert', data: { after: { name: 'spike' } } },
    ]);
    expect(await eventsOf(`select registry.delete_worktree_type('spike')`)).toMatchObject([{ op: 'delete' }]);
  });
});

describe('who and how deep', () => {
  test('a setting of an earlier transaction of the connection says nothing: it reads as empty, not as absent', async () => {
    const id = await worktree();
    const client = await database.connect();
    const heard = once(client, 'notification');
    await client.query('listen treeline_feed');
    const principal = await value<string>(database.owner, `select gen_random_uuid()::text`);
    const touch = `update registry.worktrees set behind_trunk = behind_trunk + 1 where id = '${id}'`;
    const events = await eventsOf(
      `begin; select set_config('app.current_user_id', '${principal}', true), set_config('feed.depth', '3', true),
         set_config('feed.notify', 'after_commit', true); ${touch}; commit`,
    );
    expect(events).toMatchObject([{ principal_id: principal, depth: 3 }]);
    // The same on one connection, twice.
    const before = await value<string>(database.owner, 'select max(position)::text from feed.events');
    await client.query('begin');
    await client.query(
      `select set_config('app.current_user_id', '${principal}', true), set_config('feed.depth', '3', true), set_config('feed.notify', 'after_commit', true)`,
    );
    await client.query(touch);
    await client.query('commit');
    await client.query(touch);
    await heard;
    const [first, second] = await rows<Event>(
      database.owner,
      'select principal_id, depth from feed.events where position > $1 order by feed.events.position',
      [before],
    );
    expect(first).toEqual({ principal_id: principal, depth: 3 });
    expect(second).toEqual({ principal_id: null, depth: 0 });
    await client.end();
  });

  test('after_commit is silent, and everybody else notifies once per transaction', async () => {
    const id = await worktree();
    const client = await database.connect();
    const heard: string[] = [];
    client.on('notification', ({ payload }) => heard.push(payload ?? ''));
    await client.query('listen treeline_feed');
    const touch = `update registry.worktrees set behind_trunk = behind_trunk + 1 where id = '${id}'`;
    await client.query(`begin; set local feed.notify = 'after_commit'; ${touch}; commit`);
    await client.query('select 1');
    expect(heard).toEqual([]);
    await client.query(`begin; ${touch}; ${touch}; commit`);
    await client.query('select 1');
    // It carries no data.
    expect(heard).toEqual(['']);
    await client.end();
  });
});

describe('the log is nobody else', () => {
  test('request work cannot read, change or empty it, nor call what only the owner may', async () => {
    for (const statement of [
      'select from feed.events',
      'insert into feed.events (topic, op, entity_id) values (1, 2, 3)',
      'update feed.events set depth = 0',
      'delete from feed.events',
      'truncate feed.events',
      'select from feed.state',
      'select feed.open()',
      'select feed.drop_old(1)',
      'select feed.ensure_partitions()',
      'select registry.lapse_claims()',
      `select nextval('feed.event_position')`,
    ]) {
      await expect(database.runtime.query(statement)).rejects.toMatchObject({ code: '42501' });
    }
  });

  test('a day without a partition fails no write', async () => {
    await database.owner.query(`do $$ declare p text; begin
      for p in select c.oid::regclass from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'feed.events'::regclass and c.relname ~ '^events_[0-9]' loop
        execute 'drop table ' || p;
      end loop; end $$`);
    const id = await worktree();
    expect(
      await value(database.owner, `select tableoid::regclass::text from feed.events where entity_id = $1`, [id]),
    ).toBe('feed.events_default');
    // Made later, it takes them in: with their positions and transactions.
    const before = await rows(database.owner, 'select position, xid from feed.events where entity_id = $1', [id]);
    expect(await value(database.owner, 'select feed.ensure_partitions()')).toBe(4);
    expect(await rows(database.owner, 'select position, xid from feed.events where entity_id = $1', [id])).toEqual(
      before,
    );
    expect(await value(database.owner, 'select count(*)::int from feed.events_default')).toBe(0);
  });
});
