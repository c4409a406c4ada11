import { describe, expect, test } from 'vitest';
import { makePerson } from '../support/people.ts';
import { value } from '../support/sql.ts';
import { mirroredGateway } from './asking.ts';
import { driftOf, findRow, makeProject, makeRow, projectOf, rowById } from './setting.ts';

const setting = mirroredGateway();

interface UserError {
  code: string;
  message: string;
  details: Record<string, unknown> | null;
}

const refused = 'userErrors { code message details }';

async function mutate<Payload = object>(
  name: string,
  selection: string,
  input: Record<string, unknown>,
): Promise<Payload & { userErrors: UserError[] }> {
  const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
  const answer = await setting.gateway.ask<Record<string, never>>(
    `mutation ($input: ${type}!) { ${name}(input: $input) { ${selection} ${refused} } }`,
    { input },
  );
  return answer[name] as never;
}

interface Reconciled {
  changedCount: number;
  examinedCount: number;
  hasMore: boolean;
  endCursor: string | null;
}
const reconcile = (input: Record<string, unknown>) =>
  mutate<Reconciled>('reconcileMirror', 'changedCount examinedCount hasMore endCursor', input);

interface Drift {
  project: { slug: string } | null;
  maiId: string | null;
  field: string;
  ours: unknown;
  theirs: unknown;
}
async function drift(projectIds: readonly string[] | null = null, first = 100): Promise<Drift[]> {
  const { mirrorDrift } = await setting.gateway.ask<{ mirrorDrift: Drift[] }>(
    `query ($projectIds: [ID!], $first: Int) { mirrorDrift(projectIds: $projectIds, first: $first) {
      project { slug } maiId field ours theirs } }`,
    { projectIds, first },
  );
  return mirrorDrift;
}

/** What was written while there was no mirror. */
async function unmirrored(statement: string): Promise<void> {
  const client = await setting.sides.database.connect();
  try {
    await client.query(
      'begin; alter table registry.projects disable trigger user; alter table mai.projects disable trigger user',
    );
    await client.query(statement);
    await client.query(
      'alter table registry.projects enable trigger user; alter table mai.projects enable trigger user; commit',
    );
  } finally {
    await client.end();
  }
}

test('a row that appears over there waits to be classified, until it is', async () => {
  const { gateway, sides } = setting;
  await makeRow(sides, { id: 'newcomer', name: 'New comer' });
  const waiting = `{ unclassifiedProjects { nodes { slug name managedBy parents { slug } links { refType refId rel } } } }`;
  expect(await gateway.ask(waiting)).toEqual({
    unclassifiedProjects: {
      nodes: [
        {
          slug: 'newcomer',
          name: 'New comer',
          managedBy: ['mai'],
          parents: [],
          links: [{ refType: 'mai-project', refId: 'newcomer', rel: 'derived-from' }],
        },
      ],
    },
  });
  const parent = await value<string>(
    sides.ours,
    `insert into registry.projects (slug, name) values ('root', 'Root') returning id`,
  );
  const { userErrors } = await mutate('classifyProject', 'project { slug }', {
    project: { slug: 'newcomer' },
    parents: [parent],
  });
  expect(userErrors).toEqual([]);
  expect(await gateway.ask(waiting)).toEqual({ unclassifiedProjects: { nodes: [] } });
  expect(await gateway.ask('{ project(by: { slug: "newcomer" }) { unclassified parents { slug } } }')).toEqual({
    project: { unclassified: false, parents: [{ slug: 'root' }] },
  });
});

describe('a project that the older system still needs', () => {
  test('is not let go: the user error names the table that holds it, and nothing is changed', async () => {
    const { sides } = setting;
    await sides.ours.query(`
      create table mai.workers (id int primary key, project_id text references mai.projects);
      create table mai.tasks (id int primary key, project_id text references mai.projects deferrable initially deferred)`);
    const id = await makeProject(sides, { slug: 'needed', description: 'kept' });
    await sides.ours.query(`insert into mai.workers values (1, 'needed')`);
    const ways = [
      ['updateProject', { project: { id }, managedBy: [], description: 'changed' }],
      ['deactivateProject', { project: { id } }],
      ['deleteProject', { project: { id }, slug: 'needed' }],
    ] as const;
    for (const table of ['mai.workers', 'mai.tasks']) {
      for (const [name, input] of ways) {
        const { userErrors } = await mutate(name, 'project { slug }', input);
        expect(userErrors).toMatchObject([{ code: 'IN_USE', details: { table } }]);
        expect(userErrors[0]?.message).toContain(table);
      }
      await sides.ours.query(
        `insert into mai.tasks values (1, 'needed') on conflict do nothing; delete from mai.workers`,
      );
    }
    expect(await projectOf(sides, 'needed')).toMatchObject({ active: true, managed_by: ['mai'], description: 'kept' });
    expect(await rowById(sides, 'needed')).toMatchObject({ goal: 'kept' });
    await sides.ours.query('drop table mai.workers, mai.tasks');
    expect((await mutate('updateProject', 'project { slug }', { project: { id }, managedBy: [] })).userErrors).toEqual(
      [],
    );
    expect(await findRow(sides, 'needed')).toBeUndefined();
  });
});

