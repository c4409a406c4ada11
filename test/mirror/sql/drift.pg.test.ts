import { beforeEach, describe, expect, test } from 'vitest';
import { refusalOf } from '../../support/sql.ts';
import {
  driftOf,
  eventsSince,
  findRow,
  linksOf,
  makeProject,
  makeRow,
  positionNow,
  projectById,
  projectOf,
  rowById,
} from '../setting.ts';
import { clear, reconcile, sayings } from './reconciling.ts';
import { editHere, editThere, expectMirrored, newId, newPair, type Pair, sides, unmirrored } from './setting.ts';

/** Edits a pair on one side while nobody mirrors it. */
interface Kind {
  field: string;
  here: string;
  there: string;
  ours: unknown;
  theirs: unknown;
}
const kinds: Kind[] = [
  { field: 'name', here: `name = 'Ours'`, there: `name = 'Theirs'`, ours: 'Ours', theirs: 'Theirs' },
  { field: 'description', here: 'description = null', there: `goal = 'theirs'`, ours: null, theirs: 'theirs' },
  {
    field: 'remote_origin',
    here: `remote_origin = null, metadata = metadata || '{"repo": "ours"}'`,
    there: `repo = 'https://me:secret@example.com/theirs'`,
    ours: 'ours',
    theirs: 'https://example.com/theirs',
  },
  { field: 'trunk_path', here: `trunk_path = '/ours'`, there: `path = ''`, ours: '/ours', theirs: '' },
  {
    field: 'memory_group',
    here: `metadata = metadata || '{"memory_group": "ours"}'`,
    there: `memory_group = 'theirs'`,
    ours: 'ours',
    theirs: 'theirs',
  },
  { field: 'status', here: `status = 'done'`, there: `status = 'sleeping'`, ours: 'done', theirs: 'sleeping' },
  {
    field: 'metadata',
    here: `metadata = metadata || '{"size": 2}'`,
    there: `metadata = '{"size": 3}'`,
    ours: { size: 2 },
    theirs: { size: 3 },
  },
];

// Each test has the sides for itself.
beforeEach(clear);

describe.for(kinds)('a difference in $field', ({ field, here, there, ours, theirs }) => {
  async function differing(): Promise<Pair> {
    const pair = await newPair();
    await unmirrored(async () => {
      await editHere(pair, here);
      await editThere(pair, there);
    });
    return pair;
  }

  test('is drift, with what each side says', async () => {
    const { projectId, maiId } = await differing();
    await newPair();
    expect(await driftOf(sides)).toEqual([{ project_id: projectId, mai_id: maiId, field, ours, theirs }]);
  });

  test.for(['to_mai', 'from_mai'] as const)('is healed %s, and only it', async (direction) => {
    const pair = await differing();
    const project = await projectById(sides, pair.projectId);
    const row = await rowById(sides, pair.maiId);
    const position = await positionNow(sides);
    expect(await reconcile(direction)).toMatchObject({ examined_count: 1, changed_count: 1, refused: [] });
    expect(await eventsSince(sides, position)).toEqual([
      { op: 'update', entity_id: pair.projectId, changed: [field], direction, mai_id: pair.maiId },
    ]);
    if (direction === 'to_mai') expect(await projectById(sides, pair.projectId)).toEqual(project);
    else expect(await rowById(sides, pair.maiId)).toEqual(row);
    await expectMirrored(pair);
  });
});

test('what looks like a password is shown of neither side', async () => {
  const pair = await newPair({ remote_origin: null });
  await unmirrored(async () => {
    await editThere(pair, `repo = 'ftp://me:secret@example.com/there'`);
    await editHere(pair, `metadata = metadata || '{"repo": "ftp://me:secret@example.com/here"}'`);
  });
  expect(await driftOf(sides)).toMatchObject([
    { field: 'remote_origin', ours: 'ftp://example.com/here', theirs: 'ftp://example.com/there' },
  ]);
});

