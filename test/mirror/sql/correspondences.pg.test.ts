import { beforeAll, describe, expect, test } from 'vitest';
import { rows, value } from '../../support/sql.ts';
import { eventsSince, positionNow, projectById, projectOf, type Row, rowById } from '../setting.ts';
import { editHere, editThere, expectMirrored, newId, newPair, sides } from './setting.ts';

/** A line of the table of correspondences: an edit on each side, and what it makes of the other. */
interface Line {
  field: string;
  column: keyof Row;
  here: string;
  row: (before: Row) => Partial<Row>;
  there: string;
  project: Record<string, unknown>;
}

// The project is done and its row archived: an edit that carried the status along would change it.
const lines: Line[] = [
  {
    field: 'name',
    column: 'name',
    here: `name = 'Ours'`,
    row: () => ({ name: 'Ours' }),
    there: `name = 'Theirs'`,
    project: { name: 'Theirs' },
  },
  {
    field: 'description',
    column: 'goal',
    here: `description = 'ours'`,
    row: () => ({ goal: 'ours' }),
    there: `goal = 'theirs'`,
    project: { description: 'theirs' },
  },
  {
    field: 'remote_origin',
    column: 'repo',
    here: `remote_origin = 'git@example.com:ours/' || slug`,
    row: ({ id }) => ({ repo: `git@example.com:ours/${id}` }),
    there: `repo = 'https://example.com/theirs'`,
    project: { remote_origin: 'https://example.com/theirs' },
  },
  {
    field: 'trunk_path',
    column: 'path',
    here: `trunk_path = '/ours'`,
    row: () => ({ path: '/ours' }),
    there: `path = '/theirs'`,
    project: { trunk_path: '/theirs' },
  },
  {
    field: 'memory_group',
    column: 'memory_group',
    here: `metadata = metadata || '{"memory_group": "ours"}'`,
    row: () => ({ memory_group: 'ours' }),
    there: `memory_group = 'theirs'`,
    project: { metadata: { memory_group: 'theirs', size: 1 } },
  },
  {
    field: 'status',
    column: 'status',
    here: `status = 'sleeping'`,
    row: () => ({ status: 'sleeping' }),
    there: `status = 'active'`,
    project: { status: 'active' },
  },
  {
    field: 'metadata',
    column: 'metadata',
    here: `metadata = metadata || '{"size": 2}'`,
    row: () => ({ metadata: { size: 2 } }),
    there: `metadata = '{"size": 3, "colour": {"of": ["it"]}}'`,
    project: { metadata: { memory_group: 'group', size: 3, colour: { of: ['it'] } } },
  },
];

describe('one edit', () => {
  beforeAll(async () => {
    const columns = lines.map(({ column }) => column);
    await sides.ours.query(`
      create table public.fired (id text, name text);
      create function public.note_column() returns trigger language plpgsql as $$
        begin insert into public.fired values (new.id, tg_argv[0]); return null; end $$;
      ${columns
        .map(
          (column) => `create trigger note_${column} after update of ${column} on mai.projects
            for each row execute function public.note_column('${column}');`,
        )
        .join('\n')}
      grant insert on public.fired to ${sides.theirRole}; grant usage on schema public to ${sides.theirRole}`);
  });

  test.for(lines)(
    'of $field here changes $column over there, and nothing else',
    async ({ field, column, here, row }) => {
      const pair = await newPair({ status: 'done' });
      const before = await rowById(sides, pair.maiId);
      const position = await positionNow(sides);
      await editHere(pair, here);
      expect(await rowById(sides, pair.maiId)).toEqual({ ...before, ...row(before) });
      expect(await eventsSince(sides, position)).toEqual([
        { op: 'update', entity_id: pair.projectId, changed: [field], direction: 'to_mai', mai_id: pair.maiId },
      ]);
      expect(await rows(sides.ours, 'select name from public.fired where id = $1', [pair.maiId])).toEqual([
        { name: column },
      ]);
      await expectMirrored(pair);
    },
  );

  test.for(lines)('of $column over there changes $field here, and nothing else', async ({ field, there, project }) => {
    const pair = await newPair({ status: 'done' });
    const before = await projectById(sides, pair.projectId);
    const position = await positionNow(sides);
    await editThere(pair, there);
    expect(await projectById(sides, pair.projectId)).toEqual({ ...before, ...project });
    expect(await eventsSince(sides, position)).toEqual([
      { op: 'update', entity_id: pair.projectId, changed: [field], direction: 'from_mai', mai_id: pair.maiId },
    ]);
    await expectMirrored(pair);
  });

  test('of several columns travels as one', async () => {
    const pair = await newPair();
    const position = await positionNow(sides);
    await editHere(pair, `name = 'Both', description = 'both', default_branch = 'trunk'`);
    await editThere(pair, `path = '/both', memory_group = 'both', updated_at = now()`);
    expect((await eventsSince(sides, position)).map(({ direction, changed }) => [direction, changed])).toEqual([
      ['to_mai', ['name', 'description']],
      ['from_mai', ['trunk_path', 'memory_group']],
    ]);
    await expectMirrored(pair);
  });

  test('of what the other side does not have stays where it is', async () => {
    const pair = await newPair();
    const position = await positionNow(sides);
    const row = await rowById(sides, pair.maiId);
    await editHere(pair, `default_branch = 'trunk', kinds = '{plan}', url_id = slug`);
    await editThere(pair, 'updated_at = now()');
    expect(await rowById(sides, pair.maiId)).toEqual(row);
    expect(await eventsSince(sides, position)).toEqual([]);
  });
});

