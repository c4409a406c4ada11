import { afterEach, describe, expect, test } from 'vitest';
import { driftOf, makeRow, projectById, projectOf, rowById } from '../setting.ts';
import { editHere, editThere, newId, newPair, sides } from './setting.ts';

const deleteThere = (maiId: string) => sides.theirs.query('delete from mai.projects where id = $1', [maiId]);

describe('what cannot be stored here', () => {
  afterEach(() => sides.theirs.query('delete from mai.projects'));

  test('a blank name: its id serves, and later the name that it had', async () => {
    const maiId = newId();
    await makeRow(sides, { id: maiId, name: '' });
    expect((await projectOf(sides, maiId)).name).toBe(maiId);
    await sides.theirs.query(`update mai.projects set name = 'Named' where id = $1`, [maiId]);
    await sides.theirs.query(`update mai.projects set name = '  ', goal = 'travels' where id = $1`, [maiId]);
    expect(await projectOf(sides, maiId)).toMatchObject({ name: 'Named', description: 'travels' });
    expect(await driftOf(sides)).toEqual([
      {
        project_id: (await projectOf(sides, maiId)).id,
        mai_id: maiId,
        field: 'name',
        ours: 'Named',
        theirs: '  ',
      },
    ]);
  });

  test('a name that is too long: its beginning, and later the name that it had', async () => {
    const maiId = newId();
    await makeRow(sides, { id: maiId, name: 'n'.repeat(201) });
    expect((await projectOf(sides, maiId)).name).toBe('n'.repeat(200));
    const pair = await newPair({ name: 'Short' });
    await editThere(pair, 'name = $1', ['n'.repeat(201)]);
    expect((await projectById(sides, pair.projectId)).name).toBe('Short');
    expect((await driftOf(sides)).map(({ field }) => field)).toEqual(['name', 'name']);
  });

  const noMetadata = ['[1, 2]', '["repo"]', '"words"', '"path"', '7'];

  test.for(noMetadata)('metadata that is %s: what was known stays, and other edits travel', async (metadata) => {
    const pair = await newPair();
    await editThere(pair, 'metadata = $1, memory_group = $2', [metadata, 'travels']);
    expect((await projectById(sides, pair.projectId)).metadata).toEqual({ memory_group: 'travels', size: 1 });
    await editHere(pair, `description = 'travels'`);
    expect(await rowById(sides, pair.maiId)).toMatchObject({ goal: 'travels', metadata: JSON.parse(metadata) });
    expect(await driftOf(sides)).toMatchObject([{ mai_id: pair.maiId, field: 'metadata', ours: { size: 1 } }]);
    await editHere(pair, `metadata = '{"size": 2}'`);
    expect((await rowById(sides, pair.maiId)).metadata).toEqual({ size: 2 });
  });

  test.for(noMetadata)('metadata that is %s from the beginning: there is none', async (metadata) => {
    const maiId = newId();
    await sides.theirs.query('insert into mai.projects (id, name, metadata) values ($1, $1, $2)', [maiId, metadata]);
    expect((await projectOf(sides, maiId)).metadata).toEqual({});
    expect((await driftOf(sides)).map(({ field }) => field)).toEqual(['metadata']);
  });

  test.for([
    ['is empty', ''],
    ['is blank', '   '],
    ['is too long', 'x'.repeat(2_100)],
  ])('an id that %s: the row stays alone', async ([, maiId = '']) => {
    await makeRow(sides, { id: maiId, name: 'Alone' });
    await sides.theirs.query(`update mai.projects set name = 'Still alone' where id = $1`, [maiId]);
    expect(await driftOf(sides)).toEqual([
      { project_id: null, mai_id: maiId, field: 'project', ours: null, theirs: maiId },
    ]);
    await deleteThere(maiId);
    expect(await driftOf(sides)).toEqual([]);
  });

  test('whatever our own rules refuse: the write passes with a warning, and the rest of its statement travels', async () => {
    const [good, bad] = [newId(), newId()];
    await sides.ours.query(
      `alter table registry.projects add constraint no_bad check (description <> 'bad') not valid`,
    );
    const client = await sides.connectTheirs();
    const warnings: string[] = [];
    client.on('notice', ({ message = '' }) => warnings.push(message));
    try {
      await client.query(`insert into mai.projects (id, name, goal) values ($1, $1, 'bad'), ($2, $2, 'good')`, [
        bad,
        good,
      ]);
    } finally {
      await client.end();
      await sides.ours.query('alter table registry.projects drop constraint no_bad');
    }
    expect(warnings).toEqual([expect.stringMatching(`could not follow insert of mai.projects '${bad}'.*no_bad`)]);
    expect((await projectOf(sides, good)).description).toBe('good');
    expect(await driftOf(sides)).toMatchObject([{ mai_id: bad, field: 'project' }]);
  });

  test('a truncate that our own rules refuse passes too', async () => {
    const pair = await newPair();
    await sides.ours.query(`alter table registry.projects add constraint no_end check (deleted_at is null) not valid`);
    try {
      await sides.theirs.query('truncate mai.projects');
    } finally {
      await sides.ours.query('alter table registry.projects drop constraint no_end');
    }
    expect(await driftOf(sides)).toMatchObject([{ mai_id: pair.maiId, field: 'row' }]);
    await sides.ours.query('select registry.deactivate_project($1)', [pair.projectId]);
  });

  test('two things at once of which our rules let in neither: the write ends, and passes', async () => {
    const pair = await newPair();
    const { name } = await projectById(sides, (await newPair({ name: 'Only once' })).projectId);
    await sides.ours.query(`create unique index only_once on registry.projects (name) where name = 'Only once'`);
    try {
      await editThere(pair, 'name = $1, repo = $2', [name, `https://example.com/other/${pair.maiId}`]);
    } finally {
      await sides.ours.query('drop index registry.only_once');
    }
    expect((await driftOf(sides)).map(({ mai_id, field }) => [mai_id, field])).toEqual([
      [pair.maiId, 'name'],
      [pair.maiId, 'remote_origin'],
    ]);
  });

  test('a row that a rule of others refuses as a double: the write ends, and passes', async () => {
    const maiId = newId();
    await newPair({ name: 'Unique' });
    await sides.ours.query(`create unique index only_one on registry.projects (name) where name = 'Unique'`);
    try {
      await makeRow(sides, { id: maiId, name: 'Unique' });
    } finally {
      await sides.ours.query('drop index registry.only_one');
    }
    expect(await driftOf(sides)).toMatchObject([{ mai_id: maiId, field: 'project' }]);
  });
});