describe('one side that is missing altogether', () => {
  test('a project without a row: it is made to mai; from mai the project goes, if it ever had one', async () => {
    const had = await newPair();
    const never = newId();
    const neverId = await unmirroredProject(never);
    await unmirrored(() => sides.theirs.query('delete from mai.projects where id = $1', [had.maiId]));
    expect(await driftOf(sides)).toMatchObject([
      { project_id: had.projectId, mai_id: had.maiId, field: 'row', ours: had.maiId, theirs: null },
      { project_id: neverId, mai_id: null, field: 'row', ours: never, theirs: null },
    ]);

    // Over there is nothing at all: more likely lost than meant.
    const refused = await refusalOf(reconcile('from_mai'));
    expect(refused).toMatchObject({ code: 'CONFLICT', message: expect.stringContaining('mai.projects is empty') });
    const kept = await newPair();
    expect(await reconcile('from_mai')).toMatchObject({ changed_count: 1, refused: [] });
    await expectMirrored(kept);
    expect((await projectById(sides, had.projectId)).active).toBe(false);
    expect((await projectById(sides, neverId)).active).toBe(true);
    expect(await reconcile('to_mai')).toMatchObject({ changed_count: 1, refused: [] });
    await expectMirrored({ projectId: neverId, maiId: never });
    expect(await driftOf(sides)).toEqual([]);
  });

  test('a row without a project: it is made from mai, and to mai does not touch it', async () => {
    const maiId = newId();
    await unmirrored(() => makeRow(sides, { id: maiId, goal: 'alone' }));
    expect(await driftOf(sides)).toEqual([
      { project_id: null, mai_id: maiId, field: 'project', ours: null, theirs: maiId },
    ]);
    expect(await reconcile('to_mai')).toMatchObject({ examined_count: 0, changed_count: 0 });
    expect(await findRow(sides, maiId)).toBeDefined();
    expect(await reconcile('from_mai')).toMatchObject({ examined_count: 1, changed_count: 1 });
    expect(await projectOf(sides, maiId)).toMatchObject({ description: 'alone', unclassified: true });
    expect(await driftOf(sides)).toEqual([]);
  });

  test.for(['to_mai', 'from_mai'] as const)(
    'a row whose project was deactivated: %s decides which of them holds',
    async (direction) => {
      const pair = await newPair();
      await unmirrored(() => editHere(pair, 'deleted_at = now()'));
      expect(await driftOf(sides)).toMatchObject([
        { project_id: pair.projectId, mai_id: pair.maiId, field: 'project', ours: null },
      ]);
      expect(await reconcile(direction)).toMatchObject({ changed_count: 1, refused: [] });
      expect((await projectById(sides, pair.projectId)).active).toBe(direction === 'from_mai');
      expect((await findRow(sides, pair.maiId)) !== undefined).toBe(direction === 'from_mai');
      expect(await driftOf(sides)).toEqual([]);
    },
  );

  test('a row whose project mai manages no longer, or that was deleted for good', async () => {
    const [dropped, deleted] = [await newPair(), await newPair()];
    await unmirrored(async () => {
      await editHere(dropped, `managed_by = '{}'`);
      await sides.ours.query('delete from registry.projects where id = $1', [deleted.projectId]);
    });
    expect(sayings(await driftOf(sides))).toEqual([`${dropped.maiId} project`, `${deleted.maiId} project`]);
    await reconcile('from_mai');
    expect((await projectOf(sides, dropped.maiId)).id).not.toBe(dropped.projectId);
    expect(await projectById(sides, dropped.projectId)).toMatchObject({ managed_by: [], active: true });
    expect((await projectOf(sides, deleted.maiId)).slug).toBe(deleted.maiId);
    expect(await driftOf(sides)).toEqual([]);
  });

  test.for(['to_mai', 'from_mai'] as const)('a link: it is made again %s', async (direction) => {
    const pair = await newPair();
    await sides.ours.query('alter table registry.project_links disable trigger user');
    await sides.ours.query('delete from registry.project_links where project_id = $1', [pair.projectId]);
    await sides.ours.query('alter table registry.project_links enable trigger user');
    expect(await driftOf(sides)).toMatchObject([{ project_id: pair.projectId, mai_id: pair.maiId, field: 'link' }]);
    expect(await reconcile(direction)).toMatchObject({ changed_count: 1, refused: [] });
    expect(await linksOf(sides, pair.projectId)).toEqual([pair.maiId]);
    expect(await driftOf(sides)).toEqual([]);
  });

  test.for(['to_mai', 'from_mai'] as const)('both were there before the mirror: %s joins them', async (direction) => {
    const maiId = newId();
    const projectId = await unmirroredProject(maiId, { name: 'Ours', description: 'ours' });
    await unmirrored(() => makeRow(sides, { id: maiId, name: 'Theirs', path: '/theirs' }));
    expect(sayings(await driftOf(sides)).toSorted()).toEqual([`${maiId} project`, 'null row'].toSorted());
    await reconcile(direction);
    expect(await projectById(sides, projectId)).toMatchObject({
      name: direction === 'to_mai' ? 'Ours' : 'Theirs',
      description: 'ours',
      trunk_path: '/theirs',
    });
    await expectMirrored({ projectId, maiId });
    expect(await driftOf(sides)).toEqual([]);
  });

  const unmirroredProject = async (slug: string, columns: { name?: string; description?: string } = {}) => {
    let id = '';
    await unmirrored(async () => {
      id = await makeProject(sides, { slug, ...columns });
    });
    return id;
  };
});
