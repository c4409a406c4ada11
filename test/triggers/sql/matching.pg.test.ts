import { beforeAll, describe, expect, test } from 'vitest';
import { value } from '../../support/sql.ts';
import { appId, change, push, untilBlocked } from '../../sync/sql/asking.ts';
import { log, match, matched, matchPage, waiting } from './matching.ts';
import {
  anything,
  ask,
  asking,
  connect,
  createTrigger,
  database,
  disable,
  everyScope,
  owner,
  type Person,
  person,
  project,
  saveScript,
  updateTrigger,
  webhook,
} from './setting.ts';

let ada: Person;
beforeAll(async () => {
  ada = await person();
});

const worktrees = { kind: 'kv', collection_glob: 'worktrees' };

describe('a change', () => {
  test('becomes one row of the outbox for each trigger that means it, and is matched once', async () => {
    const place = await project(ada);
    const script = await saveScript(ada, place);
    const first = await createTrigger(ada, place, worktrees, { script_id: script });
    const second = await createTrigger(ada, place, anything, {
      script_id: await saveScript(ada, place, webhook),
      retry_max_attempts: 7,
      retry_backoff: 'linear',
      retry_base_ms: 250,
    });
    const other = await createTrigger(ada, place, { kind: 'kv', collection_glob: 'claims' });
    await match();
    const positions = await log({ project_id: place, depth: 3 });
    expect(await match()).toEqual([{ outcome: 'done', event_count: 1, matched_count: 2, has_buried: false }]);
    await match();
    expect([await matched(first), await matched(second), await matched(other)]).toEqual([positions, positions, []]);
    expect(await waiting(first)).toMatchObject([
      { source_kind: 'kv', project_id: place, script_id: script, principal_id: ada.id, lane: 'operation', depth: 3 },
    ]);
    expect(await waiting(second)).toMatchObject([
      { lane: 'webhook', scopes: ada.scopes, retry_max_attempts: 7, retry_backoff: 'linear', retry_base_ms: 250 },
    ]);
  });

  test('of any collection is told in one shape', async () => {
    const admin = await person(everyScope);
    const place = await project(admin);
    await owner.query(`update registry.projects set managed_by = '{mai}' where id = $1`, [place]);
    const trigger = await createTrigger(admin, null, anything);
    await asking(admin, async (client) => {
      const worktree = await value(client, `select registry.register_worktree($1, 'feat', 'w', 'feat/w', '/w')`, [
        place,
      ]);
      await client.query(`select registry.claim_worktree($1, 'agent')`, [worktree]);
      await client.query(`select registry.log_activity('agent', $1, 'modified', 'wrote')`, [worktree]);
      const message = JSON.stringify([{ message_id: 'm', role: 'user', content: 'hello' }]);
      await client.query('select chat.append_project_messages($1, $2)', [place, message]);
      await client.query(`select chat.put_project_snapshot($1, '[]')`, [place]);
      await client.query(`select registry.update_project($1, '{"name": "renamed"}')`, [place]);
      await push(client, [change('one'), change('two', { table_name: 'tag', op: 'update' })]);
    });
    await match();
    const told = (await waiting(trigger)).map((row) => row.payload);
    const collections = [
      'worktrees',
      'claims',
      'activities',
      'messages',
      'snapshots',
      'projects',
      'mirror',
      `sync:${appId}:note`,
    ];
    expect(new Set(told.map(({ collection }) => collection))).toEqual(new Set(collections));
    for (const payload of told) {
      expect(payload).toEqual({
        type: `${payload.collection}.${String(payload.op).toLowerCase()}`,
        timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/),
        position: expect.stringMatching(/^\d+$/),
        collection: expect.any(String),
        op: expect.stringMatching(/^(INSERT|UPDATE|DELETE)$/),
        entityId: expect.any(String),
        projectId: String(payload.collection).startsWith('sync:') ? null : place,
        agentId: payload.agentId === null ? null : 'agent',
        principalId: admin.id,
        changed: expect.any(Array),
        depth: 0,
        data: expect.any(Object),
      });
    }
    await owner.query('delete from triggers.triggers where id = $1', [trigger]);
  });

  test('that was rolled back is none, and one that is not committed yet is matched once it is', async () => {
    const place = await project(ada);
    const trigger = await createTrigger(ada, place);
    const [early, late] = [await connect(), await connect()];
    for (const client of [early, late]) await client.query('begin');
    const rename = `update registry.projects set name = $2 where id = $1`;
    await early.query(rename, [place, 'rolled back']);
    await match();
    await early.query('rollback');
    await late.query(rename, [place, 'committed']);
    const [between] = await log({ project_id: place });
    await match();
    expect(await matched(trigger)).toEqual([between]);
    await late.query('commit');
    await match();
    expect(await matched(trigger)).toHaveLength(2);
  });
});

