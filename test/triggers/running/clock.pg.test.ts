import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TestGateway } from '../../support/gateway.ts';
import { rows } from '../../support/sql.ts';
import type { Receiver } from '../receiver.ts';
import { createTrigger, owner, type Person, person, project, saveScript } from '../sql/setting.ts';
import {
  attemptsOf,
  deliveringTo,
  dispatching,
  receiving,
  startDispatching,
  untilEnded,
  untilFound,
} from './setting.ts';

let gateway: TestGateway;
let who: Person;
let projectId: string;
beforeAll(async () => {
  who = await person();
  projectId = await project(who);
  gateway = await startDispatching();
});
afterAll(() => gateway.close());

/** A trigger by the clock that tells a receiver its name and what it was told itself. */
async function clockTrigger(receiver: Receiver, name: string, spec: Record<string, unknown>, condition?: string) {
  const script_id = await saveScript(who, projectId, {
    ...deliveringTo(receiver),
    variables: { name, event: '=$' },
  });
  const columns = condition === undefined ? { script_id } : { script_id, condition };
  return createTrigger(who, projectId, { kind: 'cron', ...spec }, columns);
}

interface Told {
  name: string;
  event: { type: string; dueAt: string; missed: number };
}

const tellings = (receiver: Receiver, name: string) =>
  receiver.deliveries.map(({ payload }) => payload as Told).filter((told) => told.name === name);

const dueTimes = (receiver: Receiver, name: string) => tellings(receiver, name).map(({ event }) => event.dueAt);

/** No more of it, and all of it until here has ended. */
async function disableAll(): Promise<void> {
  await owner.query(`update triggers.triggers set enabled = false where kind = 'cron'`);
  await untilFound(async () => (await rows(owner, 'select from triggers.outbox')).length === 0);
}

describe('a trigger by the clock', () => {
  test('fires once for each second that is due, with two dispatchers', async () => {
    // The file's, and another one.
    await dispatching();
    const receiver = await receiving();
    const names = Array.from({ length: 8 }, (_, n) => `every second, ${n}`);
    // Some seconds ago, and then as the seconds go by: both are told at the same moment.
    const next_due_at = new Date(Math.floor(Date.now() / 1_000 - 5) * 1_000);
    for (const name of names) await clockTrigger(receiver, name, { expression: '* * * * * *', next_due_at });
    await receiver.untilDelivered(names.length * 7);
    await disableAll();
    for (const name of names) {
      const seconds = dueTimes(receiver, name).map((text) => Date.parse(text) / 1_000);
      const sorted = seconds.toSorted((a, b) => a - b);
      expect(sorted.length).toBeGreaterThanOrEqual(6);
      expect(sorted).toEqual(sorted.map((_, n) => next_due_at.getTime() / 1_000 + n));
    }
    expect(tellings(receiver, names[0] ?? '')[0]).toMatchObject({ event: { type: 'cron', missed: 0 } });
  });

  test('that nobody was there for catches up as it says', async () => {
    const receiver = await receiving();
    // Half an hour from now and so long ago: nothing is on time.
    const minute = (new Date().getUTCMinutes() + 30) % 60;
    const spec = (catch_up: string) => ({ expression: `${minute} * * * *`, catch_up });
    for (const how of ['skip', 'once', 'all']) await clockTrigger(receiver, how, spec(how));
    await clockTrigger(receiver, 'on a condition', spec('all'), '$contains(dueAt, "T") and missed = 1');
    await untilFound(async () => {
      const found = await rows(
        owner,
        'select from triggers.cron_trigger_details where expression = $1 and next_due_at > now()',
        [spec('').expression],
      );
      return found.length === 4;
    });
    await owner.query(
      `update triggers.cron_trigger_details set next_due_at = next_due_at - interval '3 hours' where expression = $1`,
      [spec('').expression],
    );
    await receiver.untilDelivered(4);
    const all = dueTimes(receiver, 'all').toSorted();
    expect(all).toHaveLength(3);
    expect(all.map((text) => new Date(text).getUTCMinutes())).toEqual([minute, minute, minute]);
    expect(tellings(receiver, 'once')).toMatchObject([{ event: { dueAt: all[0], missed: 2 } }]);
    expect(tellings(receiver, 'skip')).toEqual([]);
    expect(tellings(receiver, 'on a condition')).toEqual([]);
    await disableAll();
  });

  test('written past the API so that nobody can follow it is never due, and keeps no other from it', async () => {
    const receiver = await receiving();
    const [mad] = [
      await clockTrigger(receiver, 'mad', { expression: 'now and then' }),
      await clockTrigger(receiver, 'sound', { expression: '* * * * * *', next_due_at: new Date() }),
    ];
    await receiver.untilDelivered(1);
    await disableAll();
    expect(await attemptsOf(mad)).toEqual([]);
    expect(
      await rows(owner, 'select next_due_at::text from triggers.cron_trigger_details where trigger_id = $1', [mad]),
    ).toEqual([{ next_due_at: 'infinity' }]);
  });

  test('disabled meanwhile fires nothing of that time when it is enabled again', async () => {
    const receiver = await receiving();
    const id = await clockTrigger(receiver, 'paused', { expression: '* * * * * *', catch_up: 'all' });
    await owner.query('update triggers.triggers set enabled = false where id = $1', [id]);
    await owner.query(
      `update triggers.cron_trigger_details set next_due_at = now() - interval '1 minute' where trigger_id = $1`,
      [id],
    );
    const enabledAt = Date.now();
    await owner.query('update triggers.triggers set enabled = true where id = $1', [id]);
    await untilEnded(id);
    await disableAll();
    expect(Date.parse(dueTimes(receiver, 'paused')[0] ?? '')).toBeGreaterThan(enabledAt - 1_000);
  });
});