test('the mirror’s links are its own: by hand they are neither made nor taken away', async () => {
  const { sides } = setting;
  const id = await makeProject(sides, { slug: 'tied' });
  const link = { project: { id }, refType: 'mai-project', refId: 'tied', rel: 'derived-from' };
  const answer = await setting.gateway.ask<Record<string, { userErrors: UserError[] }>>(
    `mutation ($tied: LinkProjectInput!, $other: LinkProjectInput!) {
      unlinkProject(input: $tied) { userErrors { code } } linkProject(input: $other) { userErrors { code } } }`,
    { tied: link, other: { ...link, refId: 'other' } },
  );
  expect(answer).toEqual({
    unlinkProject: { userErrors: [{ code: 'IN_USE' }] },
    linkProject: { userErrors: [{ code: 'INVALID' }] },
  });
});

describe('drift', () => {
  test('is listed with both sides, and healed in either direction', async () => {
    const { sides } = setting;
    const [one, two] = [await makeProject(sides, { slug: 'one' }), await makeProject(sides, { slug: 'two' })];
    await unmirrored(`update registry.projects set name = 'One here' where slug = 'one';
      update mai.projects set goal = 'two there', metadata = '{"k": 1}' where id = 'two'`);
    expect(await drift([one])).toEqual([
      { project: { slug: 'one' }, maiId: 'one', field: 'name', ours: 'One here', theirs: 'one' },
    ]);
    expect((await drift([two])).map(({ field, ours, theirs }) => [field, ours, theirs])).toEqual([
      ['description', null, 'two there'],
      ['metadata', {}, { k: 1 }],
    ]);
    expect(await drift(null, 1)).toHaveLength(1);
    expect(await reconcile({ direction: 'TO_MAI', projectIds: [one] })).toMatchObject({
      changedCount: 1,
      userErrors: [],
    });
    expect(await reconcile({ direction: 'FROM_MAI' })).toMatchObject({
      changedCount: 1,
      hasMore: false,
      userErrors: [],
    });
    expect(await rowById(sides, 'one')).toMatchObject({ name: 'One here' });
    expect(await projectOf(sides, 'two')).toMatchObject({ description: 'two there', metadata: { k: 1 } });
    expect(await drift()).toEqual([]);
    expect(await reconcile({ direction: 'TO_MAI' })).toMatchObject({ changedCount: 0 });
  });

  test('is healed a part at a time, from where the last part ended', async () => {
    await unmirrored(
      `insert into mai.projects (id, name) select 'part-' || n, 'Part ' || n from generate_series(1, 250) n`,
    );
    expect(await drift(null, 1_000)).toHaveLength(250);
    const parts: Reconciled[] = [];
    for (let after: string | null = null; ; ) {
      const part: Reconciled = await reconcile({ direction: 'FROM_MAI', first: 120, after });
      parts.push(part);
      if (!part.hasMore) break;
      after = part.endCursor;
    }
    expect(parts.map(({ examinedCount }) => examinedCount).slice(0, -1)).toEqual(parts.slice(0, -1).map(() => 120));
    expect(parts.reduce((sum, { changedCount }) => sum + changedCount, 0)).toBe(250);
    expect(await drift()).toEqual([]);
  });

  test('is healed no further when nobody waits for the answer', async () => {
    await unmirrored(
      `insert into mai.projects (id, name) select 'left-' || lpad(n::text, 4, '0'), n from generate_series(1, 2000) n`,
    );
    const { gateway, sides } = setting;
    const keeper = await sides.connectTheirs();
    const leaving = new AbortController();
    try {
      // In the second batch, which waits for it.
      await keeper.query(`begin; select from mai.projects where id = 'left-0700' for update`);
      const asked = fetch(`${gateway.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${gateway.token}` },
        body: JSON.stringify({
          query: 'mutation { reconcileMirror(input: { direction: FROM_MAI }) { changedCount } }',
        }),
        signal: leaving.signal,
      });
      await waitingOn(sides.database.owner);
      leaving.abort();
      await expect(asked).rejects.toThrow();
      await untilAborted();
      await keeper.query('commit');
    } finally {
      await keeper.end();
    }
    // The batch that was under way ends; after it there is none.
    const healed = (ids: string) =>
      value<number>(sides.ours, 'select count(*)::int from mirror.pairs where mai_id like $1', [ids]);
    while ((await healed('left-0700')) === 0);
    const until = await healed('left-%');
    expect(await reconcile({ direction: 'FROM_MAI' })).toMatchObject({ changedCount: 2_000 - until, userErrors: [] });
    expect(await drift()).toEqual([]);
  });

  test('that cannot be healed is told, and keeps no other from it', async () => {
    const { sides } = setting;
    await makeProject(sides, { slug: 'stuck' });
    const id = await makeProject(sides, { slug: 'loose' });
    await sides.ours.query(
      `create table mai.workers (project_id text references mai.projects); insert into mai.workers values ('stuck')`,
    );
    await unmirrored(`update registry.projects set deleted_at = now() where slug = 'stuck';
      update registry.projects set name = 'Loose' where slug = 'loose'`);
    const healed = await reconcile({ direction: 'TO_MAI' });
    expect(healed.changedCount).toBe(1);
    expect(healed.userErrors).toMatchObject([
      { code: 'IN_USE', message: expect.stringContaining('stuck was not healed. Rows of mai.workers still refer') },
    ]);
    expect(await drift([id])).toEqual([]);
    expect(await drift()).toMatchObject([{ project: { slug: 'stuck' }, maiId: 'stuck', field: 'project' }]);
    await sides.ours.query('drop table mai.workers');
    expect(await reconcile({ direction: 'TO_MAI' })).toMatchObject({ changedCount: 1, userErrors: [] });
  });

  test('of long values shows their beginning', async () => {
    await unmirrored(`insert into mai.projects (id, name, goal) values ('long', 'Long', '')`);
    await reconcile({ direction: 'FROM_MAI' });
    await unmirrored(`update mai.projects set goal = repeat('x', 100000) where id = 'long'`);
    const [found] = await drift();
    expect(found).toMatchObject({ field: 'description', ours: null });
    expect(found?.theirs).toBe(`${'x'.repeat(1_000)}…`);
    await reconcile({ direction: 'FROM_MAI' });
    expect(await driftOf(setting.sides)).toEqual([]);
  });
});

