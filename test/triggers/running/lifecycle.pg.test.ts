import type { ServerResponse } from 'node:http';
import { describe, expect, test } from 'vitest';
import type { TestGateway } from '../../support/gateway.ts';
import { rows, value } from '../../support/sql.ts';
import { metric, untilMetric } from '../../support/watch.ts';
import { enqueue, outboxRow } from '../sql/running.ts';
import { connect, createTrigger, owner, person, project, saveScript } from '../sql/setting.ts';
import {
  attemptsOf,
  change,
  deliveringTo,
  dispatching,
  newWorktrees,
  receiving,
  scriptOnChange,
  startDispatching,
  untilBuried,
  untilEnded,
  untilFound,
} from './setting.ts';

const renaming = {
  document: 'mutation ($id: ID!) { updateProject(input: { project: { id: $id }, name: "new" }) { cursor } }',
};

describe('a dispatcher that stops', () => {
  test('gives back what it has not begun, and waits for what it has', async () => {
    const who = await person();
    const projectId = await project(who);
    const [quick, slow] = [
      await saveScript(who, projectId),
      await saveScript(who, projectId, { ...renaming, variables: { id: projectId } }),
    ];
    // As quick as these are, it takes some of the others ahead of their turn, unless the machine has too much else to do.
    for (let n = 0; n < 100; n += 1) await enqueue(who, quick, { overdue_ms: 1_000 });
    const slowOnes = await Promise.all(Array.from({ length: 20 }, () => enqueue(who, slow)));
    const keeper = await connect();
    await keeper.query('begin');
    await keeper.query('select from registry.projects where id = $1 for update', [projectId]);
    const gateway = await startDispatching({ environment: { TREELINE_POOL_SIZE: '2' } });
    const running = async () => (await attemptsOf(slow)).length;
    // Nobody tells that something was claimed.
    while ((await running()) < 1 || (await attemptsOf(quick)).some(({ status }) => status === 'running'));
    const stopped = gateway.close();
    const given = async () => (await Promise.all(slowOnes.map(outboxRow))).filter((row) => row?.claimed_by === null);
    // A claim may have been under way.
    await untilFound(async () => (await running()) === 1 && (await given()).length === slowOnes.length - 1);
    await keeper.query('commit');
    await stopped;
    expect(await attemptsOf(slow)).toMatchObject([{ status: 'succeeded', attempt: 1 }]);
    expect(await given()).toEqual(Array(slowOnes.length - 1).fill(expect.objectContaining({ attempt: 0 })));

    await dispatching();
    const ended = await untilEnded(slow, slowOnes.length);
    expect(ended.map(({ status, attempt }) => [status, attempt])).toEqual(ended.map(() => ['succeeded', 1]));
    expect(new Set(ended.map((one) => one.outbox_id)).size).toBe(slowOnes.length);
  });

  test('ends what takes longer than it may, and it is begun again by the next', async () => {
    const receiver = await receiving();
    receiver.reply(() => {});
    const { projectId, triggerId } = await scriptOnChange(await person(), deliveringTo(receiver), { retry_base_ms: 1 });
    const gateway = await startDispatching({ environment: { TREELINE_SHUTDOWN_MS: '100' } });
    await change(projectId);
    await receiver.untilDelivered(1);
    await gateway.close();
    expect(await attemptsOf(triggerId)).toMatchObject([{ status: 'lost', error: expect.stringContaining('stopped') }]);
    receiver.reply({ status: 200 });
    await dispatching();
    expect(await untilEnded(triggerId, 2)).toMatchObject([{}, { status: 'succeeded', attempt: 2 }]);
  });

  test('misses nothing of what happens until the next one', async () => {
    const { projectId, triggerId } = await scriptOnChange(await person(), {});
    const gateway = await startDispatching();
    await change(projectId);
    await untilEnded(triggerId);
    await gateway.close();
    for (let n = 0; n < 3; n += 1) await change(projectId);
    await dispatching();
    expect(await untilEnded(triggerId, 4)).toHaveLength(4);
  });
});

