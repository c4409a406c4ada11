import { describe, expect, test } from 'vitest';
import { refusalOf, rows } from '../../support/sql.ts';
import { findRow, makeProject, makeRow, projectOf, rowById, type Sides } from '../setting.ts';
import { type Meeting, withMeeting } from './meeting.ts';

/** A deadlock takes a second to be seen, so the meetings, each in a database of its own, go on side by side. */
const meeting = (name: string, action: (meeting: Meeting) => Promise<void>) =>
  test.concurrent(name, () => withMeeting(action));

/** They cannot both go on: one is ended, and goes through when it tries again. @returns which one */
async function expectOneEnded(meeting: Meeting, here: string, there: string): Promise<'here' | 'there'> {
  const ended = await meeting.collide(here, there);
  if (ended === undefined) throw new Error('expected one to be ended by a deadlock');
  await meeting[ended].query(ended === 'here' ? here : there);
  return ended;
}

const projectsLike = (sides: Sides, slug: string) =>
  rows<{ slug: string; active: boolean }>(
    sides.ours,
    'select slug, active from registry.projects where slug like $1 order by slug',
    [`${slug}%`],
  );

const waysToWrite = {
  'edits it': (slug: string) => `update registry.projects set name = 'here' where slug = '${slug}'`,
  'ends its management': (slug: string) => `update registry.projects set managed_by = '{}' where slug = '${slug}'`,
  'deactivates it': (slug: string) => `update registry.projects set deleted_at = now() where slug = '${slug}'`,
  'deletes it for good': (slug: string) => `delete from registry.projects where slug = '${slug}'`,
};

describe('of two transactions that meet in one project', () => {
  meeting('and edit one column, one is ended, and the one that tries again has the last word', async (both) => {
    const { sides } = both;
    await makeProject(sides, { slug: 'edited' });
    const ended = await expectOneEnded(
      both,
      waysToWrite['edits it']('edited'),
      `update mai.projects set name = 'there' where id = 'edited'`,
    );
    expect((await rowById(sides, 'edited')).name).toBe(ended);
  });

  meeting('and edit different columns, one is ended, and in the end both edits are there', async (both) => {
    const { sides } = both;
    await makeProject(sides, { slug: 'columns' });
    await expectOneEnded(
      both,
      waysToWrite['edits it']('columns'),
      `update mai.projects set path = '/there' where id = 'columns'`,
    );
    expect(await rowById(sides, 'columns')).toMatchObject({ name: 'here', path: '/there' });
  });

  // Here archived and there sleeping say the same; so each, while it does not see the other, would have nothing to bring over.
  meeting(
    'and say what the other side has said until then, one is ended, and both sides say the same',
    async (both) => {
      const { sides } = both;
      await makeRow(sides, { id: 'alike', status: 'sleeping' });
      await expectOneEnded(
        both,
        `update registry.projects set status = 'sleeping' where slug = 'alike'`,
        `update mai.projects set status = 'archived' where id = 'alike'`,
      );
      expect((await projectOf(sides, 'alike')).status).toBe((await rowById(sides, 'alike')).status);
    },
  );

  meeting('one edits it and one deletes the row: one is ended, and in the end it is gone', async (both) => {
    const { sides } = both;
    await makeProject(sides, { slug: 'deleted' });
    await expectOneEnded(both, waysToWrite['edits it']('deleted'), `delete from mai.projects where id = 'deleted'`);
    expect(await findRow(sides, 'deleted')).toBeUndefined();
    expect(await projectsLike(sides, 'deleted')).toEqual([{ slug: 'deleted', active: false }]);
  });

  for (const [way, write] of Object.entries(waysToWrite)) {
    const slug = `while-${way.replaceAll(' ', '-')}`;

    meeting(`one ${way} and one edits the row: one is ended, and in the end both have happened`, async (both) => {
      const { sides } = both;
      await makeProject(sides, { slug });
      await expectOneEnded(both, write(slug), `update mai.projects set path = '/there' where id = '${slug}'`);
      expect(await findRow(sides, slug)).toEqual(
        way === 'edits it' ? expect.objectContaining({ name: 'here', path: '/there' }) : undefined,
      );
    });

    meeting(`one ${way} and one renames the row: one is ended, and nothing is doubled`, async (both) => {
      const { sides } = both;
      await makeProject(sides, { slug: `old-${slug}` });
      await expectOneEnded(
        both,
        write(`old-${slug}`),
        `update mai.projects set id = 'new-${slug}' where id = 'old-${slug}'`,
      );
      expect(await findRow(sides, `old-${slug}`)).toBeUndefined();
      expect((await findRow(sides, `new-${slug}`))?.name).toBe(way === 'edits it' ? 'here' : undefined);
      expect(await projectsLike(sides, `new-${slug}`)).toEqual([]);
      expect(await projectsLike(sides, `old-${slug}`)).toHaveLength(way === 'deletes it for good' ? 0 : 1);
    });
  }
});

