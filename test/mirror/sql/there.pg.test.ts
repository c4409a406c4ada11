import { describe, expect, test } from 'vitest';
import { rows, value } from '../../support/sql.ts';
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
import { editHere, editThere, expectMirrored, newId, newPair, sides } from './setting.ts';

const deleteThere = (maiId: string) => sides.theirs.query('delete from mai.projects where id = $1', [maiId]);

describe('a row that appears over there', () => {
  test('becomes a root project here, managed by mai and unclassified', async () => {
    const maiId = newId();
    const position = await positionNow(sides);
    await makeRow(sides, {
      id: maiId,
      name: 'Theirs',
      goal: 'their goal',
      repo: `https://example.com/there/${maiId}`,
      path: '/theirs',
      memory_group: 'theirs',
      status: 'sleeping',
      metadata: { size: 1 },
    });
    const project = await projectOf(sides, maiId);
    expect(project).toEqual({
      id: project.id,
      slug: maiId,
      name: 'Theirs',
      description: 'their goal',
      remote_origin: `https://example.com/there/${maiId}`,
      trunk_path: '/theirs',
      status: 'archived',
      managed_by: ['mai'],
      unclassified: true,
      active: true,
      metadata: { size: 1, memory_group: 'theirs' },
    });
    expect(await rows(sides.ours, 'select from registry.project_parents where project_id = $1', [project.id])).toEqual(
      [],
    );
    expect(await eventsSince(sides, position)).toEqual([
      { op: 'insert', entity_id: project.id, changed: [], direction: 'from_mai', mai_id: maiId },
    ]);
    await expectMirrored({ projectId: project.id, maiId });
  });

  test('waits to be classified until it is given its parents, or none', async () => {
    const [parent, child, root] = [newId(), newId(), newId()];
    for (const maiId of [parent, child, root]) await makeRow(sides, { id: maiId });
    const idOf = async (maiId: string) => (await projectOf(sides, maiId)).id;
    await sides.ours.query('select registry.classify_project($1, array[$2]::uuid[])', [
      await idOf(child),
      await idOf(parent),
    ]);
    await sides.ours.query(`select registry.classify_project($1, '{}')`, [await idOf(root)]);
    expect((await projectOf(sides, parent)).unclassified).toBe(true);
    expect((await projectOf(sides, child)).unclassified).toBe(false);
    expect((await projectOf(sides, root)).unclassified).toBe(false);
    expect(await driftOf(sides)).toEqual([]);
  });

  test.for([
    ['letters of other alphabets', 'Ünïcode Id / 7', 'unicode-id-7'],
    ['capitals', 'UPPER', 'upper'],
    ['tabs and quotes', 'tab\tand "quotes"', 'tab-and-quotes'],
    ['nothing of a slug', '-_-', 'project'],
    ['dots', 'with.dots_and-hyphens', 'with.dots_and-hyphens'],
    ['more than fits', 'x'.repeat(1_900), 'x'.repeat(80)],
  ])('with an id of %s has a slug all the same', async ([, maiId = '', slug]) => {
    await makeRow(sides, { id: maiId, name: 'Named' });
    const project = await projectOf(sides, maiId);
    expect(project.slug).toBe(slug);
    await expectMirrored({ projectId: project.id, maiId });
  });

  test('with an id that is a taken slug has one with a suffix', async () => {
    const [taken, renamed] = [newId(), await newPair()];
    const unmanaged = await makeProject(sides, { slug: taken, managed_by: [] });
    await makeRow(sides, { id: taken });
    expect((await projectOf(sides, taken)).slug).toBe(`${taken}-2`);
    expect((await projectById(sides, unmanaged)).managed_by).toEqual([]);

    await editHere(renamed, `slug = slug || '-renamed'`);
    await makeRow(sides, { id: `${renamed.maiId}-renamed` });
    expect((await projectOf(sides, `${renamed.maiId}-renamed`)).slug).toBe(`${renamed.maiId}-renamed-2`);
    await expectMirrored(renamed);
  });

  test('with a repository that another project has, in whatever spelling, keeps it in metadata.repo', async () => {
    const pair = await newPair();
    const maiId = newId();
    const repo = `https://example.com/o/${pair.maiId}`;
    await makeRow(sides, { id: maiId, repo });
    const project = await projectOf(sides, maiId);
    expect(project).toEqual(expect.objectContaining({ remote_origin: null, metadata: { repo } }));
    expect((await rowById(sides, maiId)).repo).toBe(repo);
    await expectMirrored({ projectId: project.id, maiId });
    await expectMirrored(pair);
  });

  test.for([
    ['words', 'see the wiki'],
    ['a folder', '/srv/git/it.git'],
    ['a scheme that is none here', 'svn://example.com/it'],
    ['more than can be stored', `https://example.com/${'x'.repeat(3_000)}`],
  ])('with a repository that is %s keeps it in metadata.repo', async ([, repo = '']) => {
    const maiId = newId();
    await makeRow(sides, { id: maiId, repo });
    const project = await projectOf(sides, maiId);
    expect(project).toEqual(expect.objectContaining({ remote_origin: null, metadata: { repo } }));
    await expectMirrored({ projectId: project.id, maiId });
  });

  test('many in one statement, of which two share a repository', async () => {
    const ids = [newId(), newId(), newId()];
    await sides.theirs.query(
      `insert into mai.projects (id, name, repo) select id, id, 'https://example.com/shared/' || $2 from unnest($1::text[]) id`,
      [ids, ids[0]],
    );
    const remotes = await Promise.all(ids.map(async (maiId) => (await projectOf(sides, maiId)).remote_origin));
    expect(remotes.filter((remote) => remote !== null)).toHaveLength(1);
    expect(await driftOf(sides)).toEqual([]);
  });
});

