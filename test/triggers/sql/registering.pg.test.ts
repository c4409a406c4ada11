import pg from 'pg';
import { beforeEach, describe, expect, test } from 'vitest';
import { refusalOf, rows, value } from '../../support/sql.ts';
import { claimOne, enqueue } from './running.ts';
import {
  anything,
  ask,
  connect,
  createTrigger,
  everyScope,
  member,
  owner,
  type Person,
  person,
  project,
  saveRoute,
  saveScript,
  type TriggerColumns,
  updateTrigger,
  webhook,
  withScopes,
} from './setting.ts';

let ada: Person;
let place: string;
beforeEach(async () => {
  ada = await person();
  place = await project(ada);
});

/** The constraint that a statement violates, or what it lacks. */
async function violated(statement: Promise<unknown>): Promise<string> {
  try {
    await statement;
  } catch (error) {
    if (error instanceof pg.DatabaseError) return error.constraint ?? error.message;
    throw error;
  }
  return 'nothing';
}

const operation = { kind: 'operation', name: 'again', document: '{ cursor }', timeout_ms: 500 };
const saveAgain = (who: Person, script: string, columns: Record<string, unknown>) =>
  ask(who, 'triggers.save_script($1, $2)', [script, columns]);

async function scriptRow(id: string): Promise<Record<string, unknown>> {
  const [row] = await rows<Record<string, unknown>>(
    owner,
    `select name, document, variables, url, secret, headers, timeout_ms, created_by, scopes, deleted_at is not null as deleted
     from triggers.scripts where id = $1`,
    [id],
  );
  return row ?? {};
}