describe('of two transactions that meet in one id', () => {
  meeting('and begin it, one is ended, and finds it begun', async (both) => {
    const { sides } = both;
    const here = `insert into registry.projects (slug, name, managed_by) values ('begun', 'here', '{mai}')`;
    const there = `insert into mai.projects (id, name) values ('begun', 'there')`;
    const ended = await both.collide(here, there);
    expect(ended).toBeDefined();
    const again = ended === 'here' ? both.here.query(here) : both.there.query(there);
    expect(await refusalOf(again)).toMatchObject({ sqlstate: '23505' });
    expect(await projectsLike(sides, 'begun')).toEqual([{ slug: 'begun', active: true }]);
    expect((await rowById(sides, 'begun')).name).toBe(ended === 'here' ? 'there' : 'here');
  });

  meeting('and revive it, one is ended, and it is one project', async (both) => {
    const { sides } = both;
    await makeProject(sides, { slug: 'revived' });
    await sides.ours.query(waysToWrite['deactivates it']('revived'));
    const ended = await both.collide(
      `update registry.projects set deleted_at = null where slug = 'revived'`,
      `insert into mai.projects (id, name) values ('revived', 'there')`,
    );
    expect(ended).toBeDefined();
    expect(await projectsLike(sides, 'revived')).toEqual([{ slug: 'revived', active: true }]);
  });

  meeting('one revives its project and one renames another row to it: one is ended', async (both) => {
    const { sides } = both;
    await makeProject(sides, { slug: 'wanted' });
    await makeProject(sides, { slug: 'renamed' });
    await sides.ours.query(waysToWrite['deactivates it']('wanted'));
    const revive = `update registry.projects set deleted_at = null where slug = 'wanted'`;
    const ended = await both.collide(revive, `update mai.projects set id = 'wanted' where id = 'renamed'`);
    expect(ended).toBeDefined();
    // The id has another project now, so the one that comes back takes the next.
    if (ended === 'here') await both.here.query(revive);
    expect(await findRow(sides, ended === 'here' ? 'wanted-2' : 'renamed')).toBeDefined();
  });

  for (const [end, id] of [
    ['commit', 'wished-a-2'],
    ['rollback', 'wished-b'],
  ] as const) {
    meeting(`and begin it here, the second waits, and after the ${end} of the first it has ${id}`, async (both) => {
      const { sides } = both;
      const slug = id.slice(0, 8);
      const second = await sides.database.connect();
      const insert = `insert into registry.projects (slug, name, managed_by) values ('${slug}', $1, '{mai}')`;
      await second.query('begin');
      await second.query(insert, ['first']);
      // The slug is free again, the id is not.
      await second.query(`update registry.projects set slug = 'was-${slug}' where slug = '${slug}'`);
      const inserting = both.here.query(insert, ['second']);
      await both.untilWaiting(both.here);
      await second.query(end);
      await second.end();
      await inserting;
      expect((await rowById(sides, id)).name).toBe('second');
    });
  }
});

describe('a transaction that sees the past is told to begin again, and then both sides agree,', () => {
  const seePast = 'begin isolation level repeatable read; select count(*) from mai.projects';

  meeting("where it renames a row to an id that was somebody else's meanwhile", async ({ sides, there }) => {
    await makeRow(sides, { id: 'past-there' });
    const rename = `update mai.projects set id = 'past-taken' where id = 'past-there'`;
    await there.query(seePast);
    await makeRow(sides, { id: 'past-taken' });
    await sides.theirs.query(`delete from mai.projects where id = 'past-taken'`);
    expect(await refusalOf(there.query(rename))).toMatchObject({ sqlstate: '40001' });
    await there.query('rollback');
    await there.query(rename);
    expect(await projectOf(sides, 'past-taken')).toMatchObject({ slug: 'past-there' });
  });

  meeting("where it revives a project whose id was somebody else's meanwhile", async ({ sides, here }) => {
    await makeProject(sides, { slug: 'past-here' });
    await makeProject(sides, { slug: 'past-other' });
    await sides.ours.query(waysToWrite['deactivates it']('past-here'));
    const revive = `update registry.projects set deleted_at = null where slug = 'past-here'`;
    await here.query(seePast);
    await sides.theirs.query(`update mai.projects set id = 'past-here' where id = 'past-other'`);
    await sides.theirs.query(`update mai.projects set id = 'past-gone' where id = 'past-here'`);
    expect(await refusalOf(here.query(revive))).toMatchObject({ sqlstate: '40001' });
    await here.query('rollback');
    await here.query(revive);
    expect(await projectOf(sides, 'past-here')).toMatchObject({ slug: 'past-here', active: true });
  });
});

