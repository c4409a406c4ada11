import { beforeAll, describe, expect, test } from 'vitest';
import { driftOf, projectById, rowById } from '../setting.ts';
import { editHere, editThere, expectMirrored, newPair, type Pair, sides, unmirrored } from './setting.ts';

const statuses = ['draft', 'active', 'published', 'sleeping', 'done', 'archived'];
const unknown = 'paused';

/** Ours and theirs, beside the equal ones, that are no drift. */
const alike: [string, string][] = [
  ['done', 'archived'],
  ['archived', 'sleeping'],
  ['draft', 'active'],
  ['published', 'active'],
  ['active', unknown],
];
const isAlike = (ours: string, theirs: string) =>
  ours === theirs || alike.some(([one, other]) => one === ours && other === theirs);

const combinations = statuses.flatMap((ours) => [...statuses, unknown].map((theirs) => [ours, theirs] as const));

const statusesOf = async ({ projectId, maiId }: Pair) => [
  (await projectById(sides, projectId)).status,
  (await rowById(sides, maiId)).status,
];

describe('of all combinations of a status here and one there', () => {
  const pairs = new Map<string, Pair>();
  beforeAll(async () => {
    for (const [ours, theirs] of combinations) pairs.set(`${ours} ${theirs}`, await newPair());
    await unmirrored(async () => {
      for (const [ours, theirs] of combinations) {
        const pair = pairOf(ours, theirs);
        await editHere(pair, 'status = $1', [ours]);
        await editThere(pair, 'status = $1', [theirs]);
      }
    });
  });

  function pairOf(ours: string, theirs: string): Pair {
    const pair = pairs.get(`${ours} ${theirs}`);
    if (pair === undefined) throw new Error(`no pair was made for ${ours} and ${theirs}`);
    return pair;
  }

  test('exactly those that say different things are drift', async () => {
    const drifting = (await driftOf(sides)).map(({ field, ours, theirs }) => `${field}: ${ours} ${theirs}`);
    const expected = combinations.filter(([ours, theirs]) => !isAlike(ours, theirs));
    expect(drifting.toSorted()).toEqual(expected.map(([ours, theirs]) => `status: ${ours} ${theirs}`).toSorted());
  });

  test.for(combinations)('%s and %s stay as they are when something else is edited', async ([ours, theirs]) => {
    const pair = pairOf(ours, theirs);
    await editHere(pair, `description = 'ours', name = 'Ours', status = status`);
    expect(await statusesOf(pair)).toEqual([ours, theirs]);
    await editThere(pair, `goal = 'theirs', name = 'Theirs', status = status`);
    expect(await statusesOf(pair)).toEqual([ours, theirs]);
  });
});

describe('a status that is set', () => {
  test.for([
    ['draft', 'active'],
    ['active', 'active'],
    ['published', 'active'],
    ['sleeping', 'sleeping'],
    ['done', 'archived'],
    ['archived', 'archived'],
  ] as const)('to %s here shows as %s over there, from the beginning and later', async ([ours, theirs]) => {
    const begun = await newPair({ status: ours });
    expect(await statusesOf(begun)).toEqual([ours, theirs]);
    for (const before of statuses.filter((status) => !isAlike(ours, status))) {
      const pair = await newPair({ status: before });
      await editHere(pair, 'status = $1', [ours]);
      expect(await statusesOf(pair)).toEqual([ours, theirs]);
      await expectMirrored(pair);
    }
  });

  test.for([
    ['draft', 'draft'],
    ['active', 'active'],
    ['published', 'published'],
    ['sleeping', 'archived'],
    ['done', 'done'],
    ['archived', 'archived'],
    [unknown, 'active'],
    ['', 'active'],
  ] as const)('to %j over there shows as %s here', async ([theirs, ours]) => {
    for (const before of statuses.filter((status) => !isAlike(status, theirs))) {
      const pair = await newPair();
      await editThere(pair, 'status = $1', [before]);
      await editThere(pair, 'status = $1', [theirs]);
      expect(await statusesOf(pair)).toEqual([ours, theirs]);
      await expectMirrored(pair);
    }
  });

  test('to what says the same leaves the other side its finer word', async () => {
    const done = await newPair({ status: 'done' });
    await editThere(done, `status = 'done'`);
    await editThere(done, `status = 'archived'`);
    expect(await statusesOf(done)).toEqual(['done', 'archived']);

    const sleeping = await newPair();
    await editThere(sleeping, `status = 'sleeping'`);
    await editHere(sleeping, `status = 'sleeping'`);
    await editHere(sleeping, `status = 'archived'`);
    expect(await statusesOf(sleeping)).toEqual(['archived', 'sleeping']);
  });

  test('to null over there, where that is allowed, shows as active here', async () => {
    await sides.ours.query('alter table mai.projects alter column status drop not null');
    for (const before of statuses) {
      const pair = await newPair({ status: before });
      await editThere(pair, 'status = null');
      expect(await statusesOf(pair)).toEqual(['active', null]);
      await expectMirrored(pair);
    }
    await sides.theirs.query('delete from mai.projects where status is null');
    await sides.ours.query('alter table mai.projects alter column status set not null');
  });
});

describe('a status that is unknown here', () => {
  test('is kept in metadata, stays over there and shows as active', async () => {
    const pair = await newPair({ status: 'done', metadata: { size: 1 } });
    await editThere(pair, 'status = $1', [unknown]);
    expect(await projectById(sides, pair.projectId)).toEqual(
      expect.objectContaining({
        status: 'active',
        metadata: { size: 1, mai_status: unknown },
      }),
    );
    expect(await rowById(sides, pair.maiId)).toEqual(
      expect.objectContaining({ status: unknown, metadata: { size: 1 } }),
    );
    await editHere(pair, `description = 'ours', metadata = metadata || '{"size": 2}'`);
    expect((await rowById(sides, pair.maiId)).status).toBe(unknown);
    await editThere(pair, `status = 'waiting'`);
    expect((await projectById(sides, pair.projectId)).metadata).toEqual({ size: 2, mai_status: 'waiting' });
    await expectMirrored(pair);
  });

  test('is kept from the beginning, when its row is the first', async () => {
    const pair = await newPair({ metadata: {} });
    await sides.theirs.query('delete from mai.projects where id = $1', [pair.maiId]);
    await sides.theirs.query('insert into mai.projects (id, name, status) values ($1, $1, $2)', [pair.maiId, unknown]);
    expect(await projectById(sides, pair.projectId)).toEqual(
      expect.objectContaining({
        status: 'active',
        metadata: { mai_status: unknown },
      }),
    );
    await expectMirrored(pair);
  });

  test('is no longer kept once there is a known one, set on either side', async () => {
    const theirs = await newPair({ metadata: {} });
    await editThere(theirs, 'status = $1', [unknown]);
    await editThere(theirs, `status = 'sleeping'`);
    expect(await projectById(sides, theirs.projectId)).toEqual(
      expect.objectContaining({ status: 'archived', metadata: {} }),
    );

    const ours = await newPair({ metadata: {} });
    await editThere(ours, 'status = $1', [unknown]);
    await editHere(ours, `status = 'published'`);
    expect(await projectById(sides, ours.projectId)).toEqual(
      expect.objectContaining({ status: 'published', metadata: {} }),
    );
    expect((await rowById(sides, ours.maiId)).status).toBe('active');
    await expectMirrored(theirs);
    await expectMirrored(ours);
  });
});
