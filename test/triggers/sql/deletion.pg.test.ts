import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { beforeEach, describe, expect, test } from 'vitest';
import { value } from '../../support/sql.ts';
import { log, match, matchPage, waiting } from './matching.ts';
import { bury, claimOne, type Ending, enqueue, failed, finish } from './running.ts';
import { connect, createTrigger, owner, type Person, person, project, saveRoute, saveScript } from './setting.ts';

let ada: Person;
let place: string;
beforeEach(async () => {
  await owner.query('delete from triggers.outbox');
  ada = await person();
  place = await project(ada);
});

const count = (from: string, values: unknown[] = []) =>
  value<number>(owner, `select count(*)::int from triggers.${from}`, values);

const tables = ['scripts', 'triggers', 'routes', 'outbox', 'executions', 'dead_letters', 'abandoned_executions'];
/** How much of each table is of a project. */
async function holdings(projectId: string): Promise<Record<string, number>> {
  const counts = await Promise.all(tables.map((table) => count(`${table} where project_id = $1`, [projectId])));
  return Object.fromEntries(tables.map((table, n) => [table, counts[n] ?? Number.NaN]));
}
const nothing = Object.fromEntries(tables.map((table) => [table, 0]));

const deleteProject = (client: pg.Pool | pg.Client = owner): Promise<unknown> =>
  client.query('delete from registry.projects where id = $1', [place]);

/** Something of each kind; @returns how much that is */
async function fill(projectId: string): Promise<Record<string, number>> {
  const script_id = await saveScript(ada, projectId);
  const specs = [
    { kind: 'kv', collection_glob: '*' },
    { kind: 'dead_letter' },
    { kind: 'cron', expression: '* * * * *' },
  ];
  for (const spec of specs) await createTrigger(ada, projectId, spec, { script_id });
  const route = await saveRoute(ada, projectId, { script_id });
  await owner.query(`insert into triggers.received_messages values ($1, 'one')`, [route]);
  await enqueue(ada, script_id, { project_id: projectId });
  await finish([await claimOne()]);
  await enqueue(ada, script_id, { project_id: projectId });
  await claimOne();
  await enqueue(ada, script_id, { project_id: projectId, overdue_ms: -60_000 });
  await bury(ada, script_id, { project_id: projectId });
  await owner.query(
    `insert into triggers.abandoned_executions (reply_to, execution_id, project_id, script_id, principal_id) values ($1, $1, $2, $3, $4)`,
    [randomUUID(), projectId, script_id, ada.id],
  );
  return { scripts: 1, triggers: 3, routes: 1, outbox: 2, executions: 2, dead_letters: 1, abandoned_executions: 1 };
}

test('a project takes along all that is of it, also what is run just now, and nothing else', async () => {
  const kept = await project(ada);
  const filled = await fill(place);
  await fill(kept);
  expect(await holdings(place)).toEqual(filled);
  await deleteProject();
  expect([await holdings(place), await holdings(kept)]).toEqual([nothing, filled]);
  for (const details of ['kv', 'dead_letter', 'cron']) expect(await count(`${details}_trigger_details`)).toBe(1);
  expect(await count('received_messages')).toBe(1);
});

describe('nothing is left of a project that goes', () => {
  /** What somebody does in a transaction, with the deletion begun before its end; it may wait for it. */
  async function goesDuring(
    action: (client: pg.Client) => Promise<unknown>,
    gone: (client: pg.Client) => Promise<unknown> = deleteProject,
  ): Promise<void> {
    const [client, deleting] = [await connect(), await connect()];
    const pid = await value<number>(deleting, 'select pg_backend_pid()');
    await client.query('begin');
    await action(client);
    let over = false;
    const deleted = gone(deleting).finally(() => {
      over = true;
    });
    // The server tells nobody that somebody waits, so it is asked again and again.
    while (!over && !(await value<boolean>(owner, 'select cardinality(pg_blocking_pids($1)) > 0', [pid])));
    await client.query('commit');
    await deleted;
  }

  test.each<[string, Ending]>([
    ['succeeds', {}],
    ['is put off', failed],
    ['fails for good', { ...failed, permanent: true }],
  ])('while an attempt %s', async (_, ending) => {
    await enqueue(ada, await saveScript(ada, place), { project_id: place });
    const row = await claimOne();
    await goesDuring((client) => finish([row], ending, { client }));
    expect(await holdings(place)).toEqual(nothing);
  });

  test('while a result comes, whoever is first', async () => {
    for (let n = 0; n < 20; n += 1) {
      place = await project(ada);
      await enqueue(ada, await saveScript(ada, place), { project_id: place });
      const row = await claimOne();
      await Promise.all([finish([row], { ...failed, permanent: true }), deleteProject()]);
      expect(await holdings(place)).toEqual(nothing);
    }
  });

  test('while a change of it is matched', async () => {
    await createTrigger(ada, place);
    await log({ project_id: place });
    await goesDuring((client) => matchPage(client));
    expect(await holdings(place)).toEqual(nothing);
  });

  test('while a letter of it is replayed', async () => {
    const letter = await bury(ada, await saveScript(ada, place), { project_id: place });
    await goesDuring((client) =>
      client.query(`select triggers.resolve_dead_letters($1, null, 10, 'replayed')`, [[letter]]),
    );
    expect(await holdings(place)).toEqual(nothing);
  });

  test('while a request comes in', async () => {
    const route = await saveRoute(ada, place);
    await goesDuring((client) => client.query(`select triggers.receive($1, 'm', '{}', 0, 8)`, [route]));
    expect(await holdings(place)).toEqual(nothing);
  });

  test('nor of a trigger, while a change is matched that sets it off', async () => {
    const trigger = await createTrigger(ada, place);
    await match();
    await log({ project_id: place });
    await goesDuring(
      (client) => matchPage(client),
      (client) => client.query('select triggers.delete_trigger($1)', [trigger]),
    );
    expect(await waiting(trigger)).toEqual([]);
  });
});
