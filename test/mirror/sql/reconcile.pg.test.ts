import { beforeEach, describe, expect, test } from 'vitest';
import { refusalOf, rows, value } from '../../support/sql.ts';
import { driftOf, eventsSince, findRow, makeProject, makeRow, positionNow, projectOf } from '../setting.ts';
import { type Batch, clear, reconcile, sayings } from './reconciling.ts';
import { editThere, expectMirrored, newId, newPair, sides, unmirrored } from './setting.ts';

/** Both sides as they are, with the versions of their rows. */
const bothSides = () =>
  rows(
    sides.ours,
    `select p::text, p.xmin::text from registry.projects p union all select r::text, r.xmin::text from mai.projects r
     union all select l::text, l.xmin::text from registry.project_links l
     union all select m::text, '' from mirror.pairs m order by 1`,
  );

// Each test has the sides for itself.
beforeEach(clear);

describe('only the projects that are named', () => {
  test('are compared and healed', async () => {
    const pairs = [await newPair(), await newPair(), await newPair()];
    const ids = pairs.map(({ projectId }) => projectId);
    const [first = '', second = ''] = ids;
    await unmirrored(async () => {
      for (const pair of pairs) await editThere(pair, `goal = 'drifted'`);
    });
    expect((await driftOf(sides, [first, second])).map(({ project_id }) => project_id).toSorted()).toEqual(
      [first, second].toSorted(),
    );
    expect(await driftOf(sides, [])).toEqual([]);
    expect(await reconcile('to_mai', { projectIds: [first] })).toMatchObject({ examined_count: 1, changed_count: 1 });
    expect(await driftOf(sides, [first])).toEqual([]);
    expect(await reconcile('from_mai', { projectIds: [second] })).toMatchObject({
      examined_count: 1,
      changed_count: 1,
    });
    expect((await driftOf(sides)).map(({ project_id }) => project_id)).toEqual(ids.slice(2));
  });

  test('so far as they are mirrored: what is not is no difference and is left alone', async () => {
    const unmanaged = await makeProject(sides, { slug: newId(), managed_by: ['someone'] });
    const before = await bothSides();
    expect(await driftOf(sides, [unmanaged])).toEqual([]);
    await reconcile('to_mai', { projectIds: [unmanaged] });
    await reconcile('from_mai', { projectIds: [unmanaged] });
    expect(await bothSides()).toEqual(before);
  });
});

describe('sides that were filled before the mirror was there', () => {
  const snapshot = async () => ({
    projects: await rows(
      sides.ours,
      `select p.slug, p.name, p.description, p.status, p.remote_origin, p.trunk_path, p.managed_by, p.unclassified,
         p.metadata, m.mai_id, m.joining, l.ref_id
       from registry.projects p
       left join mirror.pairs m on m.project_id = p.id
       left join registry.project_links l on l.project_id = p.id
       order by p.slug`,
    ),
    rows: await rows(
      sides.ours,
      'select id, name, goal, repo, path, memory_group, status, metadata from mai.projects order by id',
    ),
    drift: sayings(await driftOf(sides)),
  });
  const mirrorEvents = async (action: () => Promise<unknown>) => {
    const position = await positionNow(sides);
    await action();
    return (await eventsSince(sides, position)).map(({ op, mai_id }) => `${op} ${mai_id}`).toSorted();
  };
  const longName = 'n'.repeat(201);

  test('come over from mai as if each row were inserted now', async () => {
    const shared = 'https://example.com/shared';
    const fill = async () => {
      for (const [id, columns] of Object.entries({
        '01-plain': { goal: 'g', repo: 'https://me:secret@example.com/plain', path: '/p', memory_group: 'm' },
        '02-first': { repo: shared, status: 'sleeping' },
        '03-second': { repo: `${shared}.git`, status: 'paused' },
        '04-words': { repo: 'see the wiki', metadata: { repo: 'own', a: { b: 1 } } },
        '05-blank': { name: '  ', repo: '  ' },
        '06-long': { name: longName },
        '07 Odd Id': {},
        '08-taken': { repo: 'https://example.com/taken' },
        '09-list': { metadata: '["repo"]' as unknown as Record<string, unknown> },
        ' ': {},
      }))
        await makeRow(sides, { id, ...columns });
    };
    const others = () =>
      makeProject(sides, { slug: '08-taken', managed_by: [], remote_origin: 'https://example.com/taken' });

    await others();
    const one = await mirrorEvents(fill);
    const expected = await snapshot();
    expect(expected.projects).toHaveLength(10);
    await clear();

    await others();
    await unmirrored(fill);
    expect(await mirrorEvents(() => reconcile('from_mai'))).toEqual(one);
    expect(await snapshot()).toEqual(expected);
  });

  test('come over to mai as if each project were inserted now', async () => {
    const fill = async () => {
      for (const [slug, columns] of Object.entries({
        a: { description: 'd', remote_origin: 'https://example.com/a', trunk_path: '/a', status: 'done' },
        b: { metadata: { memory_group: 'm', repo: 'see the wiki', size: 1 }, status: 'draft' },
        c: { managed_by: ['someone', 'mai'], unclassified: true },
        d: { managed_by: ['someone'] },
        e: { name: 'adopts' },
        f: { name: 'has a suffix' },
      }))
        await makeProject(sides, { slug, ...columns });
      await sides.ours.query(
        `insert into registry.projects (slug, name, managed_by, deleted_at) values ('g', 'gone', '{mai}', now())`,
      );
    };
    const others = async () => {
      await unmirrored(() => makeRow(sides, { id: 'e', name: 'adopted', goal: 'their goal', metadata: { size: 2 } }));
      await makeProject(sides, { slug: 'f' });
      await sides.ours.query(`update registry.projects set slug = 'was-f' where slug = 'f'`);
    };

    await others();
    const one = await mirrorEvents(fill);
    const expected = await snapshot();
    expect(expected.rows.map((row) => (row as { id: string }).id)).toEqual(['a', 'b', 'c', 'e', 'f', 'f-2']);
    await clear();

    await others();
    await unmirrored(fill);
    expect(await mirrorEvents(() => reconcile('to_mai'))).toEqual(one);
    expect(await snapshot()).toEqual(expected);
  });
});

