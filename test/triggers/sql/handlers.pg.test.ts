import { randomUUID } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { value } from '../../support/sql.ts';
import { match, waiting } from './matching.ts';
import {
  bury,
  type Claimed,
  claim,
  claimOne,
  endLeases,
  failed,
  finish,
  type LetterColumns,
  makeDue,
  meetAt,
} from './running.ts';
import {
  connect,
  createTrigger,
  disable,
  everyScope,
  member,
  owner,
  type Person,
  person,
  project,
  saveScript,
  type TriggerColumns,
} from './setting.ts';

let ada: Person;
let place: string;
let script: string;
beforeEach(async () => {
  await owner.query('delete from triggers.triggers');
  await owner.query('delete from triggers.outbox');
  ada = await person();
  place = await project(ada);
  script = await saveScript(ada, place);
});

const handler = (
  who: Person,
  projectId: string | null,
  filters: Record<string, string> = {},
  columns: TriggerColumns = {},
) => createTrigger(who, projectId, { kind: 'dead_letter', ...filters }, columns);

/** A letter of somebody's here, unless it says otherwise, and whoever is told of it; @returns its id */
async function leave(who: Person, columns: LetterColumns & { script_id?: string } = {}): Promise<string> {
  const id = await bury(who, columns.script_id ?? script, { project_id: place, ...columns });
  await match();
  return id;
}
const toldOf = async (trigger: string) => (await waiting(trigger)).map((row) => row.dead_letter_id);
const letter = async (id: string) =>
  value<{ resolution: string | null; resolved: boolean }>(
    owner,
    `select json_build_object('resolution', resolution, 'resolved', resolved_at is not null) from triggers.dead_letters where id = $1`,
    [id],
  );
const lettersInAll = () =>
  value<number>(owner, 'select count(*)::int from triggers.dead_letters where project_id = $1', [place]);

describe('who handles dead letters', () => {
  test('is told of those that its filters mean', async () => {
    const trigger = randomUUID();
    const other = await saveScript(ada, place);
    const all = await handler(ada, place);
    const ofSource = await handler(ada, place, { source_filter: 'cron' });
    const ofTrigger = await handler(ada, place, { trigger_id_filter: trigger });
    const ofScript = await handler(ada, place, { script_id_filter: other });
    const ofBoth = await handler(ada, place, { source_filter: 'cron', script_id_filter: other });
    const told: Record<string, string[]> = { all: [], ofSource: [], ofTrigger: [], ofScript: [], ofBoth: [] };
    const expected = structuredClone(told);
    const letters = [
      { what: { trigger_id: trigger }, to: ['ofTrigger'] },
      { what: { source_kind: 'cron' }, to: ['ofSource'] },
      { what: { script_id: other }, to: ['ofScript'] },
      {
        what: { source_kind: 'cron', script_id: other, trigger_id: trigger },
        to: ['ofSource', 'ofTrigger', 'ofScript', 'ofBoth'],
      },
      { what: { source_kind: 'replay' }, to: [] },
    ];
    for (const { what, to } of letters) {
      await owner.query('delete from triggers.outbox');
      const id = await leave(ada, what);
      for (const name of [...to, 'all']) expected[name]?.push(id);
      for (const [name, one] of Object.entries({ all, ofSource, ofTrigger, ofScript, ofBoth }))
        told[name]?.push(...((await toldOf(one)) as string[]));
    }
    expect(told).toEqual(expected);
  });

  test('is told a large event by its size alone', async () => {
    const trigger = await handler(ada, place);
    const around = '{"text": ""}'.length;
    const payloads = [65_536, 65_537].map((bytes) => ({ text: 'x'.repeat(bytes - around) }));
    for (const payload of payloads) await leave(ada, { payload });
    expect((await waiting(trigger)).map(({ payload }) => payload)).toMatchObject([
      { deadLetter: { payloadBytes: 65_536, payload: payloads[0] } },
      { deadLetter: { payloadBytes: 65_537, payload: null } },
    ]);
  });

  test('is told of its own and of those in its projects, and an administrator of those that nobody owns', async () => {
    const eve = await person();
    const admin = await person(everyScope);
    const [everywhere, here] = [await handler(admin, null), await handler(ada, place)];
    const ownerless = await project(null);
    const letters = [
      await leave(eve),
      await leave(eve, { project_id: ownerless }),
      await leave(eve, { project_id: null }),
      await leave(admin),
    ];
    expect(await toldOf(here)).toEqual([letters[0], letters[3]]);
    expect(await toldOf(everywhere)).toEqual(letters.slice(1));
    // Who does not own the project any more is told of its own only, unless it is still an owner as a member.
    await owner.query('update registry.projects set owner_id = $2 where id = $1', [place, eve.id]);
    await owner.query('delete from triggers.outbox');
    await leave(eve);
    const own = await leave(ada);
    await member(place, ada, 'editor');
    await leave(eve);
    await member(place, ada, 'owner');
    const owned = await leave(eve);
    expect(await toldOf(here)).toEqual([own, owned]);
  });

  test('is told nothing without the scope triggers:admin, when disabled, or of what is resolved by then', async () => {
    const trigger = await handler(ada, place);
    await owner.query(`update auth.principals set scopes = '{registry:read,chat}' where id = $1`, [ada.id]);
    await leave(ada);
    await owner.query('update auth.principals set scopes = $2 where id = $1', [ada.id, ada.scopes]);
    const id = await bury(ada, script, { project_id: place });
    await owner.query(`update triggers.dead_letters set resolved_at = now(), resolution = 'ignored' where id = $1`, [
      id,
    ]);
    await match();
    expect(await toldOf(trigger)).toEqual([]);
    const eve = await person();
    const theirs = await handler(eve, await project(eve));
    await disable(eve);
    const told = await leave(ada);
    expect(await toldOf(trigger)).toEqual([told]);
    expect(await toldOf(theirs)).toEqual([]);
  });

  test('may no more than its token: without admin it is told nothing of a project that nobody owns', async () => {
    const admin = await person(everyScope);
    const ownerless = await project(null);
    const trigger = await handler(admin, ownerless);
    await owner.query(`update triggers.triggers set scopes = '{triggers:admin,registry:read}' where id = $1`, [
      trigger,
    ]);
    await leave(ada, { project_id: ownerless });
    expect(await toldOf(trigger)).toEqual([]);
  });
});