describe('a script', () => {
  test('is saved again as a whole, but for the secret and the headers, which nobody can read', async () => {
    const headers = { authorization: 'Bearer x' };
    const script = await saveScript(ada, place, { ...webhook, headers, variables: { a: '=b' } });
    expect(await scriptRow(script)).toMatchObject({
      url: webhook.url,
      secret: webhook.secret,
      headers,
      variables: { a: '=b' },
      created_by: ada.id,
      scopes: ada.scopes,
    });
    const poorer = withScopes(ada, 'triggers:admin', 'registry:read');
    const again = { kind: 'webhook', name: 'again', url: 'https://other.example/', timeout_ms: 700 };
    await saveAgain(poorer, script, again);
    expect(await scriptRow(script)).toMatchObject({
      name: 'again',
      url: 'https://other.example/',
      timeout_ms: 700,
      variables: null,
      secret: webhook.secret,
      headers,
      scopes: poorer.scopes,
    });
    await saveAgain(ada, script, { ...again, secret: 'whsec_bmV3', headers: {}, variables: null });
    expect(await scriptRow(script)).toMatchObject({
      secret: 'whsec_bmV3',
      headers: {},
      variables: null,
      scopes: ada.scopes,
    });
  });

  test('stays in its project and of its kind', async () => {
    const script = await saveScript(ada, place);
    const there = await project(ada);
    for (const project_id of [there, null]) {
      const moved = await refusalOf(saveAgain(ada, script, { ...operation, project_id }));
      expect(moved).toMatchObject({ code: 'INVALID', details: { field: 'project' } });
    }
    expect((await refusalOf(saveAgain(ada, script, { ...operation, ...webhook }))).code).toBe('INVALID');
    await saveAgain(ada, script, { ...operation, project_id: place });
    expect((await scriptRow(script)).name).toBe('again');
  });

  test('has a name of its own in its project, or in the whole registry; that of a deleted one is free', async () => {
    const admin = await person(everyScope);
    const name = 'the only one';
    const script = await saveScript(ada, place, { name });
    expect(await violated(saveScript(ada, place, { name }))).toBe('scripts_name_key');
    await saveScript(ada, await project(ada), { name });
    await saveScript(admin, null, { name });
    expect(await violated(saveScript(admin, null, { name }))).toBe('scripts_name_key');
    await ask(ada, 'triggers.delete_script($1)', [script]);
    await saveScript(ada, place, { name });
    expect((await refusalOf(saveAgain(ada, script, operation))).code).toBe('NOT_FOUND');
  });

  test('is deleted only when nothing runs it; what it kept to itself goes at once', async () => {
    const script_id = await saveScript(ada, place, { ...webhook, headers: { a: 'b' } });
    const trigger = await createTrigger(ada, place, anything, { script_id });
    const route = await saveRoute(ada, place, { script_id });
    const remove = () => ask(ada, 'triggers.delete_script($1)', [script_id]);
    expect(await refusalOf(remove())).toMatchObject({ code: 'IN_USE', details: { count: 2 } });
    await ask(ada, 'triggers.delete_trigger($1)', [trigger]);
    expect(await refusalOf(remove())).toMatchObject({ code: 'IN_USE', details: { count: 1 } });
    await ask(ada, 'triggers.delete_route($1)', [route]);
    await enqueue(ada, script_id, { lane: 'webhook' });
    await remove();
    expect(await scriptRow(script_id)).toMatchObject({ deleted: true, secret: null, headers: {}, url: webhook.url });
    expect(await claimOne()).toMatchObject({ script_deleted: true });
    for (const action of [
      remove,
      () => createTrigger(ada, place, anything, { script_id }),
      () => saveRoute(ada, place, { script_id }),
    ])
      expect((await refusalOf(action())).code).toBe('NOT_FOUND');
  });

  test('is not deleted while somebody registers a trigger of it, nor taken while somebody deletes it', async () => {
    const script_id = await saveScript(ada, place);
    const client = await connect();
    await client.query('begin');
    await client.query(`select set_config('app.current_user_id', $1, true)`, [ada.id]);
    const columns = { project_id: place, script_id };
    await client.query('select triggers.create_trigger($1, $2)', [columns, anything]);
    const removing = refusalOf(ask(ada, 'triggers.delete_script($1)', [script_id]));
    await client.query('commit');
    expect((await removing).code).toBe('IN_USE');
    const other = await saveScript(ada, place);
    await client.query('begin');
    await client.query('select triggers.delete_script($1)', [other]);
    const taking = refusalOf(createTrigger(ada, place, anything, { script_id: other }));
    await client.query('commit');
    expect((await taking).code).toBe('NOT_FOUND');
  });

  test.each([
    ['scripts_name_check', { name: ' ' }],
    ['scripts_name_check', { name: 'n'.repeat(201) }],
    ['scripts_kind_check', { kind: 'shell', document: null }],
    ['scripts_operation_check', { document: null }],
    ['scripts_webhook_check', { url: 'https://x.example' }],
    ['scripts_operation_check', { ...webhook, document: '{ cursor }' }],
    ['scripts_webhook_check', { ...webhook, url: null }],
    ['scripts_secret_check', { ...webhook, secret: null }],
    ['scripts_secret_check', { secret: 'whsec_x' }],
    ['scripts_document_check', { document: '#'.repeat(100_001) }],
    ['scripts_variables_check', { variables: ['x'.repeat(100_001)] }],
    ['scripts_url_check', { ...webhook, url: 'ftp://x.example' }],
    ['scripts_url_check', { ...webhook, url: `https://${'x'.repeat(2_000)}` }],
    ['scripts_headers_check', { ...webhook, headers: ['a'] }],
    ['scripts_headers_check', { ...webhook, headers: { a: 'x'.repeat(20_001) } }],
    ['scripts_timeout_ms_check', { timeout_ms: 99 }],
    ['scripts_timeout_ms_check', { timeout_ms: 300_001 }],
  ])('is held to %s: %#', async (constraint, columns) => {
    expect(await violated(saveScript(ada, place, columns))).toBe(constraint);
  });
});

