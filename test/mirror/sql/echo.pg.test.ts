import { beforeAll, describe, expect, test } from 'vitest';
import { rows } from '../../support/sql.ts';
import { driftOf, eventsSince, makeProject, makeRow, positionNow, projectById, projectOf } from '../setting.ts';
import { editHere, editThere, expectMirrored, newId, newPair, type Pair, sides } from './setting.ts';

const deleteThere = ({ maiId }: Pair) => sides.theirs.query('delete from mai.projects where id = $1', [maiId]);

/** What was written to both tables while something was done, and the mirror's events of it. */
async function written(action: () => Promise<unknown>) {
  await sides.ours.query('truncate public.written');
  const position = await positionNow(sides);
  await action();
  return {
    versions: await rows(sides.ours, 'select side, op from public.written order by number'),
    events: (await eventsSince(sides, position)).map(({ op, direction }) => `${op} ${direction}`),
  };
}

// The last of all triggers, so that what other triggers write is counted too.
beforeAll(() =>
  sides.ours.query(`
    create table public.written (number int generated always as identity, side text, op text);
    create function public.note_version() returns trigger language plpgsql security definer as $$
      begin insert into public.written (side, op) values (tg_argv[0], lower(tg_op)); return null; end $$;
    create trigger zz_note after insert or update or delete on registry.projects
      for each row execute function public.note_version('here');
    create trigger zz_note after insert or update or delete on mai.projects
      for each row execute function public.note_version('there')`),
);

describe('one edit is one version on the other side, and no other on its own', () => {
  const here = { side: 'here', op: 'update' };
  const there = { side: 'there', op: 'update' };

  test.for([
    `name = 'New'`,
    'description = null',
    `status = 'draft'`,
    `status = 'done'`,
    `remote_origin = 'https://example.com/echo/' || slug`,
    'remote_origin = null',
    `trunk_path = '/echo'`,
    `metadata = metadata || '{"memory_group": "new"}'`,
    `metadata = metadata || '{"repo": "x", "size": 2}'`,
    `name = 'All', description = '', status = 'archived', trunk_path = null, metadata = '{}', slug = slug || '-new'`,
  ])('here: %s', async (edit) => {
    const pair = await newPair();
    const { versions, events } = await written(() => editHere(pair, edit));
    expect(versions.toSorted()).toHaveLength(edit === `status = 'draft'` ? 1 : 2);
    expect(versions).toContainEqual(here);
    if (edit !== `status = 'draft'`) expect(versions).toContainEqual(there);
    expect(events).toEqual(edit === `status = 'draft'` ? [] : ['update to_mai']);
    await expectMirrored(pair);
  });

  test.for([
    `name = 'New'`,
    `goal = ''`,
    `status = 'sleeping'`,
    `status = 'paused'`,
    `repo = 'https://example.com/echo/' || id`,
    `repo = 'no remote'`,
    `path = '/echo'`,
    `memory_group = 'new'`,
    `metadata = '{"size": 2}'`,
    `name = 'All', goal = 'all', status = 'archived', repo = '', path = '', memory_group = '', metadata = '{}'`,
  ])('there: %s', async (edit) => {
    const pair = await newPair();
    const { versions, events } = await written(() => editThere(pair, edit));
    expect(versions).toHaveLength(2);
    expect(versions).toContainEqual(here);
    expect(versions).toContainEqual(there);
    expect(events).toEqual(['update from_mai']);
    await expectMirrored(pair);
  });

  test('that changes nothing is none', async () => {
    const pair = await newPair();
    const ours = await written(() => editHere(pair, 'name = name, status = status, metadata = metadata'));
    expect(ours).toEqual({ versions: [here], events: [] });
    const theirs = await written(() => editThere(pair, 'name = name, repo = repo, updated_at = now()'));
    expect(theirs).toEqual({ versions: [there], events: [] });
  });
});

describe('beginning and ending are one version on each side', () => {
  test('from here', async () => {
    const maiId = newId();
    const begun = await written(() => makeProject(sides, { slug: maiId, metadata: { memory_group: 'm', a: 1 } }));
    expect(begun.versions).toHaveLength(2);
    expect(begun.versions).toEqual(
      expect.arrayContaining([
        { side: 'here', op: 'insert' },
        { side: 'there', op: 'insert' },
      ]),
    );
    expect(begun.events).toEqual(['insert to_mai']);
    const ended = await written(async () =>
      sides.ours.query('select registry.deactivate_project($1)', [(await projectOf(sides, maiId)).id]),
    );
    expect(ended.versions).toHaveLength(2);
    expect(ended.events).toEqual(['delete to_mai']);
  });

  test('from there, and when the id comes back', async () => {
    const row = { id: newId(), goal: 'their goal', repo: 'no remote', memory_group: 'm', metadata: { a: 1 } };
    const begun = await written(() => makeRow(sides, row));
    expect(begun.versions).toHaveLength(2);
    expect(begun.events).toEqual(['insert from_mai']);
    const pair = { projectId: (await projectOf(sides, row.id)).id, maiId: row.id };
    const ended = await written(() => deleteThere(pair));
    expect(ended.versions).toHaveLength(2);
    expect(ended.events).toEqual(['delete from_mai']);
    const revived = await written(() => makeRow(sides, row));
    expect(revived.versions).toHaveLength(2);
    expect(revived.events).toEqual(['insert from_mai']);
    await expectMirrored(pair);
  });
});

test('a statement that edits many rows is an event of each', async () => {
  const pairs = [await newPair(), await newPair(), await newPair()];
  const ours = await written(() =>
    sides.ours.query(`update registry.projects set description = 'many' where id = any ($1)`, [
      pairs.map(({ projectId }) => projectId),
    ]),
  );
  expect(ours.events).toEqual(['update to_mai', 'update to_mai', 'update to_mai']);
  expect(ours.versions).toHaveLength(6);
  const theirs = await written(() =>
    sides.theirs.query(`update mai.projects set goal = 'many of theirs' where id = any ($1)`, [
      pairs.map(({ maiId }) => maiId),
    ]),
  );
  expect(theirs.events).toEqual(['update from_mai', 'update from_mai', 'update from_mai']);
  expect(theirs.versions).toHaveLength(6);
  for (const pair of pairs) await expectMirrored(pair);
});

test('swapping the repositories of two rows leaves one with each, or with a note of it', async () => {
  const [one, other] = [await newPair(), await newPair()];
  await sides.theirs.query(
    `update mai.projects r set repo = s.repo from mai.projects s where r.id <> s.id and r.id = any ($1) and s.id = any ($1)`,
    [[one.maiId, other.maiId]],
  );
  await expectMirrored(one);
  await expectMirrored(other);
  expect((await projectById(sides, other.projectId)).remote_origin).toBe(`git@example.com:o/${one.maiId}.git`);
});

test('an insert that finds its row there and updates it travels as an update', async () => {
  const pair = await newPair();
  const theirs = await written(() =>
    sides.theirs.query(
      `insert into mai.projects (id, name) values ($1, 'Upserted') on conflict (id) do update set name = excluded.name`,
      [pair.maiId],
    ),
  );
  expect(theirs.events).toEqual(['update from_mai']);
  expect(await projectById(sides, pair.projectId)).toMatchObject({ name: 'Upserted', description: 'The goal.' });
  const ours = await written(() =>
    sides.ours.query(
      `insert into registry.projects (slug, name) values ($1, 'Again') on conflict (slug) do update set name = excluded.name`,
      [pair.maiId],
    ),
  );
  expect(ours.events).toEqual(['update to_mai']);
  expect(await driftOf(sides)).toEqual([]);
});
