import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { beforeEach, describe, expect, test } from 'vitest';
import { rows, value } from '../../support/sql.ts';
import { lettersOf } from './matching.ts';
import { bury, claim, claimOne, failed, finish, type LetterColumns, meetAt } from './running.ts';
import {
  ask,
  asking,
  connect,
  everyScope,
  member,
  owner,
  type Person,
  person,
  project,
  saveScript,
  webhook,
} from './setting.ts';

let ada: Person;
let place: string;
let script: string;
beforeEach(async () => {
  await owner.query('delete from triggers.outbox');
  await owner.query('delete from triggers.dead_letters');
  ada = await person();
  place = await project(ada);
  script = await saveScript(ada, place);
});

interface Resolved {
  resolved_ids: string[];
  has_more: boolean;
  refused: { id: string; code: string; message: string }[];
}
type Resolution = 'replayed' | 'ignored';

async function resolve(
  client: pg.PoolClient | pg.Client,
  ids: string[] | null,
  filter: unknown,
  limit: number,
  resolution: Resolution,
) {
  const [answer] = await rows<Resolved>(client, 'select * from triggers.resolve_dead_letters($1, $2, $3, $4)', [
    ids,
    filter,
    limit,
    resolution,
  ]);
  if (answer === undefined) throw new Error('expected an answer');
  return answer;
}
const byIds = (who: Person, ids: string[], resolution: Resolution = 'replayed') =>
  asking(who, (client) => resolve(client, ids, null, 1_000, resolution));
const byFilter = (
  who: Person,
  filter: Record<string, unknown> = {},
  resolution: Resolution = 'replayed',
  limit = 1_000,
) => asking(who, (client) => resolve(client, null, filter, limit, resolution));

const leave = (columns: LetterColumns = {}, who = ada, scriptId = script) =>
  bury(who, scriptId, { project_id: place, ...columns });
const resolutionOf = async (id: string) =>
  (
    await rows<{ resolution: string | null; at: Date | null }>(
      owner,
      'select resolution, resolved_at as at from triggers.dead_letters where id = $1',
      [id],
    )
  )[0];
const replays = (letter: string) =>
  value<number>(
    owner,
    `select count(*)::int from triggers.outbox o join triggers.dead_letters d on d.message_id = o.message_id where d.id = $1 and o.source_kind = 'replay'`,
    [letter],
  );

