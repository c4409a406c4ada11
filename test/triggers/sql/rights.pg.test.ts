import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { rows, value } from '../../support/sql.ts';
import { bury, claimOne, enqueue, finish } from './running.ts';
import {
  asking,
  createTrigger,
  everyScope,
  member,
  owner,
  type Person,
  person,
  project,
  saveRoute,
  saveScript,
  webhook,
} from './setting.ts';

let ada: Person;
let coOwner: Person;
let editor: Person;
let stranger: Person;
let admin: Person;
let projects: { owned: string; ownerless: string };
beforeAll(async () => {
  [ada, coOwner, editor, stranger] = [await person(), await person(), await person(), await person()];
  admin = await person(everyScope);
  projects = { owned: await project(ada), ownerless: await project(null) };
  await member(projects.owned, coOwner, 'owner');
  await member(projects.owned, editor, 'editor');
  await fill(ada, projects.owned);
  await fill(admin, projects.ownerless);
  await fill(admin, null);
});

/** One row in each table, three triggers with their details. */
async function fill(who: Person, projectId: string | null): Promise<void> {
  const script_id = await saveScript(who, projectId, { ...webhook, headers: { authorization: 'Bearer hidden' } });
  const specs = [
    { kind: 'kv', collection_glob: '*' },
    { kind: 'dead_letter' },
    { kind: 'cron', expression: '* * * * *', next_due_at: 'infinity' },
  ];
  for (const spec of specs) await createTrigger(who, projectId, spec, { script_id });
  const route = await saveRoute(who, projectId, { script_id, signature: 'standard', secret: webhook.secret });
  await owner.query(`insert into triggers.received_messages values ($1, 'one')`, [route]);
  await enqueue(who, script_id, { project_id: projectId });
  await finish([await claimOne()]);
  await enqueue(who, script_id, { project_id: projectId, overdue_ms: -3_600_000 });
  await bury(who, script_id, { project_id: projectId });
  await owner.query(
    `with reply as (insert into triggers.replies (reply_to, wait_until) values ($1, 'infinity') returning reply_to)
     insert into triggers.abandoned_executions (reply_to, execution_id, project_id, script_id, principal_id)
     select reply_to, $1, $2, $3, $4 from reply`,
    [randomUUID(), projectId, script_id, who.id],
  );
}

const tables = () =>
  rows<{ name: string }>(
    owner,
    `select relname as name from pg_class where relnamespace = 'triggers'::regnamespace and relkind in ('r', 'p') order by 1`,
  );
/** Of each, one row for each of the three that were filled, but for triggers. */
const visible = [
  'abandoned_executions',
  'cron_trigger_details',
  'dead_letter_trigger_details',
  'dead_letters',
  'executions',
  'kv_trigger_details',
  'outbox',
  'routes',
  'scripts',
  'triggers',
];
const hidden = ['candidates', 'received_messages', 'replies', 'state'];

/** How many rows of each table somebody sees. */
async function seen(who: Person): Promise<Record<string, number>> {
  return asking(who, async (client) => {
    const counts: Record<string, number> = {};
    for (const table of visible)
      counts[table] = await value<number>(client, `select count(*)::int from triggers.${table}`);
    return counts;
  });
}
const sets = (count: number) =>
  Object.fromEntries(visible.map((table) => [table, table === 'triggers' ? 3 * count : count]));