describe('a row that goes over there', () => {
  test('deactivates the project with its worktrees, and the id is remembered', async () => {
    const pair = await newPair();
    const worktree = await value<string>(
      sides.ours,
      `select registry.register_worktree($1, 'feat', 'tree', 'feat/tree', $2)`,
      [pair.projectId, `/trees/${pair.maiId}`],
    );
    const position = await positionNow(sides);
    await deleteThere(pair.maiId);
    expect(await projectById(sides, pair.projectId)).toMatchObject({ active: false, managed_by: ['mai'] });
    expect(await value(sides.ours, 'select active from registry.worktrees where id = $1', [worktree])).toBe(false);
    expect(await linksOf(sides, pair.projectId)).toEqual([]);
    expect(await eventsSince(sides, position)).toEqual([
      { op: 'delete', entity_id: pair.projectId, changed: [], direction: 'from_mai', mai_id: pair.maiId },
    ]);
    expect(await driftOf(sides)).toEqual([]);
  });

  test('and comes back is the same project: it says what they say, and what they leave empty is as it was', async () => {
    const pair = await newPair({ status: 'done', metadata: { memory_group: 'group', size: 1, of: 'ours' } });
    await editHere(pair, `slug = slug || '-renamed'`);
    await deleteThere(pair.maiId);
    const position = await positionNow(sides);
    await makeRow(sides, { id: pair.maiId, name: 'Back', path: '/back', metadata: { size: 2 } });
    expect(await projectOf(sides, pair.maiId)).toEqual(
      expect.objectContaining({
        id: pair.projectId,
        slug: `${pair.maiId}-renamed`,
        active: true,
        name: 'Back',
        description: 'The goal.',
        trunk_path: '/back',
        status: 'active',
        metadata: { memory_group: 'group', size: 2, of: 'ours' },
      }),
    );
    expect(await rowById(sides, pair.maiId)).toEqual(
      expect.objectContaining({
        name: 'Back',
        goal: 'The goal.',
        repo: `git@example.com:o/${pair.maiId}.git`,
        memory_group: 'group',
        metadata: { size: 2, of: 'ours' },
      }),
    );
    expect((await eventsSince(sides, position))[0]).toMatchObject({ op: 'insert', direction: 'from_mai' });
    await expectMirrored(pair);
  });

  test('and comes back in the same transaction is the same project', async () => {
    const pair = await newPair();
    const client = await sides.connectTheirs();
    try {
      await client.query('begin');
      await client.query('delete from mai.projects where id = $1', [pair.maiId]);
      await client.query(`insert into mai.projects (id, name, status) values ($1, 'Back', 'archived')`, [pair.maiId]);
      await client.query('commit');
    } finally {
      await client.end();
    }
    expect(await projectById(sides, pair.projectId)).toMatchObject({ active: true, name: 'Back', status: 'archived' });
    await expectMirrored(pair);
  });

  test('comes back after it was deactivated here, too', async () => {
    const pair = await newPair();
    await sides.ours.query('select registry.deactivate_project($1)', [pair.projectId]);
    await makeRow(sides, { id: pair.maiId, name: 'Back' });
    expect(await projectById(sides, pair.projectId)).toMatchObject({ active: true, name: 'Back' });
    await expectMirrored(pair);
  });

  test('all at once, by a truncate', async () => {
    const pairs = [await newPair(), await newPair()];
    const unmanaged = await makeProject(sides, { slug: newId(), managed_by: [] });
    await sides.theirs.query('truncate mai.projects');
    for (const { projectId } of pairs) expect((await projectById(sides, projectId)).active).toBe(false);
    expect((await projectById(sides, unmanaged)).active).toBe(true);
    expect(await driftOf(sides)).toEqual([]);
    await makeRow(sides, { id: pairs[0]?.maiId ?? '' });
    expect((await projectById(sides, pairs[0]?.projectId ?? '')).active).toBe(true);
  });
});

describe('an id that is renamed over there', () => {
  test('is followed by the link, and the project stays the same', async () => {
    const pair = await newPair();
    const renamed = newId();
    const position = await positionNow(sides);
    await editThere(pair, `id = $1, goal = 'renamed'`, [renamed]);
    expect(await projectById(sides, pair.projectId)).toMatchObject({ slug: pair.maiId, description: 'renamed' });
    expect(await linksOf(sides, pair.projectId)).toEqual([renamed]);
    expect((await eventsSince(sides, position)).map(({ op, changed, mai_id }) => [op, changed, mai_id])).toEqual([
      ['update', ['mai_id'], renamed],
      ['update', ['description'], renamed],
    ]);
    await editHere(pair, `description = 'ours'`);
    expect((await rowById(sides, renamed)).goal).toBe('ours');
    expect(await findRow(sides, pair.maiId)).toBeUndefined();
    await expectMirrored({ projectId: pair.projectId, maiId: renamed });
  });

  test('leaves the old one to whoever comes next', async () => {
    const pair = await newPair();
    const renamed = newId();
    await editThere(pair, 'id = $1', [renamed]);
    await makeRow(sides, { id: pair.maiId });
    const next = await projectOf(sides, pair.maiId);
    expect(next).toMatchObject({ slug: `${pair.maiId}-2` });
    await expectMirrored({ projectId: next.id, maiId: pair.maiId });
    await expectMirrored({ projectId: pair.projectId, maiId: renamed });
  });

  test('to one that a deactivated project had takes it over', async () => {
    const [gone, pair] = [await newPair(), await newPair()];
    await deleteThere(gone.maiId);
    await editThere(pair, 'id = $1', [gone.maiId]);
    await expectMirrored({ projectId: pair.projectId, maiId: gone.maiId });
    expect((await projectById(sides, gone.projectId)).active).toBe(false);
  });
});
