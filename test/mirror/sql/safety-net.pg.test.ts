import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { refusalOf, rows, value } from '../../support/sql.ts';
import { findRow, positionNow, projectById } from '../setting.ts';
import { expectMirrored, newPair, type Pair, sides } from './setting.ts';

/** How the older system's tables may hold a row, so that it cannot be deleted. */
const holding = ['on delete restrict', 'on delete no action', 'deferrable initially deferred'];

const endings: [string, string][] = [
  ['taking mai from those that manage it', `update registry.projects set managed_by = '{}' where id = $1`],
  ['updating it as the gateway does', `select registry.update_project($1, '{"managed_by": [], "name": "New"}')`],
  ['deactivating it', 'select registry.deactivate_project($1)'],
  ['deleting it for good', 'select registry.delete_project(id, slug) from registry.projects where id = $1'],
  ['deleting it with plain SQL', 'delete from registry.projects where id = $1'],
];

/** Everything there is of a project, on both sides. */
const everything = async ({ projectId, maiId }: Pair) => ({
  project: await rows(sides.ours, 'select p, p.xmin from registry.projects p where id = $1', [projectId]),
  links: await rows(sides.ours, 'select * from registry.project_links where project_id = $1', [projectId]),
  pair: await rows(sides.ours, 'select * from mirror.pairs where project_id = $1', [projectId]),
  worktrees: await rows(sides.ours, 'select w from registry.worktrees w where project_id = $1', [projectId]),
  row: await rows(sides.theirs, 'select * from mai.projects where id = $1', [maiId]),
  position: await positionNow(sides),
});

async function newBusyPair(): Promise<Pair> {
  const pair = await newPair();
  await sides.ours.query(`select registry.register_worktree($1, 'feat', 'tree', 'feat/tree', $2)`, [
    pair.projectId,
    `/trees/${pair.maiId}`,
  ]);
  return pair;
}

const refer = (table: string, { maiId }: Pair) =>
  sides.theirs.query(`insert into mai.${table} (project_id) values ($1)`, [maiId]);

async function makeTables(reference: string): Promise<void> {
  for (const table of ['workers', 'tasks'])
    await sides.ours.query(`
      create table mai.${table} (
        id int primary key generated always as identity,
        project_id text not null constraint ${table}_project_fk references mai.projects (id) ${reference});
      grant select, insert, update, delete on mai.${table} to ${sides.theirRole}`);
}

const dropTables = () => sides.ours.query('drop table mai.workers, mai.tasks');

describe.for(holding)('a row that workers and tasks hold by a foreign key %s', (reference) => {
  beforeAll(() => makeTables(reference));
  afterAll(dropTables);

  test.for(endings)('cannot go: %s is refused, says who holds it, and changes nothing', async ([, statement]) => {
    const pair = await newBusyPair();
    await refer('workers', pair);
    const before = await everything(pair);
    expect(await refusalOf(sides.ours.query(statement, [pair.projectId]))).toMatchObject({
      code: 'IN_USE',
      message: expect.stringContaining('mai.workers') as string,
      details: { table: 'mai.workers', constraint: 'workers_project_fk' },
    });
    expect(await everything(pair)).toEqual(before);
    await expectMirrored(pair);
  });

  test.for(endings)('goes once nothing refers to it: %s', async ([, statement]) => {
    const [pair, held] = [await newBusyPair(), await newBusyPair()];
    await refer('workers', pair);
    await refer('workers', held);
    await sides.theirs.query('delete from mai.workers where project_id = $1', [pair.maiId]);
    await sides.ours.query(statement, [pair.projectId]);
    expect(await findRow(sides, pair.maiId)).toBeUndefined();
    await expectMirrored(held);
  });

  test('takes the whole statement back with it, and no more where there is a savepoint', async () => {
    const [held, free, edited] = [await newBusyPair(), await newBusyPair(), await newBusyPair()];
    await refer('workers', held);
    const before = [await everything(held), await everything(free)];
    const client = await sides.ours.connect();
    try {
      await client.query('begin');
      await client.query(`update registry.projects set name = 'Before' where id = $1`, [edited.projectId]);
      await client.query('savepoint here');
      const both = client.query(`update registry.projects set managed_by = '{}' where id = any ($1)`, [
        [free.projectId, held.projectId],
      ]);
      expect((await refusalOf(both)).code).toBe('IN_USE');
      await client.query('rollback to here');
      await client.query(`update registry.projects set description = 'after' where id = $1`, [edited.projectId]);
      await client.query('commit');
    } finally {
      client.release();
    }
    const { position } = await everything(edited);
    expect([await everything(held), await everything(free)]).toEqual(before.map((state) => ({ ...state, position })));
    expect(await projectById(sides, edited.projectId)).toMatchObject({ name: 'Before', description: 'after' });
    for (const pair of [held, free, edited]) await expectMirrored(pair);
  });

  test('takes the whole transaction back where there is no savepoint', async () => {
    const [held, edited] = [await newBusyPair(), await newBusyPair()];
    await refer('tasks', held);
    const before = [await everything(held), await everything(edited)];
    const client = await sides.ours.connect();
    try {
      await client.query('begin');
      await client.query(`update registry.projects set name = 'Before' where id = $1`, [edited.projectId]);
      expect(await refusalOf(client.query('select registry.deactivate_project($1)', [held.projectId]))).toMatchObject({
        code: 'IN_USE',
        details: { table: 'mai.tasks' },
      });
      expect((await client.query('commit')).command).toBe('ROLLBACK');
    } finally {
      client.release();
    }
    expect([await everything(held), await everything(edited)]).toEqual(before);
  });
});

