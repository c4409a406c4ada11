import { beforeEach, describe, expect, test } from 'vitest';
import { rows, value } from '../../support/sql.ts';
import { log, match, matched, matchPage } from './matching.ts';
import { createTrigger, owner, type Person, person, project, updateTrigger } from './setting.ts';

let ada: Person;
let place: string;
beforeEach(async () => {
  await owner.query('delete from triggers.triggers');
  ada = await person();
  place = await project(ada);
});

/** Events of somebody's that retention drops the next time. */
async function logOld(count: number): Promise<void> {
  const positions = await log(...Array.from({ length: count }, () => ({ project_id: place })));
  await owner.query(`update feed.events set at = at - interval '30 days' where position = any ($1)`, [positions]);
}
const dropOld = () => owner.query('select feed.drop_old(7)');
const whereItIs = () =>
  rows<{ prev: string; next: string | null; position: string | null }>(
    owner,
    'select prev::text, next::text, position::text from triggers.state',
  );
/** As if the last move was so long ago; of what is negative, as if it was to come. */
const movedAgo = (interval: string) =>
  owner.query('update triggers.state set moved_at = clock_timestamp() - $1::interval', [interval]);

/** Others write in the same cluster: until none of the transactions that are open at the place is older than what is in the log. */
async function leaveBehind(): Promise<void> {
  const behind =
    'select (select pg_snapshot_xmin(prev) from triggers.state) > (select max(xid::text::bigint)::text::xid8 from feed.events)';
  do {
    await movedAgo('1 hour');
    await matchPage(owner);
  } while (!(await value<boolean>(owner, behind)));
}

describe('while no trigger is enabled', () => {
  test('nothing is read, and what is registered later is told of what comes then', async () => {
    await log({ project_id: place });
    expect(await matchPage(owner)).toEqual({ outcome: 'idle', event_count: 0, matched_count: 0, has_buried: false });
    const trigger = await createTrigger(ada, place);
    const after = await log({ project_id: place });
    await match();
    expect(await matched(trigger)).toEqual(after);
  });

  test('the place in the log moves on once a minute, so that retention never overtakes it', async () => {
    const trigger = await createTrigger(ada, place);
    await match();
    await updateTrigger(ada, trigger, { enabled: false });
    await logOld(1);
    await movedAgo('-1 hour');
    const before = await whereItIs();
    expect((await matchPage(owner)).outcome).toBe('idle');
    expect(await whereItIs()).toEqual(before);
    await movedAgo('61 seconds');
    expect((await matchPage(owner)).outcome).toBe('idle');
    expect(await whereItIs()).not.toEqual(before);
    await leaveBehind();
    await dropOld();
    await updateTrigger(ada, trigger, { enabled: true });
    const after = await log({ project_id: place });
    expect(await matchPage(owner)).toMatchObject({ outcome: 'done' });
    expect(await matched(trigger)).toEqual(after);
  });
});

describe('what retention drops', () => {
  test('before it was matched is a gap, which is told once; the matching goes on from now', async () => {
    const trigger = await createTrigger(ada, place);
    await logOld(2);
    await dropOld();
    const lost = await log({ project_id: place });
    expect(await matchPage(owner)).toEqual({ outcome: 'gap', event_count: 0, matched_count: 0, has_buried: false });
    const after = await log({ project_id: place });
    await match();
    expect(await matched(trigger)).toEqual(after);
    expect(lost).toHaveLength(1);
  });

  test('in the middle of a window is a gap too', async () => {
    const trigger = await createTrigger(ada, place);
    await match();
    await logOld(3);
    expect(await matchPage(owner, { limit: 2 })).toMatchObject({
      outcome: 'more',
      matched_count: 2,
      has_buried: false,
    });
    await dropOld();
    expect((await matchPage(owner, { limit: 2 })).outcome).toBe('gap');
    expect(await whereItIs()).toMatchObject([{ next: null, position: null }]);
    const after = await log({ project_id: place });
    await match();
    expect((await matched(trigger)).slice(2)).toEqual(after);
  });

  test('after it was matched is none', async () => {
    const trigger = await createTrigger(ada, place);
    await logOld(2);
    await match();
    await leaveBehind();
    await dropOld();
    const after = await log({ project_id: place });
    await match();
    expect((await matched(trigger)).slice(2)).toEqual(after);
  });
});

test('the place in the log moves on also while nothing happens that anybody means', async () => {
  await createTrigger(ada, place);
  await match();
  await movedAgo('-1 hour');
  const before = await whereItIs();
  await owner.query('select pg_current_xact_id()');
  await matchPage(owner);
  // Not with each look: that would write all the time.
  expect(await whereItIs()).toEqual(before);
  await movedAgo('1100 milliseconds');
  await matchPage(owner);
  expect(await whereItIs()).not.toEqual(before);
});

describe('a database that was restored or copied', () => {
  /** As it is opened for the first time, when the older one was far ahead of it in its transactions. */
  async function restore(): Promise<void> {
    const ahead = '900000000000:900000000000:';
    await owner.query(
      `update triggers.state set prev = $1, next = case when next is not null then $1::pg_snapshot end, position = position + 1000000`,
      [ahead],
    );
    await owner.query('update triggers.triggers set active_from = $1', [ahead]);
    await owner.query(`update feed.state set identity = 'another'`);
    await owner.query('select feed.open()');
  }

  test('matches what happens in it, by triggers from before, and nothing from before', async () => {
    const trigger = await createTrigger(ada, place);
    await log({ project_id: place });
    await restore();
    expect(await match()).toEqual([]);
    const after = await log({ project_id: place });
    await match();
    expect(await matched(trigger)).toEqual(after);
  });

  test('begins anew also where the older one was in the middle of a window', async () => {
    const trigger = await createTrigger(ada, place);
    await log({ project_id: place }, { project_id: place }, { project_id: place });
    expect((await matchPage(owner, { limit: 2 })).outcome).toBe('more');
    const before = await matched(trigger);
    await restore();
    const after = await log({ project_id: place });
    await match();
    expect((await matched(trigger)).slice(before.length)).toEqual(after);
  });

  test('that is opened again goes on where it was', async () => {
    const trigger = await createTrigger(ada, place);
    const positions = await log({ project_id: place });
    await match();
    const { prev } = (await whereItIs())[0] ?? {};
    await owner.query('select feed.open()');
    expect(await value<string>(owner, 'select prev::text from triggers.state')).toBe(prev);
    await match();
    expect(await matched(trigger)).toEqual(positions);
  });
});