describe('a dispatcher whose database connections break', () => {
  test('goes on by itself and loses nothing', async () => {
    const who = await person();
    const projectId = await project(who);
    const worktree = await value<string>(owner, `select registry.register_worktree($1, 'feat', 'w', 'feat/w', '/w')`, [
      await project(who),
    ]);
    const script_id = await saveScript(who, projectId, {
      document: `mutation ($worktree: ID!, $position: String!) {
        logActivities(input: { activities: [{ agentId: "a", type: OTHER, description: $position, worktree: { id: $worktree } }] }) { cursor }
      }`,
      variables: { worktree, position: '=position' },
    });
    const triggerId = await createTrigger(who, projectId, newWorktrees, {
      script_id,
      retry_base_ms: 1,
      retry_max_attempts: 20,
    });
    await dispatching({ environment: { TREELINE_DISPATCH_LEASE_MS: '1000', TREELINE_LOG: 'silent' } });
    const positions: string[] = [];
    for (const broken of ['treeline-owner', 'treeline-listen', 'treeline%']) {
      for (let n = 0; n < 10; n += 1) positions.push(await change(projectId));
      await owner.query(
        'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like $1',
        [broken],
      );
      for (let n = 0; n < 5; n += 1) positions.push(await change(projectId));
    }
    await untilFound(async () => {
      const { waiting, done } = await progress();
      return waiting === 0 && done.size === positions.length;
    });
    expect((await progress()).done).toEqual(new Set(positions));
    // A row for each event, whatever became of its attempts.
    expect(new Set((await attemptsOf(triggerId)).map(({ outbox_id }) => outbox_id)).size).toBe(positions.length);

    async function progress() {
      const done = await rows<{ description: string }>(
        owner,
        'select description from registry.agent_activities where worktree_id = $1',
        [worktree],
      );
      const waiting = await value<number>(owner, 'select count(*)::int from triggers.outbox');
      return { waiting, done: new Set(done.map(({ description }) => description)) };
    }
  });

  test('what it claimed without learning of it is begun by another when the lease ends', async () => {
    const receiver = await receiving();
    const held = new Promise<ServerResponse>((resolve) => receiver.reply(resolve));
    const who = await person();
    const { projectId, scriptId } = await scriptOnChange(who, deliveringTo(receiver));
    await dispatching({ environment: { TREELINE_DISPATCH_LEASE_MS: '1000' } });
    await change(projectId);
    await receiver.untilDelivered(1);
    const sound = await saveScript(who, projectId);
    // The answer to such a claim was lost on its way, and the one who claimed has other things to do.
    await owner.query(
      `insert into triggers.outbox (source_kind, trigger_id, script_id, principal_id, scopes, payload, lane, retry_max_attempts,
         retry_backoff, retry_base_ms, claimed_by, claim_expires_at, execution_id, attempt)
       select source_kind, trigger_id, $2, principal_id, scopes, '{}', 'operation', 3, 'constant', 1, claimed_by,
         clock_timestamp() + interval '1 second', gen_random_uuid(), 1
       from triggers.outbox where script_id = $1`,
      [scriptId, sound],
    );
    expect(await untilEnded(sound)).toMatchObject([{ status: 'succeeded', attempt: 2 }]);
    (await held).writeHead(200).end();
    expect(await untilEnded(scriptId)).toMatchObject([{ status: 'succeeded', attempt: 1 }]);
  });
});

describe('the figures of a dispatcher', () => {
  const figure = (gateway: TestGateway, name: string) => metric(gateway, name.replace(/[{}]/g, '\\$&'));

  test('say what it matched, ran and gave up, and what waits', async () => {
    const who = await person();
    const { projectId, triggerId } = await scriptOnChange(who, { document: '{ cursor }', variables: '="none"' });
    const sound = await createTrigger(who, projectId, newWorktrees);
    const receiver = await receiving();
    receiver.reply({ status: 503, headers: { 'retry-after': '600' } });
    const script_id = await saveScript(who, projectId, deliveringTo(receiver));
    const putOff = await createTrigger(who, projectId, newWorktrees, { script_id });
    const gateway = await dispatching();
    const before = await figure(gateway, 'treeline_dead_letters_unresolved');
    for (let n = 0; n < 2; n += 1) await change(projectId);
    await Promise.all([untilBuried(triggerId, 2), untilEnded(sound, 2), untilEnded(putOff, 2)]);
    const figures: [string, number][] = [
      ['treeline_trigger_events_total', 2],
      ['treeline_trigger_matches_total', 6],
      ['treeline_trigger_gaps_total', 0],
      ['treeline_leases_lost_total', 0],
      ['treeline_executions_total{kind="operation",status="succeeded"}', 2],
      ['treeline_executions_total{kind="operation",status="failed"}', 2],
      ['treeline_executions_total{kind="webhook",status="failed"}', 2],
      ['treeline_executions_total{kind="webhook",status="timed_out"}', 0],
      ['treeline_execution_wait_seconds_count{kind="operation"}', 4],
      ['treeline_dead_letters_total', 2],
      ['treeline_dead_letters_unresolved', before + 2],
      ['treeline_outbox_waiting', 2],
      ['treeline_outbox_due', 0],
      ['treeline_outbox_claimed', 0],
      ['treeline_outbox_oldest_due_seconds', 0],
      ['treeline_executions_in_flight', 0],
    ];
    await untilMetric(gateway, 'treeline_executions_in_flight', (count) => count === 0);
    for (const [name, count] of figures) expect.soft(await figure(gateway, name), name).toBe(count);
  });
});