describe('of two transactions of which one registers a remote, the other waits and then does without it:', () => {
  /** Here first, so that over there it is known only when it is written. */
  async function registerFirst(
    { sides, here, there, untilWaiting }: Meeting,
    slug: string,
    textThere: string,
  ): Promise<void> {
    await here.query('begin');
    await here.query('select registry.register_project($1, $2, p_slug => $1)', [`${slug}-here`, remoteOf(slug)]);
    const writing = there.query(textThere);
    await untilWaiting(there);
    await here.query('commit');
    await writing;
    expect(await projectOf(sides, slug)).toMatchObject({
      active: true,
      remote_origin: null,
      metadata: { repo: remoteOf(slug) },
    });
  }
  const remoteOf = (slug: string) => `https://host.example/o/${slug}`;

  meeting('a row that begins with it keeps it as a word', async (both) => {
    await registerFirst(
      both,
      'begins-with',
      `insert into mai.projects (id, name, repo) values ('begins-with', 'there', '${remoteOf('begins-with')}')`,
    );
  });

  meeting('a row that is given it keeps it as a word', async (both) => {
    const { sides } = both;
    await makeRow(sides, { id: 'given' });
    await registerFirst(both, 'given', `update mai.projects set repo = '${remoteOf('given')}' where id = 'given'`);
  });

  meeting('a row that comes back with it keeps it as a word', async (both) => {
    const { sides } = both;
    await makeProject(sides, { slug: 'comes-back' });
    await sides.ours.query(waysToWrite['deactivates it']('comes-back'));
    await registerFirst(
      both,
      'comes-back',
      `insert into mai.projects (id, name, repo) values ('comes-back', 'there', '${remoteOf('comes-back')}')`,
    );
  });
});

describe('of two transactions, one that ends the management of a project and one that hires a worker for it', () => {
  const end = waysToWrite['ends its management'];
  const hire = (slug: string) => `insert into mai.workers (project_id) values ('${slug}')`;
  async function makeHiringProject(sides: Sides, slug: string): Promise<void> {
    await sides.ours.query(`create table mai.workers (project_id text not null references mai.projects (id));
      grant select, insert on mai.workers to ${sides.theirRole}`);
    await makeProject(sides, { slug });
  }

  meeting(
    'the end waits for a worker on the way, and is refused by it',
    async ({ sides, here, there, untilWaiting }) => {
      await makeHiringProject(sides, 'hired');
      await there.query('begin');
      await there.query(hire('hired'));
      const ending = refusalOf(here.query(end('hired')));
      await untilWaiting(here);
      await there.query('commit');
      expect(await ending).toMatchObject({ code: 'IN_USE', details: { table: 'mai.workers' } });
      expect(await projectOf(sides, 'hired')).toMatchObject({ managed_by: ['mai'], active: true });
    },
  );

  meeting(
    'the end goes through when the worker does not come after all',
    async ({ sides, here, there, untilWaiting }) => {
      await makeHiringProject(sides, 'not-hired');
      await there.query('begin');
      await there.query(hire('not-hired'));
      const ending = here.query(end('not-hired'));
      await untilWaiting(here);
      await there.query('rollback');
      await ending;
      expect(await findRow(sides, 'not-hired')).toBeUndefined();
    },
  );

  meeting(
    'a worker that comes later waits for the end, and finds no project',
    async ({ sides, here, there, untilWaiting }) => {
      await makeHiringProject(sides, 'too-late');
      await here.query('begin');
      await here.query(end('too-late'));
      const hiring = refusalOf(there.query(hire('too-late')));
      await untilWaiting(there);
      await here.query('commit');
      expect(await hiring).toMatchObject({ sqlstate: '23503' });
    },
  );
});
