import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { size } from '../../support/size.ts';
import { refusalOf, rows } from '../../support/sql.ts';
import { as } from '../transaction.ts';
import { change, listRecords, makeSpace, makeUsers, push, readAll, type Told } from './asking.ts';
import { database } from './setting.ts';

/** Deterministic, so that a failure can be looked at. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const users = size(100);
const spaces = size(30);

test('under load, with one user id in ten wrong, nobody ever finds a foreign row', async () => {
  const ids = await makeUsers(database, users);
  const members = new Map<string, Set<string>>();
  const random = randomNumbers(7);
  for (let n = 0; n < spaces; n += 1) {
    const inside = new Set(Array.from({ length: 3 }, () => ids[random(users)] ?? ''));
    members.set(`space-${n}`, inside);
    await makeSpace(
      database,
      `space-${n}`,
      [...inside].map((user) => [user, 'owner'] as const),
    );
  }
  const may = (user: string, row: { user_id: string | null; space_id: string | null }) =>
    row.user_id === user || (row.space_id !== null && members.get(row.space_id)?.has(user) === true);
  const isId = (user: string) => /^[0-9a-f-]{36}$/.test(user);
  const wrong = () => [randomUUID(), '', `${ids[random(users)]}0`, `space-${random(spaces)}`, ids[random(users)] ?? ''];
  let seen = 0;
  let refused = 0;

  /** Somebody writes or reads, sometimes under an id that is another's or nobody's. */
  async function once(n: number): Promise<void> {
    const user = (random(10) === 0 ? wrong()[random(5)] : ids[random(users)]) ?? '';
    const writes = random(2) === 0;
    const spaceId = random(2) === 0 ? null : `space-${random(spaces)}`;
    const action = as(database.runtime, user, async (client) => {
      if (writes) await push(client, [change(`${n}`, { record_id: `r${random(20)}`, space_id: spaceId })]);
      const { changes } = await readAll(client, undefined, { limit: 1_000 });
      const records = await listRecords(client);
      const log = await rows<Told>(client, 'select user_id, space_id from sync.sync_changes');
      const merged = await rows<Told>(client, 'select user_id, space_id from sync.records');
      const found = [...changes, ...log, ...merged];
      expect(found.filter((row) => !may(user, row))).toEqual([]);
      expect(records.filter(({ place }) => place !== '' && members.get(place)?.has(user) !== true)).toEqual([]);
      seen += found.length;
    });
    if (isId(user) && (!writes || spaceId === null || members.get(spaceId)?.has(user) === true)) return action;
    refused += 1;
    expect((await refusalOf(action)).code).toBe(isId(user) ? 'NOT_FOUND' : 'FORBIDDEN');
  }

  const total = size(20_000);
  let next = 0;
  await Promise.all(
    Array.from({ length: 6 }, async () => {
      while (next < total) {
        next += 1;
        await once(next);
      }
    }),
  );
  expect(seen).toBeGreaterThan(total);
  expect(refused).toBeGreaterThan(total / 20);
}, 900_000);
