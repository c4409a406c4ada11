import { describe, expect, test } from 'vitest';
import { rows, value } from '../../support/sql.ts';
import {
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
import { editHere, expectMirrored, newId, newPair, sides, unmirrored } from './setting.ts';

const pairsOf = (projectId: string) =>
  rows(sides.ours, 'select mai_id, joining from mirror.pairs where project_id = $1', [projectId]);

describe('a project begins to be mirrored', () => {
  test('when it is inserted as managed by mai', async () => {
    const position = await positionNow(sides);
    const pair = await newPair();
    expect(await rowById(sides, pair.maiId)).toEqual({
      id: pair.maiId,
      name: `Name of ${pair.maiId}`,
      goal: 'The goal.',
      repo: `git@example.com:o/${pair.maiId}.git`,
      path: `/src/${pair.maiId}`,
      memory_group: 'group',
      status: 'active',
      metadata: { size: 1 },
    });
    expect(await eventsSince(sides, position)).toEqual([
      { op: 'insert', entity_id: pair.projectId, changed: [], direction: 'to_mai', mai_id: pair.maiId },
    ]);
    expect(await pairsOf(pair.projectId)).toEqual([{ mai_id: pair.maiId, joining: false }]);
    await expectMirrored(pair);
  });

  test('when mai is added to those that manage it', async () => {
    const maiId = newId();
    const projectId = await makeProject(sides, { slug: maiId, managed_by: ['someone'] });
    expect(await findRow(sides, maiId)).toBeUndefined();
    const position = await positionNow(sides);
    await sides.ours.query(`select registry.update_project($1, '{"managed_by": ["someone", "mai"], "name": "Now"}')`, [
      projectId,
    ]);
    expect(await rowById(sides, maiId)).toMatchObject({ name: 'Now' });
    expect(await eventsSince(sides, position)).toEqual([
      { op: 'insert', entity_id: projectId, changed: [], direction: 'to_mai', mai_id: maiId },
    ]);
    await expectMirrored({ projectId, maiId });
  });

  test('not while it is deactivated, however it is managed', async () => {
    const maiId = newId();
    const projectId = await makeProject(sides, { slug: maiId, managed_by: [] });
    await sides.ours.query('select registry.deactivate_project($1)', [projectId]);
    await editHere({ projectId, maiId }, `managed_by = '{mai}'`);
    expect(await findRow(sides, maiId)).toBeUndefined();
    await editHere({ projectId, maiId }, 'deleted_at = null');
    await expectMirrored({ projectId, maiId });
  });

  test('with a suffix to its id, where another project has that row', async () => {
    const first = await newPair();
    await editHere(first, `slug = slug || '-renamed'`);
    const projectId = await makeProject(sides, { slug: first.maiId });
    await expectMirrored({ projectId, maiId: `${first.maiId}-2` });
    await expectMirrored(first);
  });

  test('many in one statement', async () => {
    const [a, b, c] = [newId(), newId(), newId()];
    await sides.ours.query(
      `insert into registry.projects (slug, name, managed_by) values ($1, $1, '{mai}'), ($2, $2, '{}'), ($3, $3, '{mai}')`,
      [a, b, c],
    );
    expect(await findRow(sides, a)).toBeDefined();
    expect(await findRow(sides, b)).toBeUndefined();
    expect(await findRow(sides, c)).toBeDefined();
    await sides.ours.query(`update registry.projects set managed_by = '{mai}' where slug = any ($1)`, [[a, b, c]]);
    expect(await findRow(sides, b)).toBeDefined();
    await sides.ours.query('delete from registry.projects where slug = any ($1)', [[a, b, c]]);
    expect(await rows(sides.theirs, 'select id from mai.projects where id = any ($1)', [[a, b, c]])).toEqual([]);
  });
});

describe('a project that adopts a row', () => {
  const theirs = {
    name: 'Theirs',
    goal: 'their goal',
    repo: 'their repo',
    path: '/theirs',
    memory_group: 'theirs',
    status: 'sleeping',
    metadata: { of: 'theirs', shared: 'theirs' },
  };

  test('says on both sides what it says, where both say something', async () => {
    const maiId = newId();
    await unmirrored(() => makeRow(sides, { id: maiId, ...theirs }));
    const projectId = await makeProject(sides, {
      slug: maiId,
      name: 'Ours',
      description: 'our goal',
      remote_origin: `git@example.com:o/${maiId}.git`,
      trunk_path: '/ours',
      status: 'published',
      metadata: { memory_group: 'ours', of_ours: 'ours', shared: 'ours' },
    });
    const metadata = { of: 'theirs', of_ours: 'ours', shared: 'ours' };
    expect(await rowById(sides, maiId)).toEqual({
      id: maiId,
      name: 'Ours',
      goal: 'our goal',
      repo: `git@example.com:o/${maiId}.git`,
      path: '/ours',
      memory_group: 'ours',
      status: 'active',
      metadata,
    });
    expect(await projectById(sides, projectId)).toEqual(
      expect.objectContaining({
        name: 'Ours',
        description: 'our goal',
        status: 'published',
        metadata: { ...metadata, memory_group: 'ours' },
      }),
    );
    await expectMirrored({ projectId, maiId });
  });

  test('says on both sides what the row says, where it leaves something empty', async () => {
    const maiId = newId();
    await unmirrored(() => makeRow(sides, { id: maiId, ...theirs }));
    const projectId = await makeProject(sides, { slug: maiId, name: 'Ours' });
    expect(await rowById(sides, maiId)).toEqual({ id: maiId, ...theirs, name: 'Ours', status: 'active' });
    expect(await projectById(sides, projectId)).toEqual(
      expect.objectContaining({
        name: 'Ours',
        description: 'their goal',
        remote_origin: null,
        trunk_path: '/theirs',
        metadata: { ...theirs.metadata, memory_group: 'theirs', repo: 'their repo' },
      }),
    );
    await expectMirrored({ projectId, maiId });
  });

  test('fills what the row leaves empty', async () => {
    const maiId = newId();
    await unmirrored(() => makeRow(sides, { id: maiId }));
    const projectId = await makeProject(sides, {
      slug: maiId,
      description: 'our goal',
      trunk_path: '/ours',
      metadata: { memory_group: 'ours' },
    });
    expect(await rowById(sides, maiId)).toMatchObject({ goal: 'our goal', path: '/ours', memory_group: 'ours' });
    await expectMirrored({ projectId, maiId });
  });

  test('keeps in metadata.repo a remote of the row that another project has', async () => {
    const other = await newPair();
    const { remote_origin } = await projectById(sides, other.projectId);
    const maiId = newId();
    await unmirrored(() => makeRow(sides, { id: maiId, repo: remote_origin ?? '' }));
    const projectId = await makeProject(sides, { slug: maiId });
    expect(await projectById(sides, projectId)).toEqual(
      expect.objectContaining({
        remote_origin: null,
        metadata: { repo: remote_origin },
      }),
    );
    await expectMirrored({ projectId, maiId });
    await expectMirrored(other);
  });

  test('keeps a status of the row that is unknown here, where both are active', async () => {
    const maiId = newId();
    await unmirrored(() => makeRow(sides, { id: maiId, status: 'paused' }));
    const projectId = await makeProject(sides, { slug: maiId });
    expect(await projectById(sides, projectId)).toEqual(
      expect.objectContaining({ status: 'active', metadata: { mai_status: 'paused' } }),
    );
    expect((await rowById(sides, maiId)).status).toBe('paused');
    await expectMirrored({ projectId, maiId });
  });

  test('begins before it changes, for whoever reads the events', async () => {
    const maiId = newId();
    await unmirrored(() => makeRow(sides, { id: maiId, ...theirs }));
    const position = await positionNow(sides);
    await makeProject(sides, { slug: maiId, name: 'Ours', trunk_path: '/ours' });
    expect((await eventsSince(sides, position)).map(({ op }) => op)).toEqual(['insert', 'update', 'update']);
  });
});

describe('a project is mirrored no longer', () => {
  test('when mai is taken from those that manage it: the row, the link and the pair go', async () => {
    const pair = await newPair({ managed_by: ['someone', 'mai'] });
    const position = await positionNow(sides);
    await editHere(pair, `managed_by = '{someone}', name = 'Still here'`);
    expect(await findRow(sides, pair.maiId)).toBeUndefined();
    expect(await linksOf(sides, pair.projectId)).toEqual([]);
    expect(await pairsOf(pair.projectId)).toEqual([]);
    expect(await projectById(sides, pair.projectId)).toMatchObject({ name: 'Still here', active: true });
    expect(await eventsSince(sides, position)).toEqual([
      { op: 'delete', entity_id: pair.projectId, changed: [], direction: 'to_mai', mai_id: pair.maiId },
    ]);
  });

  test('when it is deactivated: the row and the link go, and its id is remembered', async () => {
    const pair = await newPair();
    const position = await positionNow(sides);
    await sides.ours.query('select registry.deactivate_project($1)', [pair.projectId]);
    expect(await findRow(sides, pair.maiId)).toBeUndefined();
    expect(await linksOf(sides, pair.projectId)).toEqual([]);
    expect(await pairsOf(pair.projectId)).toEqual([{ mai_id: pair.maiId, joining: false }]);
    expect((await eventsSince(sides, position)).map(({ op, direction }) => [op, direction])).toEqual([
      ['delete', 'to_mai'],
    ]);
  });

  test('its id is remembered until it is not managed by mai any more, deactivated or not', async () => {
    const pair = await newPair();
    await sides.ours.query('select registry.deactivate_project($1)', [pair.projectId]);
    await editHere(pair, `managed_by = '{}'`);
    expect(await pairsOf(pair.projectId)).toEqual([]);
    await makeRow(sides, { id: pair.maiId });
    expect((await projectOf(sides, pair.maiId)).slug).toBe(`${pair.maiId}-2`);
    expect((await projectById(sides, pair.projectId)).active).toBe(false);
  });

  test('when it is deleted for good, and after a rename exactly its own row goes', async () => {
    const pair = await newPair();
    const renamed = `${pair.maiId}-renamed`;
    await editHere(pair, 'slug = $1', [renamed]);
    await makeRow(sides, { id: renamed });
    const bystander = await projectOf(sides, renamed);
    const taker = await makeProject(sides, { slug: pair.maiId });

    await sides.ours.query('select registry.delete_project($1, $2)', [pair.projectId, renamed]);
    expect(await findRow(sides, pair.maiId)).toBeUndefined();
    expect(await pairsOf(pair.projectId)).toEqual([]);
    await expectMirrored({ projectId: bystander.id, maiId: renamed });
    await expectMirrored({ projectId: taker, maiId: `${pair.maiId}-2` });
  });

  test('when it is deleted for good after it was deactivated, and its id is forgotten', async () => {
    const pair = await newPair();
    await sides.ours.query('select registry.deactivate_project($1)', [pair.projectId]);
    await sides.ours.query('select registry.delete_project($1, $2)', [pair.projectId, pair.maiId]);
    expect(await pairsOf(pair.projectId)).toEqual([]);
    await makeRow(sides, { id: pair.maiId });
    expect((await projectOf(sides, pair.maiId)).id).not.toBe(pair.projectId);
  });
});

describe('a project is mirrored again', () => {
  test('under the same id, when it is registered again after it was deactivated', async () => {
    const maiId = newId();
    const remote = `git@example.com:again/${maiId}.git`;
    const projectId = await makeProject(sides, { slug: maiId, remote_origin: remote });
    await editHere({ projectId, maiId }, `slug = slug || '-renamed'`);
    await sides.ours.query('select registry.deactivate_project($1)', [projectId]);
    const position = await positionNow(sides);
    expect(await value(sides.ours, 'select registry.register_project($1, $2)', ['Again', remote])).toBe(projectId);
    expect(await rowById(sides, maiId)).toMatchObject({ name: 'Again', repo: remote });
    expect((await eventsSince(sides, position)).map(({ op, direction }) => [op, direction])).toEqual([
      ['insert', 'to_mai'],
    ]);
    await expectMirrored({ projectId, maiId });
  });

  test('as its slug says, when mai manages it again', async () => {
    const pair = await newPair();
    await editHere(pair, `managed_by = '{}', slug = slug || '-renamed'`);
    await editHere(pair, `managed_by = '{mai}'`);
    expect(await findRow(sides, pair.maiId)).toBeUndefined();
    await expectMirrored({ projectId: pair.projectId, maiId: `${pair.maiId}-renamed` });
  });
});