describe('a trigger or route', () => {
  test('takes a script of its own registrant and of the same project only', async () => {
    const [other, admin] = [await person(), await person(everyScope)];
    await member(place, other, 'owner');
    const own = await project(admin);
    const [theirs, there, everywhere, here] = [
      await saveScript(other, place),
      await saveScript(ada, await project(ada)),
      await saveScript(admin, null),
      await saveScript(admin, own),
    ];
    for (const take of [
      (who: Person, where: string | null, script_id: string) => createTrigger(who, where, anything, { script_id }),
      (who: Person, where: string | null, script_id: string) => saveRoute(who, where, { script_id }),
    ]) {
      const field = { details: { field: 'script' } };
      expect(await refusalOf(take(ada, place, theirs))).toMatchObject({ code: 'FORBIDDEN', ...field });
      expect(await refusalOf(take(ada, place, there))).toMatchObject({ code: 'INVALID', ...field });
      expect(await refusalOf(take(admin, own, everywhere))).toMatchObject({ code: 'INVALID', ...field });
      expect(await refusalOf(take(admin, null, here))).toMatchObject({ code: 'INVALID', ...field });
      await take(admin, null, everywhere);
    }
  });

  test('keeps the scopes of the token that registered it, and those of the one that changed it', async () => {
    const poorer = withScopes(ada, 'triggers:admin', 'registry:read');
    const trigger = await createTrigger(poorer, place);
    const scopes = () => value<string[]>(owner, 'select scopes from triggers.triggers where id = $1', [trigger]);
    expect(await scopes()).toEqual(poorer.scopes);
    await updateTrigger(ada, trigger, { retry_max_attempts: 2 });
    expect(await scopes()).toEqual(ada.scopes);
  });

  test('keeps its kind; what a patch does not name stays', async () => {
    const columns = { condition: 'true', retry_max_attempts: 9, retry_backoff: 'linear', retry_base_ms: 3 };
    const trigger = await createTrigger(
      ada,
      place,
      { kind: 'kv', collection_glob: 'claims', ops: ['delete'] },
      columns,
    );
    expect((await refusalOf(updateTrigger(ada, trigger, {}, { kind: 'cron', expression: '* * * * *' }))).code).toBe(
      'INVALID',
    );
    const now = () =>
      rows(
        owner,
        `select enabled, condition, retry_max_attempts, retry_backoff, retry_base_ms, collection_glob, ops
         from triggers.triggers t join triggers.kv_trigger_details k on k.trigger_id = t.id where t.id = $1`,
        [trigger],
      );
    const kept = { enabled: true, ...columns, collection_glob: 'claims', ops: ['delete'] };
    await updateTrigger(ada, trigger, {});
    expect(await now()).toEqual([kept]);
    await updateTrigger(ada, trigger, { enabled: false, retry_base_ms: 4 });
    await updateTrigger(ada, trigger, { condition: null }, { kind: 'kv', collection_glob: '*', ops: [] });
    expect(await now()).toEqual([
      { ...kept, enabled: false, retry_base_ms: 4, condition: null, collection_glob: '*', ops: [] },
    ]);
  });

  test.each<[string, TriggerColumns, Record<string, unknown>]>([
    ['triggers_condition_check', { condition: 'x'.repeat(10_001) }, anything],
    ['triggers_retry_max_attempts_check', { retry_max_attempts: 0 }, anything],
    ['triggers_retry_max_attempts_check', { retry_max_attempts: 101 }, anything],
    ['triggers_retry_backoff_check', { retry_backoff: 'never' }, anything],
    ['triggers_retry_base_ms_check', { retry_base_ms: 0 }, anything],
    ['triggers_retry_base_ms_check', { retry_base_ms: 3_600_001 }, anything],
    ['triggers_dispatch_mode_check', { dispatch_mode: 'sync' }, anything],
    ['triggers_kind_check', {}, { kind: 'route' }],
    ['dead_letter_trigger_details_source_filter_check', {}, { kind: 'dead_letter', source_filter: 'x' }],
    ['cron_trigger_details_expression_check', {}, { kind: 'cron', expression: ' ' }],
    ['cron_trigger_details_timezone_check', {}, { kind: 'cron', expression: '* * * * *', timezone: '' }],
    ['cron_trigger_details_catch_up_check', {}, { kind: 'cron', expression: '* * * * *', catch_up: 'some' }],
  ])('is held to %s: %#', async (constraint, columns, spec) => {
    expect(await violated(createTrigger(ada, place, spec, columns))).toBe(constraint);
  });

  test('tells the dispatchers that it is there, or changed', async () => {
    const listener = await connect();
    await listener.query('listen treeline_triggers');
    const told = () =>
      new Promise<string>((resolve) => listener.once('notification', ({ channel }) => resolve(channel)));
    const registered = told();
    const trigger = await createTrigger(ada, place);
    expect(await registered).toBe('treeline_triggers');
    const changed = told();
    await updateTrigger(ada, trigger, { retry_base_ms: 5 });
    expect(await changed).toBe('treeline_triggers');
  });
});