describe('what is wrong with a request', () => {
  test('a cursor of the other direction, or of nothing, is refused', async () => {
    await makeProject(setting.sides, { slug: 'cursor' });
    const { endCursor } = await reconcile({ direction: 'TO_MAI', first: 1 });
    for (const after of [endCursor, 'nonsense']) {
      const { errors } = await setting.gateway.request(
        'mutation ($i: ReconcileMirrorInput!) { reconcileMirror(input: $i) { changedCount } }',
        { i: { direction: 'FROM_MAI', after } },
      );
      expect(errors).toMatchObject([{ extensions: { code: 'BAD_CURSOR' } }]);
    }
  });

  test('sizes and ids are checked', async () => {
    const query = 'query ($first: Int, $ids: [ID!]) { mirrorDrift(first: $first, projectIds: $ids) { field } }';
    for (const variables of [{ first: 0 }, { first: 1_001 }, { ids: ['nobody'] }]) {
      const { errors } = await setting.gateway.request(query, variables);
      expect(errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT' } }]);
    }
    expect((await reconcile({ direction: 'TO_MAI', projectIds: ['nobody'] })).userErrors).toMatchObject([
      { code: 'NOT_FOUND' },
    ]);
  });

  test('healing and the status need the scope maintenance; seeing needs registry:read', async () => {
    const { gateway } = setting;
    const reader = await makePerson(gateway, 'reader', ['REGISTRY_READ', 'REGISTRY_WRITE']);
    const as = { token: reader.token };
    for (const document of [
      '{ mirrorStatus { attached } }',
      'mutation { reconcileMirror(input: { direction: TO_MAI }) { changedCount } }',
    ]) {
      const { errors } = await gateway.request(document, {}, as);
      expect(errors).toMatchObject([{ extensions: { code: 'FORBIDDEN' } }]);
    }
    expect(await gateway.ask('{ mirrorDrift { field } }', {}, as)).toEqual({ mirrorDrift: [] });
  });
});

test('an edit that the older system was in the way of is made again, not refused', async () => {
  const { sides } = setting;
  const id = await makeProject(sides, { slug: 'contended' });
  const older = await sides.connectTheirs();
  try {
    await older.query('begin');
    await older.query(`select from mai.projects where id = 'contended' for update`);
    const editing = mutate('updateProject', 'project { name }', { project: { id }, name: 'From here' });
    // It holds the project by now, and waits for the row.
    await waitingOn(sides.database.owner);
    const theirs = older.query(`update mai.projects set goal = 'from there' where id = 'contended'`);
    const ended = await theirs.then(
      () => older.query('commit').then(() => 'went through'),
      (error: { code: string }) => older.query('rollback').then(() => error.code),
    );
    expect((await editing).userErrors).toEqual([]);
    expect(['went through', '40P01']).toContain(ended);
    expect(await rowById(sides, 'contended')).toMatchObject({
      name: 'From here',
      goal: ended === '40P01' ? '' : 'from there',
    });
    expect(await driftOf(sides)).toEqual([]);
  } finally {
    await older.end();
  }
});

/** Resolves when the gateway knows that a client went away before it was answered. */
async function untilAborted(): Promise<void> {
  for (;;) {
    const metrics = await (await fetch(`${setting.gateway.url}/metrics`)).text();
    if (/outcome="aborted"[^\n]*\} [1-9]/.test(metrics)) return;
  }
}

/** Resolves when some statement waits for a lock. */
async function waitingOn(pool: Parameters<typeof value>[0]): Promise<void> {
  for (;;) {
    const waiting = await value<number>(
      pool,
      `select count(*)::int from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    if (waiting > 0) return;
  }
}