describe('what is null here', () => {
  const bare = { description: null, remote_origin: null, trunk_path: null, metadata: {} };
  const empty = { goal: '', repo: '', path: '', memory_group: '' };

  test('is empty over there, from the beginning', async () => {
    const pair = await newPair(bare);
    expect(await rowById(sides, pair.maiId)).toMatchObject(empty);
    await expectMirrored(pair);
  });

  test('is empty over there when it becomes null, and null here when it becomes empty there', async () => {
    const pair = await newPair();
    await editHere(pair, `description = null, remote_origin = null, trunk_path = null, metadata = '{}'`);
    expect(await rowById(sides, pair.maiId)).toMatchObject(empty);
    const other = await newPair();
    await editThere(other, `goal = '', repo = '', path = '', memory_group = '', metadata = '{}'`);
    expect(await projectById(sides, other.projectId)).toMatchObject(bare);
    await expectMirrored(pair);
    await expectMirrored(other);
  });

  test('may be null over there too, where the columns allow it', async () => {
    const columns = ['name', 'goal', 'repo', 'path', 'memory_group', 'metadata'];
    const allow = (what: string) =>
      sides.ours.query(
        `alter table mai.projects ${columns.map((column) => `alter column ${column} ${what} not null`).join(', ')}`,
      );
    await allow('drop');
    const pair = await newPair();
    const { name } = await projectById(sides, pair.projectId);
    await editThere(pair, 'goal = null, repo = null, path = null, memory_group = null, metadata = null');
    expect(await projectById(sides, pair.projectId)).toEqual(expect.objectContaining({ name, ...bare }));
    await expectMirrored(pair);
    await sides.theirs.query('delete from mai.projects where id = $1', [pair.maiId]);
    await allow('set');
  });
});