describe.for(['on delete cascade', 'on delete cascade deferrable initially deferred'])(
  'a row that is referred to %s',
  (reference) => {
    beforeAll(() => makeTables(reference));
    afterAll(dropTables);

    test.for(endings)('goes with what refers to it: %s', async ([, statement]) => {
      const pair = await newPair();
      await refer('workers', pair);
      await refer('tasks', pair);
      await sides.ours.query(statement, [pair.projectId]);
      expect(await findRow(sides, pair.maiId)).toBeUndefined();
      expect(await rows(sides.theirs, 'select from mai.workers union all select from mai.tasks')).toEqual([]);
    });
  },
);

describe('ending in a transaction that does more', () => {
  const inTransaction = async (statements: string[]) => {
    const client = await sides.ours.connect();
    try {
      for (const statement of ['begin', ...statements]) await client.query(statement);
      await client.query('commit');
    } finally {
      await client.query('rollback');
      client.release();
    }
  };
  const end = ({ projectId }: Pair) => `update registry.projects set managed_by = '{}' where id = '${projectId}'`;

  afterEach(dropTables);

  test('leaves what is looked at when it ends to be looked at then', async () => {
    await makeTables('deferrable initially deferred');
    const pair = await newPair();
    await inTransaction([
      end(pair),
      `insert into mai.workers (project_id) values ('later')`,
      `insert into mai.projects (id, name) values ('later', 'Later')`,
    ]);
    expect(await findRow(sides, 'later')).toBeDefined();
  });

  test('passes where two tables call their references the same, and only one can wait', async () => {
    await makeTables('');
    await sides.ours.query(`
      alter table mai.tasks rename constraint tasks_project_fk to workers_project_fk;
      alter table mai.workers alter constraint workers_project_fk deferrable initially deferred`);
    const pair = await newPair();
    await inTransaction([end(pair)]);
    expect(await findRow(sides, pair.maiId)).toBeUndefined();
  });
});

test('a reference from where the mirror may not look ends nothing but what it holds', async () => {
  const pair = await newPair();
  const database = await value<string>(sides.ours, 'select quote_ident(current_database())');
  await sides.ours.query(`
    grant create on database ${database} to ${sides.theirRole};
    grant references on mai.projects to ${sides.theirRole}`);
  await sides.theirs.query(`
    create schema elsewhere;
    create table elsewhere.jobs (project_id text references mai.projects deferrable initially deferred)`);
  await sides.ours.query(`update registry.projects set managed_by = '{}' where id = $1`, [pair.projectId]);
  expect(await findRow(sides, pair.maiId)).toBeUndefined();
  await sides.theirs.query('drop schema elsewhere cascade');
});

test('a row that a trigger over there keeps as it is keeps its project as it is', async () => {
  const pair = await newPair();
  await sides.ours.query(`
    create function public.keep() returns trigger language plpgsql as $$ begin return null; end $$;
    create trigger keep before update on mai.projects for each row execute function public.keep()`);
  try {
    const before = await everything(pair);
    const edit = sides.ours.query(`update registry.projects set name = 'New' where id = $1`, [pair.projectId]);
    expect((await refusalOf(edit)).code).toBe('CONFLICT');
    expect(await everything(pair)).toEqual(before);
  } finally {
    await sides.ours.query('drop function public.keep cascade');
  }
  await expectMirrored(pair);
});

test('a row that a trigger over there keeps is not forgotten: ending is refused', async () => {
  const pair = await newPair();
  await sides.ours.query(`
    create function public.keep() returns trigger language plpgsql as $$ begin return null; end $$;
    create trigger keep before delete on mai.projects for each row execute function public.keep()`);
  try {
    const before = await everything(pair);
    for (const [, statement] of endings)
      expect((await refusalOf(sides.ours.query(statement, [pair.projectId]))).code).toBe('CONFLICT');
    expect(await everything(pair)).toEqual(before);
  } finally {
    await sides.ours.query('drop function public.keep cascade');
  }
  await expectMirrored(pair);
});