describe('a dead letter', () => {
  test('is resolved by a handler that succeeds', async () => {
    const trigger = await handler(ada, place);
    const id = await leave(ada);
    const row = await claimOne();
    expect(row).toMatchObject({ source_kind: 'dead_letter', depth: 1 });
    await finish([row]);
    expect(await letter(id)).toEqual({ resolution: 'handled_by_script', resolved: true });
    expect(await waiting(trigger)).toEqual([]);
  });

  test('whose handler fails for good stays unresolved and says so; there is no further letter', async () => {
    await handler(ada, place, {}, { retry_max_attempts: 2 });
    const id = await leave(ada);
    expect(await finish([await claimOne()], failed)).toEqual({ finished: 1, put_off: 1, buried: 0 });
    expect(await letter(id)).toEqual({ resolution: null, resolved: false });
    await makeDue();
    expect(await finish([await claimOne()], failed)).toEqual({ finished: 1, put_off: 0, buried: 0 });
    expect(await letter(id)).toEqual({ resolution: 'handler_failed', resolved: false });
    await match();
    expect([await claim(), await lettersInAll()]).toEqual([[], 1]);
  });

  test('whose handler is lost again and again is one whose handler failed', async () => {
    await handler(ada, place);
    const id = await leave(ada);
    for (let n = 0; n < 10; n += 1) {
      await claimOne();
      await endLeases();
      await owner.query('select triggers.reclaim(10)');
    }
    expect(await letter(id)).toEqual({ resolution: 'handler_failed', resolved: false });
    expect([await claim(), await lettersInAll()]).toEqual([[], 1]);
  });

  test.each([
    ['then the other succeeds', [failed, {}]],
    ['after the other succeeded', [{}, failed]],
  ])('of which one handler fails, %s, is resolved', async (_, endings) => {
    await handler(ada, place, {}, { retry_max_attempts: 1 });
    await handler(ada, place, {}, { retry_max_attempts: 1 });
    const id = await leave(ada);
    const claimed = await claim();
    expect(claimed).toHaveLength(2);
    for (const [n, ending] of endings.entries()) await finish(claimed.slice(n, n + 1), ending);
    expect(await letter(id)).toEqual({ resolution: 'handled_by_script', resolved: true });
  });

  test('is waited for by nobody who waits for another: handlers of the same letters end at the same moment', async () => {
    const workers = await Promise.all(Array.from({ length: 4 }, () => connect()));
    const triggers: string[] = [];
    for (const _ of workers) triggers.push(await handler(ada, place, {}, { retry_max_attempts: 1 }));
    const letters = await Promise.all(Array.from({ length: 50 }, () => bury(ada, script, { project_id: place })));
    await match();
    await owner.query(`update triggers.outbox set due_at = 'infinity'`);
    const claimed: Claimed[][] = [];
    for (const [n, client] of workers.entries()) {
      await owner.query('update triggers.outbox set due_at = now() where trigger_id = $1', [triggers[n]]);
      claimed.push(await claim(client, { worker: `w${n}` }));
    }
    await meetAt(letters.toSorted().at(-1) ?? '', workers, (client, n) => {
      const endings = claimed[n]?.toSorted(() => Math.random() - 0.5) ?? [];
      return finish(endings, n % 2 === 0 ? {} : failed, { client, worker: `w${n}` });
    });
    const handled = `select count(*)::int from triggers.dead_letters where id = any ($1) and resolution = 'handled_by_script'`;
    expect(await value(owner, handled, [letters])).toBe(letters.length);
  });

  test('that somebody resolved meanwhile stays as it was resolved, however its handlers end', async () => {
    for (const ending of [{}, { ...failed, permanent: true }]) {
      await handler(ada, place);
      const id = await leave(ada);
      const claimed = await claim();
      await owner.query(`update triggers.dead_letters set resolved_at = now(), resolution = 'ignored' where id = $1`, [
        id,
      ]);
      await finish(claimed, ending);
      expect(await letter(id)).toEqual({ resolution: 'ignored', resolved: true });
    }
  });
});