describe('a dead letter', () => {
  test('that is replayed runs again as whoever it was, under the same message id, with all its tries', async () => {
    const trigger = randomUUID();
    const hook = await saveScript(ada, place, webhook);
    const letter = await leave({ trigger_id: trigger, payload: { n: 1 }, depth: 9 }, ada, hook);
    const coOwner = await person();
    await member(place, coOwner, 'owner');
    expect(await byIds(coOwner, [letter])).toEqual({ resolved_ids: [letter], has_more: false, refused: [] });
    expect(await resolutionOf(letter)).toEqual({ resolution: 'replayed', at: expect.any(Date) });
    const [replay] = await claim();
    expect(replay).toMatchObject({
      source_kind: 'replay',
      kind: 'webhook',
      payload: { n: 1 },
      principal_id: ada.id,
      attempt: 1,
      depth: 9,
    });
    const messageId = await value(owner, 'select message_id from triggers.dead_letters where id = $1', [letter]);
    expect(replay?.message_id).toBe(messageId);
    // What fails again for good is a letter of its own.
    await finish([replay as NonNullable<typeof replay>], { ...failed, permanent: true });
    expect((await lettersOf(trigger)).map(({ source_kind, resolution }) => [source_kind, resolution])).toEqual([
      ['kv', 'replayed'],
      ['replay', null],
    ]);
  });

  test('that a script replays goes as deep as the script, so that this comes to an end', async () => {
    const letter = await leave({ depth: 2 });
    await asking(ada, async (client) => {
      await client.query(`select set_config('feed.depth', '5', true)`);
      await resolve(client, [letter], null, 10, 'replayed');
    });
    expect((await claimOne()).depth).toBe(5);
  });

  test('that is ignored is not run', async () => {
    const letter = await leave();
    expect(await byIds(ada, [letter], 'ignored')).toMatchObject({ resolved_ids: [letter], refused: [] });
    expect([(await resolutionOf(letter))?.resolution, await claim()]).toEqual(['ignored', []]);
  });

  test('whose handler failed may still be replayed or ignored', async () => {
    const letters = [await leave(), await leave()];
    await owner.query(`update triggers.dead_letters set resolution = 'handler_failed'`);
    await byIds(ada, letters.slice(0, 1));
    await byIds(ada, letters.slice(1), 'ignored');
    expect(await Promise.all(letters.map(resolutionOf))).toMatchObject([
      { resolution: 'replayed' },
      { resolution: 'ignored' },
    ]);
  });

  test('that was resolved, whose script is gone, or that one may not see, is refused by itself', async () => {
    const [resolved, good, foreign] = [await leave(), await leave(), await bury(await person(), script)];
    await byIds(ada, [resolved], 'ignored');
    const gone = await saveScript(ada, place);
    const lost = await leave({}, ada, gone);
    await ask(ada, 'triggers.delete_script($1)', [gone]);
    const absent = randomUUID();
    const answer = await byIds(ada, [resolved, good, foreign, lost, absent, good]);
    expect(answer.resolved_ids).toEqual([good]);
    const refused = new Map(answer.refused.map((one) => [one.id, one]));
    expect(refused.size).toBe(4);
    expect(refused.get(resolved)).toMatchObject({
      code: 'NOT_REPLAYABLE',
      message: expect.stringMatching(/resolved at .*Z: ignored/),
    });
    expect(refused.get(lost)).toMatchObject({ code: 'NOT_REPLAYABLE', message: expect.stringContaining('deleted') });
    expect(refused.get(absent)?.code).toBe('NOT_FOUND');
    expect(refused.get(foreign)?.message.replace(foreign, absent)).toBe(refused.get(absent)?.message);
    expect(await replays(good)).toBe(1);
    // What cannot be run can be set aside.
    expect(await byIds(ada, [lost], 'ignored')).toMatchObject({ resolved_ids: [lost], refused: [] });
  });
});

describe('by a filter', () => {
  test('those are meant that are unresolved and one may see, the oldest first, so many at once', async () => {
    const letters: string[] = [];
    for (let n = 0; n < 5; n += 1) letters.push(await leave());
    await bury(await person(), script, { project_id: await project(null) });
    await byIds(ada, letters.slice(1, 2), 'ignored');
    const rest = letters.filter((_, n) => n !== 1);
    const first = await byFilter(ada, {}, 'replayed', 3);
    expect(first).toEqual({ resolved_ids: expect.any(Array), has_more: true, refused: [] });
    expect(first.resolved_ids.sort()).toEqual(rest.slice(0, 3).sort());
    expect(await byFilter(ada, {}, 'replayed', 3)).toEqual({
      resolved_ids: rest.slice(3),
      has_more: false,
      refused: [],
    });
    expect(await byFilter(ada)).toEqual({ resolved_ids: [], has_more: false, refused: [] });
    // They run in the order in which they were left.
    const order = await rows<{ id: string }>(
      owner,
      `select d.id from triggers.outbox o join triggers.dead_letters d on d.message_id = o.message_id order by o.created_at, o.due_at`,
    );
    expect(order.map(({ id }) => id)).toEqual(rest);
  });

  test('all that it names must be so', async () => {
    const admin = await person(everyScope);
    const [trigger, other] = [randomUUID(), await saveScript(ada, place)];
    const elsewhere = await project(ada);
    const letters = {
      plain: await leave(),
      cron: await leave({ source_kind: 'cron' }),
      ofTrigger: await leave({ trigger_id: trigger }),
      ofScript: await leave({}, ada, other),
      elsewhere: await leave({ project_id: elsewhere }),
    };
    await owner.query(`update triggers.dead_letters set created_at = now() - interval '2 days' where id = $1`, [
      letters.plain,
    ]);
    const names = Object.keys(letters) as (keyof typeof letters)[];
    /** Which of them a filter means: set aside, and taken back. */
    async function meant(filter: Record<string, unknown>, who = ada): Promise<string[]> {
      const { resolved_ids } = await byFilter(who, filter, 'ignored');
      await owner.query('update triggers.dead_letters set resolved_at = null, resolution = null');
      return names.filter((name) => resolved_ids.includes(letters[name]));
    }
    expect(await meant({})).toEqual(names);
    expect(await meant({ source: ['cron', 'replay'] })).toEqual(['cron']);
    expect(await meant({ source: [] })).toEqual([]);
    expect(await meant({ trigger_id: trigger })).toEqual(['ofTrigger']);
    expect(await meant({ script_id: other })).toEqual(['ofScript']);
    expect(await meant({ project_id: elsewhere })).toEqual(['elsewhere']);
    expect(await meant({ since: new Date(Date.now() - 86_400_000).toISOString() })).toEqual(names.slice(1));
    expect(await meant({ source: ['kv'], script_id: other, project_id: place })).toEqual(['ofScript']);
    expect(await meant({ source: ['cron'], script_id: other })).toEqual([]);
    expect(await meant({}, admin)).toEqual([]);
  });

  test('those without a script are in the way of no others', async () => {
    const gone = await saveScript(ada, place);
    for (let n = 0; n < 3; n += 1) await leave({}, ada, gone);
    const letter = await leave();
    await ask(ada, 'triggers.delete_script($1)', [gone]);
    expect((await byFilter(ada, {}, 'replayed', 2)).resolved_ids).toEqual([letter]);
    expect((await byFilter(ada, {}, 'ignored', 5)).resolved_ids).toHaveLength(3);
  });
});