describe('a trigger', () => {
  test('is told of nothing from before it was registered', async () => {
    const place = await project(ada);
    await log({ project_id: place });
    const trigger = await createTrigger(ada, place);
    const after = await log({ project_id: place });
    await match();
    expect(await matched(trigger)).toEqual(after);
  });

  test('that is disabled is told of nothing, neither then nor later', async () => {
    const place = await project(ada);
    const trigger = await createTrigger(ada, place, anything, { enabled: false });
    const on = { enabled: true };
    await log({ project_id: place });
    await match();
    await log({ project_id: place });
    await updateTrigger(ada, trigger, on);
    const meant = await log({ project_id: place });
    await match();
    await updateTrigger(ada, trigger, { enabled: false });
    await log({ project_id: place });
    await updateTrigger(ada, trigger, on);
    // To enable it again makes nothing of what it was enabled for already.
    meant.push(...(await log({ project_id: place })));
    await updateTrigger(ada, trigger, on);
    await match();
    expect(await matched(trigger)).toEqual(meant);
  });

  test('that means something else now is not told of what came before', async () => {
    const place = await project(ada);
    const respecified = await createTrigger(ada, place, { kind: 'kv', collection_glob: 'claims' });
    const reconditioned = await createTrigger(ada, place, anything, { condition: 'false' });
    const retried = await createTrigger(ada, place);
    const before = await log({ project_id: place });
    await updateTrigger(ada, respecified, {}, worktrees);
    await updateTrigger(ada, reconditioned, { condition: null });
    await updateTrigger(ada, retried, { retry_max_attempts: 5 });
    const after = await log({ project_id: place });
    await match();
    expect(await matched(respecified)).toEqual(after);
    expect(await matched(reconditioned)).toEqual(after);
    expect(await matched(retried)).toEqual([...before, ...after]);
  });

  test('of one project is told of no other, and of nothing without one', async () => {
    const [here, there] = [await project(ada), await project(ada)];
    const trigger = await createTrigger(ada, here);
    const [own] = await log({ project_id: here }, { project_id: there }, { project_id: null });
    await match();
    expect(await matched(trigger)).toEqual([own]);
  });

  test('of the whole registry is told of all of them', async () => {
    const admin = await person(everyScope);
    const [here, there] = [await project(ada), await project(null)];
    const trigger = await createTrigger(admin, null);
    const positions = await log({ project_id: here }, { project_id: null }, { project_id: there });
    await match();
    expect(await matched(trigger)).toEqual(positions);
    expect((await waiting(trigger)).map((row) => row.project_id)).toEqual([null, null, null]);
    await owner.query('delete from triggers.triggers where id = $1', [trigger]);
  });

  test('of somebody who was disabled stops, and goes on with what comes once it may again', async () => {
    const eve = await person();
    const place = await project(eve);
    const trigger = await createTrigger(eve, place);
    await disable(eve);
    await log({ project_id: place });
    await match();
    await owner.query('update auth.principals set disabled_at = null where id = $1', [eve.id]);
    const after = await log({ project_id: place });
    await match();
    expect(await matched(trigger)).toEqual(after);
  });

  test('that is deleted takes along what it set off, but not what is run just now or was asked for', async () => {
    const place = await project(ada);
    const trigger = await createTrigger(ada, place);
    await log(...Array.from({ length: 3 }, () => ({ project_id: place })));
    await match();
    const [first, second] = await waiting(trigger);
    const claimed = `claimed_by = 'w', claim_expires_at = 'infinity', execution_id = gen_random_uuid()`;
    await owner.query(`update triggers.outbox set ${claimed} where id = $1`, [first?.id]);
    await owner.query(`update triggers.outbox set source_kind = 'replay' where id = $1`, [second?.id]);
    await ask(ada, 'triggers.delete_trigger($1)', [trigger]);
    expect((await waiting(trigger)).map(({ id }) => id).sort()).toEqual([first?.id, second?.id].sort());
  });
});

describe('the one reader', () => {
  test.each([
    ['nothing was registered', []],
    ['all others mean something else', ['claims']],
  ])('tells a trigger that is registered while it begins of what comes next, where %s', async (_, globs) => {
    await owner.query('delete from triggers.triggers');
    const place = await project(ada);
    for (const collection_glob of globs) await createTrigger(ada, place, { kind: 'kv', collection_glob });
    const [reader, blocker] = [await connect(), await connect()];
    const pid = await value<number>(reader, 'select pg_backend_pid()');
    // It knows its tables by now, and waits at its first look at where it is.
    await matchPage(reader);
    await owner.query(`update triggers.state set moved_at = now() - interval '1 hour'`);
    await blocker.query('begin');
    await blocker.query('lock table triggers.state in access exclusive mode');
    const reading = matchPage(reader);
    await untilBlocked(database, pid);
    const trigger = await createTrigger(ada, place, worktrees);
    const positions = await log({ project_id: place });
    await blocker.query('commit');
    await reading;
    await match();
    expect(await matched(trigger)).toEqual(positions);
  });

  test('leaves others nothing to do while it is at it', async () => {
    const place = await project(ada);
    const trigger = await createTrigger(ada, place);
    await match();
    const positions = await log({ project_id: place });
    const client = await connect();
    await client.query('begin');
    expect(await matchPage(client)).toMatchObject({ outcome: 'done', event_count: 1 });
    expect(await matchPage(owner)).toMatchObject({ outcome: 'busy', event_count: 0 });
    await client.query('rollback');
    // What was rolled back is there again.
    expect(await match()).toMatchObject([{ outcome: 'done', event_count: 1 }]);
    expect(await matched(trigger)).toEqual(positions);
  });

  test('goes through the log in pages, to its end and not beyond', async () => {
    const place = await project(ada);
    const trigger = await createTrigger(ada, place);
    await match();
    const positions = await log(...Array.from({ length: 6 }, () => ({ project_id: place })));
    expect((await matchPage(owner, { limit: 3 })).outcome).toBe('more');
    // Comes in between two pages of a window that ends before it.
    positions.push(...(await log({ project_id: place })));
    const pages = await match({ limit: 3 });
    expect(pages.map(({ event_count }) => event_count)).toEqual([3, 0, 1]);
    expect(await matched(trigger)).toEqual(positions);
  });
});
