import { describe, expect, test } from 'vitest';
import {
  driftOf,
  eventsSince,
  findRow,
  makeProject,
  makeRow,
  positionNow,
  projectById,
  projectOf,
  rowById,
} from '../setting.ts';
import { editHere, editThere, expectMirrored, newId, newPair, sides } from './setting.ts';

interface OtherTrigger {
  /** Before or after the mirror's own, which PostgreSQL decides by their names. */
  name?: 'a_other' | 'z_other';
  when: string;
  on: 'registry.projects' | 'mai.projects';
  body: string;
}

/** With another trigger, which writes as whoever fires it. */
async function withTrigger(
  { name = 'a_other', when, on, body }: OtherTrigger,
  action: () => Promise<void>,
): Promise<void> {
  await sides.ours.query(`
    create function public.other() returns trigger language plpgsql as $$ begin ${body} end $$;
    create trigger ${name} ${when} on ${on} for each row execute function public.other()`);
  try {
    await action();
  } finally {
    await sides.ours.query('drop function public.other cascade');
  }
}

const names = ['a_other', 'z_other'] as const;

describe('what another trigger makes of a write travels too', () => {
  test('before it is stored here', async () => {
    const pair = await newPair();
    await withTrigger(
      { when: 'before update', on: 'registry.projects', body: 'new.name := upper(new.name); return new;' },
      async () => {
        await editHere(pair, `name = 'from here'`);
        expect((await rowById(sides, pair.maiId)).name).toBe('FROM HERE');
        await editThere(pair, `name = 'from there'`);
        expect((await rowById(sides, pair.maiId)).name).toBe('FROM THERE');
      },
    );
    await expectMirrored(pair);
  });

  test('before it is stored over there', async () => {
    const pair = await newPair();
    await withTrigger(
      {
        when: 'before insert or update',
        on: 'mai.projects',
        body: `new.name := btrim(new.name); new.goal := new.goal || ' (checked)'; return new;`,
      },
      async () => {
        await editThere(pair, `name = ' from there '`);
        expect((await projectById(sides, pair.projectId)).name).toBe('from there');
        await editHere(pair, `name = ' from here '`);
        expect(await projectById(sides, pair.projectId)).toMatchObject({ name: 'from here' });
        const begun = await newPair({ name: ' new ' });
        expect(await projectById(sides, begun.projectId)).toMatchObject({
          name: 'new',
          description: 'The goal. (checked)',
        });
        await expectMirrored(begun);
      },
    );
    await expectMirrored(pair);
  });

  test.for(names)('to the same project, by one here that fires after it (%s)', async (name) => {
    const pair = await newPair();
    await withTrigger(
      {
        name,
        when: 'after update of name',
        on: 'registry.projects',
        body: `update registry.projects set description = 'now ' || new.name, name = name || '!'
               where id = new.id and name !~ '!'; return null;`,
      },
      async () => {
        await editHere(pair, `name = 'from here'`);
        expect(await rowById(sides, pair.maiId)).toMatchObject({ name: 'from here!', goal: 'now from here' });
        await editThere(pair, `name = 'from there'`);
        expect(await rowById(sides, pair.maiId)).toMatchObject({ name: 'from there!', goal: 'now from there' });
        await expectMirrored(pair);
      },
    );
  });

  test.for(names)('to the same row, by one over there that fires after it (%s)', async (name) => {
    const pair = await newPair();
    await withTrigger(
      {
        name,
        when: 'after insert or update of name',
        on: 'mai.projects',
        body: `update mai.projects set goal = 'now ' || new.name, name = name || '!'
               where id = new.id and name !~ '!'; return null;`,
      },
      async () => {
        await editThere(pair, `name = 'from there'`);
        expect(await projectById(sides, pair.projectId)).toMatchObject({
          name: 'from there!',
          description: 'now from there',
        });
        await editHere(pair, `name = 'from here'`);
        expect(await projectById(sides, pair.projectId)).toMatchObject({
          name: 'from here!',
          description: 'now from here',
        });
        const maiId = newId();
        await makeRow(sides, { id: maiId, name: 'new' });
        expect(await projectOf(sides, maiId)).toMatchObject({ name: 'new!', description: 'now new' });
        const begun = await newPair({ name: 'begun' });
        expect(await projectById(sides, begun.projectId)).toMatchObject({ name: 'begun!', description: 'now begun' });
        expect(await driftOf(sides)).toEqual([]);
      },
    );
  });

  test.for(names)('to another project, on either side (%s)', async (name) => {
    const [edited, other] = [await newPair(), await newPair()];
    await withTrigger(
      {
        name,
        when: `after update of name`,
        on: 'registry.projects',
        body: `if new.id = '${edited.projectId}' then
                 update registry.projects set description = 'beside ' || new.name where id = '${other.projectId}';
                 update mai.projects set path = '/beside' where id = '${other.maiId}';
               end if; return null;`,
      },
      async () => {
        await editThere(edited, `name = 'from there'`);
        expect(await rowById(sides, other.maiId)).toMatchObject({ goal: 'beside from there', path: '/beside' });
        await editHere(edited, `name = 'from here'`);
        expect(await rowById(sides, other.maiId)).toMatchObject({ goal: 'beside from here' });
      },
    );
    await expectMirrored(edited);
    await expectMirrored(other);
  });

  test('also when it takes the edit back', async () => {
    const pair = await newPair({ name: 'Kept' });
    await withTrigger(
      {
        when: 'after update of name',
        on: 'registry.projects',
        body: `update registry.projects set name = 'Kept' where id = new.id and name <> 'Kept'; return null;`,
      },
      async () => {
        await editThere(pair, `name = 'Lost'`);
        expect((await rowById(sides, pair.maiId)).name).toBe('Kept');
        await editHere(pair, `name = 'Lost'`);
        expect((await rowById(sides, pair.maiId)).name).toBe('Kept');
      },
    );
    await expectMirrored(pair);
  });
});

