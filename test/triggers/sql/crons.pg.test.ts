import type pg from 'pg';
import { beforeEach, describe, expect, test } from 'vitest';
import { rows, value } from '../../support/sql.ts';
import { lettersOf, waiting } from './matching.ts';
import {
  connect,
  createTrigger,
  disable,
  owner,
  type Person,
  person,
  project,
  type TriggerColumns,
  updateTrigger,
} from './setting.ts';

interface Due {
  trigger_id: string | null;
  expression: string | null;
  timezone: string | null;
  catch_up: string | null;
  next_due_at: Date | null;
  now: Date;
  next_in_ms: number | null;
}

let ada: Person;
let place: string;
beforeEach(async () => {
  await owner.query('delete from triggers.triggers');
  ada = await person();
  place = await project(ada);
});

const past = '2026-01-01T00:00:00Z';
const distant = '2999-01-01T00:00:00Z';

/** @param dueAt null: nobody worked it out yet */
const cron = (dueAt: string | null, columns: TriggerColumns = {}) =>
  createTrigger(ada, place, { kind: 'cron', expression, next_due_at: dueAt }, columns);

/** Those that are due, and in how many ms the next one is. */
async function due(limit = 100): Promise<{ due: Due[]; nextInMs: number | null }> {
  const all = await rows<Due>(owner, 'select * from triggers.due_crons($1)', [limit]);
  return { due: all.slice(0, -1), nextInMs: all.at(-1)?.next_in_ms ?? null };
}
const dueIds = async () => (await due()).due.map((row) => row.trigger_id);

const expression = '0 3 * * *';
/** @param from as the caller saw it */
function fire(
  trigger: string,
  from: string | null,
  to: string | null,
  { events = [], client = owner }: { events?: unknown[]; client?: pg.Pool | pg.Client } = {},
) {
  const values = [trigger, expression, 'UTC', from, to, JSON.stringify(events)];
  return value<boolean>(client, 'select triggers.fire_cron($1, $2, $3, $4, $5, $6)', values);
}
const firing = { type: 'cron', dueAt: past, missed: 0 };
const nextDueAt = async (trigger: string) =>
  (
    await value<Date | null>(owner, 'select next_due_at from triggers.cron_trigger_details where trigger_id = $1', [
      trigger,
    ])
  )?.toISOString() ?? null;

describe('what is due by the clock', () => {
  test('is what nobody worked out yet, and then the oldest', async () => {
    const later = await cron('2026-01-02T00:00:00Z');
    const first = await cron(past, { condition: 'true' });
    const unknown = await cron(null);
    await cron(distant);
    await cron('infinity');
    await cron(past, { enabled: false });
    const found = await due();
    expect(found.due.map((row) => row.trigger_id)).toEqual([unknown, first, later]);
    expect(found.due[1]).toMatchObject({
      expression,
      timezone: 'UTC',
      catch_up: 'skip',
      next_due_at: new Date(past),
    });
    expect(found.nextInMs).toBeCloseTo(Date.parse(distant) - Date.now(), -5);
    expect((await due(2)).due).toHaveLength(2);
  });

  test('is nothing of those who are disabled, nor does anybody wait for it', async () => {
    await cron(past);
    await cron(distant);
    await disable(ada);
    expect(await due()).toEqual({ due: [], nextInMs: null });
  });

  test('is worked out anew when it means something else, or is enabled again', async () => {
    const trigger = await cron(distant);
    await updateTrigger(ada, trigger, { enabled: false });
    expect(await dueIds()).toEqual([]);
    await updateTrigger(ada, trigger, { enabled: true });
    expect(await dueIds()).toEqual([trigger]);
    await fire(trigger, null, distant);
    await updateTrigger(ada, trigger, { retry_base_ms: 5 });
    expect(await dueIds()).toEqual([]);
    await updateTrigger(
      ada,
      trigger,
      {},
      { kind: 'cron', expression: '0 4 * * *', timezone: 'Europe/Berlin', catch_up: 'all' },
    );
    expect((await due()).due).toMatchObject([
      { expression: '0 4 * * *', timezone: 'Europe/Berlin', catch_up: 'all', next_due_at: null },
    ]);
  });
});

describe('a due time', () => {
  test('fires once, however many dispatchers see it', async () => {
    const trigger = await cron(past);
    const clients = await Promise.all(Array.from({ length: 6 }, () => connect()));
    const fired = await Promise.all(
      clients.map((client) => fire(trigger, past, distant, { events: [firing], client })),
    );
    expect(fired.filter(Boolean)).toHaveLength(1);
    expect(await waiting(trigger)).toMatchObject([
      { source_kind: 'cron', project_id: place, principal_id: ada.id, depth: 0, payload: firing },
    ]);
    expect(await nextDueAt(trigger)).toBe(new Date(distant).toISOString());
    expect(await fire(trigger, past, distant, { events: [firing] })).toBe(false);
  });

  test('that was never worked out is worked out once', async () => {
    const trigger = await cron(null);
    expect([await fire(trigger, null, past), await fire(trigger, null, distant)]).toEqual([true, false]);
    expect(await nextDueAt(trigger)).toBe(new Date(past).toISOString());
  });

  test('that was worked out for something else that it meant is not its own', async () => {
    const trigger = await cron(null);
    await updateTrigger(ada, trigger, {}, { kind: 'cron', expression: '0 4 * * *' });
    expect(await fire(trigger, null, distant, { events: [firing] })).toBe(false);
    await updateTrigger(ada, trigger, {}, { kind: 'cron', expression, timezone: 'Asia/Tokyo' });
    expect(await fire(trigger, null, distant, { events: [firing] })).toBe(false);
    expect([await nextDueAt(trigger), await waiting(trigger)]).toEqual([null, []]);
  });

  test('that will never come is infinity', async () => {
    const trigger = await cron(past);
    await fire(trigger, past, 'infinity');
    expect(await due()).toEqual({ due: [], nextInMs: null });
  });

  test('with a condition waits for it to be tested, and the next one comes', async () => {
    const trigger = await cron(past, { condition: 'x' });
    expect(await fire(trigger, past, distant, { events: [firing] })).toBe(true);
    expect([await waiting(trigger), await nextDueAt(trigger)]).toEqual([[], new Date(distant).toISOString()]);
    const taken = await rows<{ id: string; payload: unknown }>(
      owner,
      `select id, payload from triggers.take_candidates(10, '{}', '{}', 60000)`,
    );
    expect(taken).toMatchObject([{ payload: firing }]);
    const error = 'It is no condition.';
    await owner.query('select triggers.settle_candidates($1, 8)', [JSON.stringify([{ id: taken[0]?.id, error }])]);
    expect(await lettersOf(trigger)).toMatchObject([{ source_kind: 'cron', last_error: error }]);
  });

  test('is no limit of depth', async () => {
    const trigger = await cron(past);
    await fire(trigger, past, distant, { events: [firing] });
    expect(await waiting(trigger)).toHaveLength(1);
  });
});