describe('a repository', () => {
  test('is stored without the credentials of its URL, which are no drift', async () => {
    const maiId = newId();
    const repo = `https://me:secret@example.com/o/${maiId}`;
    await sides.theirs.query(`insert into mai.projects (id, name, repo) values ($1, $1, $2)`, [maiId, repo]);
    const project = await projectOf(sides, maiId);
    expect(project.remote_origin).toBe(`https://example.com/o/${maiId}`);
    expect((await rowById(sides, maiId)).repo).toBe(repo);
    await expectMirrored({ projectId: project.id, maiId });

    const position = await positionNow(sides);
    await sides.theirs.query('update mai.projects set repo = $2 where id = $1', [
      maiId,
      repo.replace('secret', 'other'),
    ]);
    expect(await eventsSince(sides, position)).toEqual([]);
    expect(
      await value(sides.ours, `select count(*)::int from registry.projects p where p::text ~ 'me:(secret|other)@'`),
    ).toBe(0);
  });

  test('that is no remote is kept without credentials in metadata.repo, and reads as it is from both sides', async () => {
    const pair = await newPair({ remote_origin: null });
    await editThere(pair, `repo = 'https://me:secret@'`);
    expect(await projectById(sides, pair.projectId)).toEqual(
      expect.objectContaining({
        remote_origin: null,
        metadata: { repo: 'https://', memory_group: 'group', size: 1 },
      }),
    );
    expect((await rowById(sides, pair.maiId)).metadata).toEqual({ size: 1 });
    await expectMirrored(pair);
    await editHere(pair, `metadata = metadata || '{"repo": "see the wiki"}'`);
    expect(await rowById(sides, pair.maiId)).toEqual(
      expect.objectContaining({ repo: 'see the wiki', metadata: { size: 1 } }),
    );
    await expectMirrored(pair);
  });

  test.for([
    ['user:secret@example.com:o/scp', 'example.com:o/scp'],
    ['svn+ssh://user:secret@example.com/o', 'svn+ssh://example.com/o'],
    ['git+https://secret@example.com/o', 'git+https://example.com/o'],
    ['clone: https://user:secret@example.com/o/r', 'clone: https://example.com/o/r'],
    ['https://user:sec/ret@example.com/o/slash', 'https://example.com/o/slash'],
    ['git@example.com:o/scoped', 'git@example.com:o/scoped'],
    ['https://example.com:8080/@o/scoped', 'https://example.com:8080/@o/scoped'],
    ['write to me@example.com', 'write to me@example.com'],
  ])('written as %s is known as %s, and is no drift', async ([repo, known]) => {
    const pair = await newPair({ remote_origin: null });
    await editThere(pair, 'repo = $1', [repo]);
    const { remote_origin: remote, metadata } = await projectById(sides, pair.projectId);
    expect(remote ?? metadata.repo).toBe(known);
    expect((await rowById(sides, pair.maiId)).repo).toBe(repo);
    await expectMirrored(pair);
  });

  test('that becomes a remote is no longer kept in metadata.repo', async () => {
    const pair = await newPair({ remote_origin: null, metadata: { repo: 'see the wiki' } });
    await editThere(pair, `repo = 'https://example.com/became/' || id`);
    expect(await projectById(sides, pair.projectId)).toEqual(
      expect.objectContaining({
        remote_origin: `https://example.com/became/${pair.maiId}`,
        metadata: {},
      }),
    );
    const other = await newPair({ remote_origin: null, metadata: { repo: 'see the wiki' } });
    await editHere(other, `remote_origin = 'https://example.com/became/' || slug`);
    await editHere(other, 'remote_origin = null');
    expect((await rowById(sides, other.maiId)).repo).toBe('');
    await expectMirrored(pair);
    await expectMirrored(other);
  });
});

describe('metadata', () => {
  test('keys that stand for columns stay on the side that has them', async () => {
    const own = { repo: 'r', path: 'p', memory_group: 'm', mai_status: 's' };
    const pair = await newPair();
    await editThere(pair, 'metadata = metadata || $1', [own]);
    expect((await projectById(sides, pair.projectId)).metadata).toEqual({ memory_group: 'group', size: 1 });
    await editHere(pair, `metadata = metadata || '{"size": 2, "path": "/of/ours"}'`);
    expect((await rowById(sides, pair.maiId)).metadata).toEqual({ ...own, size: 2 });
    await editThere(pair, `metadata = metadata || '{"size": 3}'`);
    expect((await projectById(sides, pair.projectId)).metadata).toEqual({
      memory_group: 'group',
      path: '/of/ours',
      size: 3,
    });
    await expectMirrored(pair);
  });

  test('a key that goes on one side goes on the other', async () => {
    const pair = await newPair({ metadata: { a: 1, b: 2, memory_group: 'group' } });
    await editHere(pair, `metadata = metadata - 'a'`);
    expect((await rowById(sides, pair.maiId)).metadata).toEqual({ b: 2 });
    await editThere(pair, `metadata = '{}'`);
    expect((await projectById(sides, pair.projectId)).metadata).toEqual({ memory_group: 'group' });
  });
});

describe('the id', () => {
  test('is the slug at the beginning, and is not renamed with it', async () => {
    const pair = await newPair();
    await editHere(pair, `slug = slug || '-renamed', name = 'Renamed'`);
    expect(await rowById(sides, pair.maiId)).toMatchObject({ id: pair.maiId, name: 'Renamed' });
    await editThere(pair, `goal = 'still the same'`);
    expect(await projectById(sides, pair.projectId)).toMatchObject({
      slug: `${pair.maiId}-renamed`,
      description: 'still the same',
    });
    await expectMirrored(pair);
  });
});
