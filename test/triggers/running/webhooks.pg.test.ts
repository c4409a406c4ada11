import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TestGateway } from '../../support/gateway.ts';
import { rows } from '../../support/sql.ts';
import type { Delivered } from '../receiver.ts';
import { outboxRow } from '../sql/running.ts';
import { createTrigger, owner, person, saveScript } from '../sql/setting.ts';
import {
  attemptsOf,
  change,
  changes,
  deliveringTo,
  newWorktrees,
  receiving,
  scriptOnChange,
  startDispatching,
  untilBuried,
  untilEnded,
  untilFound,
} from './setting.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startDispatching();
});
afterAll(() => gateway.close());

/** What a trigger set off that was put off. */
const untilPutOff = (triggerId: string) =>
  untilFound(async () => {
    const [row] = await rows<{ id: string }>(
      owner,
      'select id from triggers.outbox where trigger_id = $1 and claimed_by is null and failures > 0',
      [triggerId],
    );
    return row === undefined ? null : outboxRow(row.id);
  });

const idsOf = (deliveries: readonly Delivered[]) => new Set(deliveries.map(({ headers }) => headers['webhook-id']));

describe('a webhook', () => {
  test('carries the event, or what its template makes of it, signed and as deep as it is', async () => {
    const receiver = await receiving();
    const who = await person();
    const { projectId, triggerId } = await scriptOnChange(who, deliveringTo(receiver));
    const script_id = await saveScript(who, projectId, {
      ...deliveringTo(receiver),
      variables: { text: "='A new worktree: ' & data.name", none: '=data.nothing' },
      headers: { authorization: 'Bearer theirs' },
    });
    const templated = await createTrigger(who, projectId, newWorktrees, { script_id });
    const position = await change(projectId);
    await receiver.untilDelivered(2);
    await Promise.all([untilEnded(triggerId), untilEnded(templated)]);
    const [event, text] = [false, true].map((isText) =>
      receiver.deliveries.find(({ payload }) => 'text' in (payload as object) === isText),
    );
    expect(event?.payload).toMatchObject({
      type: 'worktrees.insert',
      position,
      collection: 'worktrees',
      op: 'INSERT',
      projectId,
      depth: 0,
      changed: [],
      data: { after: { project_id: projectId } },
    });
    expect(event?.headers['treeline-depth']).toBe('1');
    expect(text?.payload).toEqual({ text: expect.stringMatching(/^A new worktree: \S+$/) });
    expect(text?.headers.authorization).toBe('Bearer theirs');
    expect((await attemptsOf(triggerId))[0]?.result).toEqual({ status: 200, body: 'ok' });
  });

  test('answered 410 is a dead letter at once', async () => {
    const receiver = await receiving();
    receiver.reply({ status: 410 });
    const { projectId, triggerId } = await scriptOnChange(await person(), deliveringTo(receiver));
    await change(projectId);
    expect(await untilBuried(triggerId)).toMatchObject([
      { attempts: 1, last_error: 'The receiver answered 410: it wants no more of these.' },
    ]);
    expect(receiver.deliveries).toHaveLength(1);
  });

  test('answered 500 is tried again under the same id, and succeeds when the receiver does', async () => {
    const receiver = await receiving();
    receiver.reply((response) => {
      response.writeHead(receiver.deliveries.length < 3 ? 500 : 204).end();
    });
    const { projectId, triggerId } = await scriptOnChange(await person(), deliveringTo(receiver), { retry_base_ms: 1 });
    await change(projectId);
    const ended = await untilEnded(triggerId, 3);
    expect(ended.map(({ attempt, status }) => [attempt, status])).toEqual([
      [1, 'failed'],
      [2, 'failed'],
      [3, 'succeeded'],
    ]);
    expect(ended[0]).toMatchObject({ error: 'Expected an answer from 200 to 299, got 500.', result: { status: 500 } });
    expect(idsOf(receiver.deliveries).size).toBe(1);
  });

  test('answered with errors to the last attempt is a dead letter with the first and the last one', async () => {
    const receiver = await receiving();
    receiver.reply((response) => {
      response.writeHead(500 + receiver.deliveries.length).end();
    });
    // Each time it is due almost before anybody could have looked for what is due next.
    const columns = { retry_base_ms: 1, retry_backoff: 'constant', retry_max_attempts: 40 };
    const { projectId, triggerId } = await scriptOnChange(await person(), deliveringTo(receiver), columns);
    await change(projectId);
    expect(await untilBuried(triggerId)).toMatchObject([
      { attempts: 40, first_error: expect.stringContaining('501'), last_error: expect.stringContaining('540') },
    ]);
  });

  test.each([
    ['by its backoff', undefined, 48_000, 72_000],
    ['for as long as the receiver asks for', '600', 599_000, 600_000],
    ['by its backoff where that is longer than the receiver asks for', '1', 48_000, 72_000],
  ])('is put off %s', async (_how, retryAfter, least, most) => {
    const receiver = await receiving();
    receiver.reply({ status: 503, headers: retryAfter === undefined ? {} : { 'retry-after': retryAfter } });
    const { projectId, triggerId } = await scriptOnChange(await person(), deliveringTo(receiver), {
      retry_base_ms: 60_000,
    });
    await change(projectId);
    const row = await untilPutOff(triggerId);
    expect(row).toMatchObject({ attempt: 1, failures: 1, first_error: expect.stringContaining('503') });
    // From when it ended on, which was a moment ago.
    expect(row?.due_in_ms).toBeGreaterThan(least - 5_000);
    expect(row?.due_in_ms).toBeLessThan(most);
  });

  test('that is not answered in time has timed out, and is tried again', async () => {
    const receiver = await receiving();
    receiver.reply((response) => {
      if (receiver.deliveries.length > 1) response.writeHead(200).end();
    });
    const { projectId, triggerId } = await scriptOnChange(
      await person(),
      { ...deliveringTo(receiver), timeout_ms: 100 },
      { retry_base_ms: 1 },
    );
    await change(projectId);
    expect(await untilEnded(triggerId, 2)).toMatchObject([
      { status: 'timed_out', error: expect.stringContaining('100 ms') },
      { status: 'succeeded' },
    ]);
  });

  test('that hangs keeps nobody from anything, however many hang: one registrant has half of the places at most', async () => {
    const [hanging, sound] = [await receiving(), await receiving()];
    hanging.reply(() => {});
    const who = await person();
    const { projectId, triggerId } = await scriptOnChange(who, deliveringTo(hanging));
    const operation = await createTrigger(who, projectId, newWorktrees);
    const neighbour = await scriptOnChange(await person(), deliveringTo(sound));
    const half = 32;
    // Also when it is one short of its half and more than its half are due.
    await changes(projectId, half - 1);
    await hanging.untilDelivered(half - 1);
    await changes(projectId, 2 * half);
    await untilEnded(operation, 3 * half - 1);
    await change(neighbour.projectId);
    await untilEnded(neighbour.triggerId);
    expect(await attemptsOf(triggerId)).toEqual(Array(half).fill(expect.objectContaining({ status: 'running' })));
    await hanging.untilDelivered(half);
    expect(hanging.deliveries).toHaveLength(half);
    // So that nobody waits for them any longer.
    await hanging.close();
  });

  test('that hangs, and that operations wait for, leaves places to the operations of others', async () => {
    const hanging = await receiving();
    hanging.reply(() => {});
    const who = await person();
    const { projectId, scriptId: hook } = await scriptOnChange(who, deliveringTo(hanging), { enabled: false });
    const waiting = await saveScript(who, projectId, {
      document: 'mutation ($s: ID!) { invokeScript(input: { script: $s, timeoutMs: 60000 }) { result } }',
      variables: { s: hook },
      timeout_ms: 60_000,
    });
    await createTrigger(who, projectId, newWorktrees, { script_id: waiting });
    const neighbour = await scriptOnChange(await person(), { document: '{ __typename }' });
    await changes(projectId, 40);
    await hanging.untilDelivered(2);
    await change(neighbour.projectId);
    await untilEnded(neighbour.triggerId);
    expect(hanging.deliveries.length).toBeLessThan(10);
    await hanging.close();
  });

  test('to where no operator lets it go is not sent', async () => {
    const { projectId, triggerId } = await scriptOnChange(
      await person(),
      { ...deliveringTo(await receiving()), url: 'http://169.254.169.254/latest/meta-data' },
      { retry_max_attempts: 1 },
    );
    await change(projectId);
    expect((await untilBuried(triggerId))[0]?.last_error).toContain('169.254.169.254');
  });
});
