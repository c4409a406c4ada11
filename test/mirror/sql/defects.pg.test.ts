import { describe, expect, test } from 'vitest';
import { findRow, makeRow, projectById, projectOf, rowById } from '../setting.ts';
import { editHere, editThere, expectMirrored, newPair, sides } from './setting.ts';

describe('a defect of the old triggers does not come back', () => {
  test('edits of repo, path and memory_group lost behind a stale metadata key', async () => {
    const stale = { repo: 'stale', path: '/stale', memory_group: 'stale' };
    const remote = 'https://example.com/defects';
    const pair = await newPair({ remote_origin: `${remote}/first`, trunk_path: '/first', metadata: stale });
    expect(await rowById(sides, pair.maiId)).toMatchObject({ repo: `${remote}/first`, path: '/first' });
    await editThere(pair, 'metadata = $1', [stale]);

    await editHere(
      pair,
      `remote_origin = $1, trunk_path = '/ours', metadata = metadata || '{"memory_group": "ours"}'`,
      [`${remote}/ours`],
    );
    expect(await rowById(sides, pair.maiId)).toMatchObject({
      repo: `${remote}/ours`,
      path: '/ours',
      memory_group: 'ours',
    });
    await editThere(pair, `repo = $1, path = '/theirs', memory_group = 'theirs'`, [`${remote}/theirs`]);
    expect(await projectById(sides, pair.projectId)).toEqual(
      expect.objectContaining({
        remote_origin: `${remote}/theirs`,
        trunk_path: '/theirs',
        metadata: { memory_group: 'theirs', path: '/stale' },
      }),
    );
    await editHere(pair, 'remote_origin = null, trunk_path = null');
    expect(await rowById(sides, pair.maiId)).toMatchObject({ repo: '', path: '' });
    await editThere(pair, `memory_group = ''`);
    expect((await projectById(sides, pair.projectId)).metadata).not.toHaveProperty('memory_group');
    await expectMirrored(pair);
  });

  test.for(['done', 'archived'])(
    'done and sleeping flattened to archived by unrelated edits, where the project is %s',
    async (ours) => {
      const theirs = ours === 'done' ? 'archived' : 'sleeping';
      const pair = await newPair(ours === 'done' ? { status: ours } : {});
      if (theirs === 'sleeping') await editThere(pair, 'status = $1', [theirs]);
      await editThere(pair, `goal = 'theirs'`);
      await editHere(pair, `description = 'ours'`);
      await editThere(pair, `metadata = '{"size": 2}'`);
      await editHere(pair, `slug = slug || '-renamed', name = 'Renamed'`);
      expect((await projectById(sides, pair.projectId)).status).toBe(ours);
      expect((await rowById(sides, pair.maiId)).status).toBe(theirs);
    },
  );

  test('a hard delete of a renamed project deleting an unrelated row', async () => {
    const pair = await newPair();
    const renamed = `${pair.maiId}-renamed`;
    await editHere(pair, 'slug = $1', [renamed]);
    await makeRow(sides, { id: renamed, goal: 'unrelated' });
    await sides.ours.query('select registry.delete_project($1, $2)', [pair.projectId, renamed]);
    expect(await findRow(sides, pair.maiId)).toBeUndefined();
    expect(await rowById(sides, renamed)).toMatchObject({ goal: 'unrelated' });
  });

  test('a revived id ignored', async () => {
    const pair = await newPair();
    await sides.theirs.query('delete from mai.projects where id = $1', [pair.maiId]);
    await makeRow(sides, { id: pair.maiId, goal: 'back' });
    expect(await projectOf(sides, pair.maiId)).toMatchObject({ id: pair.projectId, active: true, description: 'back' });
    await expectMirrored(pair);
  });

  test('writes made inside another trigger never mirrored', async () => {
    const [edited, other] = [await newPair(), await newPair()];
    await sides.ours.query(`
      create table public.inbox (project_id uuid, mai_id text);
      grant insert on public.inbox to ${sides.theirRole};
      create function public.on_inbox() returns trigger language plpgsql security definer as $$
      begin
        update registry.projects set description = 'from a trigger' where id = new.project_id;
        update mai.projects set goal = 'from a trigger' where id = new.mai_id;
        return null;
      end $$;
      create trigger on_inbox after insert on public.inbox for each row execute function public.on_inbox()`);
    await sides.ours.query('insert into public.inbox values ($1, $2)', [edited.projectId, other.maiId]);
    expect((await rowById(sides, edited.maiId)).goal).toBe('from a trigger');
    expect((await projectById(sides, other.projectId)).description).toBe('from a trigger');
    await expectMirrored(edited);
    await expectMirrored(other);
  });
});