describe('by several at once', () => {
  test('a letter is replayed once', async () => {
    const clients = await Promise.all(Array.from({ length: 4 }, () => connect()));
    for (let n = 0; n < 20; n += 1) {
      const letter = await leave();
      const answers = await Promise.all(
        clients.map((client, c) =>
          resolve(client, c % 2 === 0 ? [letter] : null, {}, 10, c === 3 ? 'ignored' : 'replayed'),
        ),
      );
      const resolved = answers.flatMap(({ resolved_ids }) => resolved_ids);
      expect(resolved).toEqual([letter]);
      const { resolution } = (await resolutionOf(letter)) ?? {};
      expect(await replays(letter)).toBe(resolution === 'replayed' ? 1 : 0);
    }
  });

  test('many letters are resolved once each, whether they are named or found', async () => {
    const letters = await Promise.all(Array.from({ length: 60 }, () => leave()));
    const clients = await Promise.all(Array.from({ length: 4 }, () => connect()));
    const shuffled = letters.toSorted(() => Math.random() - 0.5);
    const answers = await meetAt(letters.toSorted().at(-1) ?? '', clients, (client, n) =>
      n % 2 === 0 ? resolve(client, shuffled, null, 1_000, 'replayed') : resolve(client, null, {}, 1_000, 'replayed'),
    );
    expect(answers.flatMap(({ resolved_ids }) => resolved_ids).sort()).toEqual(letters.toSorted());
    expect(await value(owner, `select count(*)::int from triggers.outbox where source_kind = 'replay'`)).toBe(60);
  });

  test('while its handler ends it is resolved once', async () => {
    const client = await connect();
    for (let n = 0; n < 20; n += 1) {
      const letter = await leave();
      await owner.query(
        `insert into triggers.outbox (source_kind, script_id, principal_id, scopes, payload, dead_letter_id, lane, retry_max_attempts, retry_backoff, retry_base_ms)
         values ('dead_letter', $1, $2, '{}', '{}', $3, 'operation', 1, 'constant', 1)`,
        [script, ada.id, letter],
      );
      const handling = await claim();
      const [answer] = await Promise.all([resolve(client, [letter], null, 10, 'replayed'), finish(handling)]);
      const { resolution } = (await resolutionOf(letter)) ?? {};
      expect(resolution).toBe(answer.resolved_ids.length === 1 ? 'replayed' : 'handled_by_script');
      expect(await replays(letter)).toBe(answer.resolved_ids.length);
      await owner.query('delete from triggers.outbox');
    }
  });
});