/** The SQLSTATE that request work gets. */
async function stateOf(who: Person, statement: string, values: unknown[] = []): Promise<string> {
  try {
    await asking(who, (client) => client.query(statement, values));
    return 'passed';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

describe('what is registered and what came of it', () => {
  test('is seen by the registrant, the owners of the project, and where there is none administrators', async () => {
    expect(await seen(ada)).toEqual(sets(1));
    expect(await seen(coOwner)).toEqual(sets(1));
    expect(await seen(admin)).toEqual(sets(2));
    const other = await person(everyScope);
    expect(await seen(other)).toEqual(sets(2));
    for (const who of [editor, stranger]) expect(await seen(who)).toEqual(sets(0));
  });

  test('is still seen by the registrant who owns the project no more, and by nobody who is nobody', async () => {
    await owner.query('update registry.projects set owner_id = $2 where id = $1', [projects.owned, stranger.id]);
    expect([await seen(ada), await seen(stranger)]).toEqual([sets(1), sets(1)]);
    await owner.query('update registry.projects set owner_id = $2 where id = $1', [projects.owned, ada.id]);
    for (const nobody of ['', 'x', randomUUID()])
      expect(await seen({ id: nobody, scopes: ['triggers:admin'] })).toEqual(sets(0));
  });

  test('is in tables that all have policies', async () => {
    expect((await tables()).map(({ name }) => name).sort()).toEqual([...visible, ...hidden].sort());
    const open = await rows(
      owner,
      `select relname from pg_class where relnamespace = 'triggers'::regnamespace and relkind in ('r', 'p') and not relrowsecurity`,
    );
    expect(open).toEqual([]);
  });
});

describe('request work', () => {
  const denied = '42501';

  test('writes none of the tables', async () => {
    for (const { name } of await tables()) {
      const [column] = await rows<{ attname: string }>(
        owner,
        `select attname from pg_attribute where attrelid = $1::regclass and attnum > 0 and attidentity = '' order by attnum limit 1`,
        [`triggers.${name}`],
      );
      for (const statement of [
        `insert into triggers.${name} default values`,
        `update triggers.${name} set ${column?.attname} = ${column?.attname}`,
        `delete from triggers.${name}`,
        `truncate triggers.${name}`,
      ])
        expect([statement, await stateOf(admin, statement)]).toEqual([statement, denied]);
    }
  });

  test('reads no secret, no header, and nothing of how far the log was matched or who waits', async () => {
    for (const what of [
      'secret from triggers.scripts',
      'headers from triggers.scripts',
      'secret from triggers.routes',
      '* from triggers.scripts',
      '* from triggers.routes',
    ])
      expect([what, await stateOf(ada, `select ${what}`)]).toEqual([what, denied]);
    for (const table of hidden)
      expect([table, await stateOf(admin, `select from triggers.${table}`)]).toEqual([table, denied]);
    // What is kept of a webhook elsewhere does not tell it either.
    const told = await asking(ada, (client) =>
      value<string>(
        client,
        `select string_agg(t::text, '') from (select to_jsonb(o) as t from triggers.outbox o union all select to_jsonb(e) from triggers.executions e
        union all select to_jsonb(d) from triggers.dead_letters d) x`,
      ),
    );
    expect(told).not.toMatch(/whsec_|Bearer/);
  });

  test('calls what it is meant to call, and nothing that dispatchers do', async () => {
    const callable = await rows<{ name: string }>(
      owner,
      `select p.proname as name from pg_proc p where p.pronamespace = 'triggers'::regnamespace
       and has_function_privilege('treeline_runtime', p.oid, 'execute') order by 1`,
    );
    expect(callable.map(({ name }) => name)).toEqual([
      'collect_reply',
      'create_trigger',
      'delete_route',
      'delete_script',
      'delete_trigger',
      'find_route',
      'glob_matches',
      'health',
      'invoke',
      'leave_reply',
      'receive',
      'resolve_dead_letters',
      'save_route',
      'save_script',
      'update_trigger',
    ]);
    for (const call of [
      `match_page(10, 8)`,
      `take_candidates(1, '{}', '{}', 1)`,
      `settle_candidates('[]', 8)`,
      `claim('w', 1000, '{}', 1)`,
      `finish('w', '[]')`,
      `reclaim(10)`,
      `bury('{}')`,
      `drop_old(1, 1, 1)`,
      `sweep_replies()`,
      `due_crons(1)`,
    ])
      expect([call, await stateOf(admin, `select triggers.${call}`)]).toEqual([call, denied]);
  });

  test('of nobody registers nothing, whatever scopes it says that it has', async () => {
    const script = {
      project_id: projects.owned,
      name: 'x',
      kind: 'operation',
      document: '{ cursor }',
      timeout_ms: 500,
    };
    for (const nobody of ['', 'x', randomUUID()]) {
      const saving = stateOf({ id: nobody, scopes: everyScope }, 'select triggers.save_script(null, $1)', [script]);
      expect(await saving).toBe('22023');
    }
  });
});