describe('reconciling', () => {
  test.for(['to_mai', 'from_mai'] as const)(
    'sides that are equal changes nothing and tells nothing (%s)',
    async (direction) => {
      for (const status of ['done', 'draft', 'published']) await newPair({ status });
      await editThere(await newPair({ remote_origin: null }), `status = 'sleeping', repo = 'no remote'`);
      await editThere(await newPair(), `status = 'paused', metadata = '{"path": "own"}'`);
      await sides.theirs.query('delete from mai.projects where id = $1', [(await newPair()).maiId]);
      await makeRow(sides, { id: newId(), repo: 'https://me:secret@example.com/equal' });
      const before = await bothSides();
      const position = await positionNow(sides);
      expect(await reconcile(direction)).toMatchObject({ changed_count: 0, refused: [], has_more: false });
      expect(await bothSides()).toEqual(before);
      expect(await positionNow(sides)).toBe(position);
    },
  );

  test('of nothing at all is done at once', async () => {
    for (const direction of ['to_mai', 'from_mai'] as const)
      expect(await reconcile(direction)).toEqual({
        examined_count: 0,
        changed_count: 0,
        last_key: null,
        has_more: false,
        refused: [],
      });
  });

  test.for(['to_mai', 'from_mai'] as const)('goes on where a batch ended, and ends (%s)', async (direction) => {
    const pairs = await Promise.all(Array.from({ length: 7 }, () => newPair()));
    await unmirrored(() =>
      direction === 'to_mai'
        ? sides.theirs.query(`update mai.projects set goal = 'drifted'`)
        : sides.ours.query(`update registry.projects set description = 'drifted'`),
    );
    const batches: Batch[] = [];
    do {
      batches.push(await reconcile(direction, { after: batches.at(-1)?.last_key ?? null, limit: 3 }));
    } while (batches.at(-1)?.has_more);
    expect(batches.map(({ examined_count, changed_count }) => [examined_count, changed_count])).toEqual([
      [3, 3],
      [3, 3],
      [1, 1],
    ]);
    for (const pair of pairs) await expectMirrored(pair);
  });

  test('reports what is refused, and heals the rest', async () => {
    const [held, free] = [await newPair(), await newPair()];
    await sides.ours.query(`create table mai.workers (project_id text references mai.projects (id))`);
    try {
      await sides.ours.query('insert into mai.workers values ($1)', [held.maiId]);
      await unmirrored(() => sides.ours.query('update registry.projects set deleted_at = now()'));
      expect(await reconcile('to_mai')).toMatchObject({
        examined_count: 2,
        changed_count: 1,
        refused: [{ name: held.maiId, code: 'IN_USE', message: expect.stringContaining('workers') as string }],
      });
    } finally {
      await sides.ours.query('drop table mai.workers');
    }
    expect(sayings(await driftOf(sides))).toEqual([`${held.maiId} project`]);
    expect(await findRow(sides, free.maiId)).toBeUndefined();
  });

  test('reports rows whose ids can be no link, and brings the rest over', async () => {
    const maiId = newId();
    await unmirrored(async () => {
      for (const id of ['', ' ', maiId]) await makeRow(sides, { id, name: 'Named' });
    });
    const { changed_count, refused } = await reconcile('from_mai');
    expect([changed_count, refused.map(({ name }) => name)]).toEqual([1, ['', ' ']]);
    expect(await projectOf(sides, maiId)).toMatchObject({ name: 'Named' });
  });

  test('knows two directions, and batches of one or more', async () => {
    expect((await refusalOf(sides.ours.query(`select mirror.reconcile('sideways')`))).code).toBe('INVALID');
    expect((await refusalOf(sides.ours.query(`select mirror.reconcile('to_mai', null, 0)`))).code).toBe('INVALID');
  });

  test('is of request work too, and comparing as well, but not of the older system', async () => {
    await newPair();
    expect(await value(sides.database.runtime, `select changed_count from mirror.reconcile('to_mai')`)).toBe(0);
    expect(await rows(sides.database.runtime, 'select from mirror.drift()')).toEqual([]);
    expect((await refusalOf(sides.theirs.query('select mirror.drift()'))).sqlstate).toBe('42501');
    expect((await refusalOf(sides.theirs.query('select from registry.projects'))).sqlstate).toBe('42501');
  });
});