describe('another trigger of the insert here', () => {
  const whenInserted = { when: 'after insert', on: 'registry.projects' } as const;

  test('that edits the project: it begins once', async () => {
    const maiId = newId();
    const position = await positionNow(sides);
    await withTrigger(
      { ...whenInserted, body: `update registry.projects set description = 'tagged' where id = new.id; return null;` },
      async () => {
        await makeProject(sides, { slug: maiId });
      },
    );
    expect((await rowById(sides, maiId)).goal).toBe('tagged');
    expect((await eventsSince(sides, position)).map(({ op }) => op)).toEqual(['insert']);
  });

  test.for([
    ['takes it from mai', `update registry.projects set managed_by = '{}' where id = new.id`],
    ['deactivates it', 'perform registry.deactivate_project(new.id)'],
    ['deletes it', 'delete from registry.projects where id = new.id'],
  ])('that %s: it does not begin', async ([, statement]) => {
    const maiId = newId();
    const position = await positionNow(sides);
    await withTrigger({ ...whenInserted, body: `${statement}; return null;` }, async () => {
      await makeProject(sides, { slug: maiId });
    });
    expect(await findRow(sides, maiId)).toBeUndefined();
    expect(await eventsSince(sides, position)).toEqual([]);
    expect(await driftOf(sides)).toEqual([]);
  });
});

describe('another trigger over there', () => {
  test('that inserts again what is deleted: the project stays', async () => {
    const pair = await newPair();
    await withTrigger(
      {
        when: 'after delete',
        on: 'mai.projects',
        body: `insert into mai.projects (id, name) values (old.id, 'Again'); return null;`,
      },
      async () => {
        await sides.theirs.query('delete from mai.projects where id = $1', [pair.maiId]);
        expect(await projectById(sides, pair.projectId)).toMatchObject({ name: 'Again', active: true });
        await expectMirrored(pair);
      },
    );
  });

  test('that deletes what is inserted: no project is left behind', async () => {
    const maiId = newId();
    await withTrigger(
      { when: 'after insert', on: 'mai.projects', body: 'delete from mai.projects where id = new.id; return null;' },
      () => makeRow(sides, { id: maiId }),
    );
    expect(await findRow(sides, maiId)).toBeUndefined();
    expect(await driftOf(sides)).toEqual([]);
  });
});
