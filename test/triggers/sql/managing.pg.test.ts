import { randomUUID } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { refusalOf, value } from '../../support/sql.ts';
import { as } from '../../sync/transaction.ts';
import {
  ask,
  createTrigger,
  disable,
  everyScope,
  member,
  owner,
  type Person,
  person,
  project,
  saveRoute,
  saveScript,
  updateTrigger,
  withScopes,
} from './setting.ts';

let ada: Person;
let coOwner: Person;
let editor: Person;
let viewer: Person;
let stranger: Person;
let admin: Person;
let place: string;
beforeEach(async () => {
  [ada, coOwner, editor, viewer, stranger] = (await Promise.all(Array.from({ length: 5 }, () => person()))) as [
    Person,
    Person,
    Person,
    Person,
    Person,
  ];
  admin = await person(everyScope);
  place = await project(ada);
  await member(place, coOwner, 'owner');
  await member(place, editor, 'editor');
  await member(place, viewer, 'viewer');
});

/** `ok`, or the code of the refusal. */
async function outcome(action: Promise<unknown>): Promise<string> {
  try {
    await action;
    return 'ok';
  } catch {
    return (await refusalOf(action)).code;
  }
}

/** What comes of an action of each: in the order ada, co-owner, editor, viewer, stranger, administrator. */
async function outcomes(action: (who: Person) => Promise<unknown>): Promise<string[]> {
  const found: string[] = [];
  for (const who of [ada, coOwner, editor, viewer, stranger, admin]) found.push(await outcome(action(who)));
  return found;
}
const [ok, forbidden, unknown] = ['ok', 'FORBIDDEN', 'NOT_FOUND'];

const resaved = { name: 'again', kind: 'operation', document: '{ cursor }', timeout_ms: 500 };
const saveAgain = (who: Person, script: string) => ask(who, 'triggers.save_script($1, $2)', [script, resaved]);
const remove = (who: Person, what: string, id: string) => ask(who, `triggers.delete_${what}($1)`, [id]);
const saveRouteAgain = async (who: Person, route: string, script: string) =>
  ask(who, 'triggers.save_route($1, $2)', [
    route,
    { method: 'POST', path: `/hooks/${route}`, script_id: script, dispatch_mode: 'sync', signature: 'none' },
  ]);

describe('in a project', () => {
  test('its owners save scripts, register triggers and save routes; nobody else does, administrators neither', async () => {
    const expected = [ok, ok, forbidden, forbidden, forbidden, forbidden];
    expect(await outcomes((who) => saveScript(who, place))).toEqual(expected);
    expect(await outcomes((who) => createTrigger(who, place))).toEqual(expected);
    expect(await outcomes((who) => saveRoute(who, place))).toEqual(expected);
  });

  test('only who registered changes; other owners disable and delete; to everybody else it is not there', async () => {
    const script = await saveScript(ada, place);
    const trigger = await createTrigger(ada, place, undefined, { script_id: script });
    const route = await saveRoute(ada, place, { script_id: script });
    const changing = [ok, forbidden, unknown, unknown, unknown, unknown];
    expect(await outcomes((who) => saveAgain(who, script))).toEqual(changing);
    expect(await outcomes((who) => saveRouteAgain(who, route, script))).toEqual(changing);
    const patches = [
      { retry_base_ms: 5 },
      { condition: 'true' },
      { enabled: true },
      { enabled: false, retry_base_ms: 5 },
      {},
    ];
    for (const patch of patches) expect(await outcomes((who) => updateTrigger(who, trigger, patch))).toEqual(changing);
    const respecify = (who: Person) =>
      updateTrigger(who, trigger, { enabled: false }, { kind: 'kv', collection_glob: 'claims' });
    expect(await outcomes(respecify)).toEqual(changing);
    const stopping = [ok, ok, unknown, unknown, unknown, unknown];
    expect(await outcomes((who) => updateTrigger(who, trigger, { enabled: false }))).toEqual(stopping);
    for (const what of ['route', 'trigger', 'script']) {
      const make = { route: saveRoute, trigger: createTrigger, script: saveScript }[what] as typeof saveScript;
      const deleting: string[] = [];
      for (const who of [ada, coOwner, editor, viewer, stranger, admin])
        deleting.push(await outcome(remove(who, what, await make(ada, place))));
      expect(deleting).toEqual(stopping);
    }
  });

  test('what somebody else disabled keeps the scopes of who registered it', async () => {
    const trigger = await createTrigger(withScopes(ada, 'triggers:admin', 'registry:read'), place);
    await updateTrigger(coOwner, trigger, { enabled: false });
    const scopes = () => value<string[]>(owner, 'select scopes from triggers.triggers where id = $1', [trigger]);
    expect(await scopes()).toEqual(['triggers:admin', 'registry:read']);
    await updateTrigger(ada, trigger, { enabled: true });
    expect(await scopes()).toEqual(ada.scopes);
  });

  test('who registered and owns it no more may still disable and delete, and not enable or change', async () => {
    const script = await saveScript(ada, place);
    const trigger = await createTrigger(ada, place, undefined, { script_id: script });
    await owner.query('update registry.projects set owner_id = $2 where id = $1', [place, coOwner.id]);
    expect(await outcome(updateTrigger(ada, trigger, { enabled: false }))).toBe(ok);
    expect(await outcome(updateTrigger(ada, trigger, { enabled: true }))).toBe(forbidden);
    expect(await outcome(saveAgain(ada, script))).toBe(forbidden);
    expect(await outcome(remove(ada, 'trigger', trigger))).toBe(ok);
    expect(await outcome(remove(ada, 'script', script))).toBe(ok);
  });

  test('nothing goes without the scope triggers:admin', async () => {
    const [script, trigger, route] = [
      await saveScript(ada, place),
      await createTrigger(ada, place),
      await saveRoute(ada, place),
    ];
    const poor = withScopes(ada, 'registry:read', 'registry:write', 'chat', 'sync', 'maintenance');
    const actions = [
      () => saveScript(poor, place),
      () => saveAgain(poor, script),
      () => remove(poor, 'script', script),
      () => createTrigger(poor, place, undefined, { script_id: script }),
      () => updateTrigger(poor, trigger, { enabled: false }),
      () => remove(poor, 'trigger', trigger),
      () => saveRoute(poor, place, { script_id: script }),
      () => saveRouteAgain(poor, route, script),
      () => remove(poor, 'route', route),
      () => ask(poor, `triggers.resolve_dead_letters('{}', null, 10, 'ignored')`),
      () => ask(poor, `triggers.invoke($1, '{}', gen_random_uuid(), 1000, 8)`, [script]),
    ];
    for (const action of actions) expect(await outcome(action())).toBe(forbidden);
  });
});

describe('without an owner', () => {
  test("a project is its administrators' as long as it has none", async () => {
    const ownerless = await project(null);
    await member(ownerless, editor, 'editor');
    const trigger = await createTrigger(admin, ownerless);
    const [another, theirs] = [await person(everyScope), await person(everyScope)];
    expect(await outcome(createTrigger(editor, ownerless))).toBe(forbidden);
    expect(await outcome(createTrigger(stranger, ownerless))).toBe(forbidden);
    expect(await outcome(updateTrigger(editor, trigger, { enabled: false }))).toBe(unknown);
    expect(await outcome(updateTrigger(another, trigger, { retry_base_ms: 7 }))).toBe(forbidden);
    expect(await outcome(updateTrigger(another, trigger, { enabled: false }))).toBe(ok);
    await owner.query('update registry.projects set owner_id = $2 where id = $1', [ownerless, ada.id]);
    expect(await outcome(updateTrigger(theirs, trigger, { enabled: false }))).toBe(unknown);
    expect(await outcome(updateTrigger(ada, trigger, { enabled: false }))).toBe(ok);
    expect(await outcome(updateTrigger(admin, trigger, { enabled: true }))).toBe(forbidden);
  });

  test("what is of the whole registry is the administrators'", async () => {
    const trigger = await createTrigger(admin, null);
    expect(await outcomes((who) => saveScript(who, null))).toEqual([...Array.from({ length: 5 }, () => forbidden), ok]);
    expect(await outcomes((who) => createTrigger(who, null))).toEqual([
      ...Array.from({ length: 5 }, () => forbidden),
      ok,
    ]);
    expect(await outcomes((who) => saveRoute(who, null))).toEqual([...Array.from({ length: 5 }, () => forbidden), ok]);
    expect(await outcomes((who) => updateTrigger(who, trigger, { enabled: false }))).toEqual([
      ...Array.from({ length: 5 }, () => unknown),
      ok,
    ]);
  });
});

test('what is of somebody else and what is not there are told apart by nothing', async () => {
  const [script, trigger, route] = [
    await saveScript(ada, place),
    await createTrigger(ada, place),
    await saveRoute(ada, place),
  ];
  const actions: [string, (id: string) => Promise<unknown>][] = [
    [script, (id) => saveAgain(stranger, id)],
    [script, (id) => remove(stranger, 'script', id)],
    [script, (id) => ask(stranger, `triggers.invoke($1, '{}', gen_random_uuid(), 1000, 8)`, [id])],
    [trigger, (id) => updateTrigger(stranger, id, { enabled: false })],
    [trigger, (id) => remove(stranger, 'trigger', id)],
    [route, (id) => saveRouteAgain(stranger, id, script)],
    [route, (id) => remove(stranger, 'route', id)],
  ];
  const own = await project(stranger);
  actions.push([script, (id) => createTrigger(stranger, own, undefined, { script_id: id })]);
  actions.push([script, (id) => saveRoute(stranger, own, { script_id: id })]);
  for (const [id, action] of actions) {
    const [foreign, absent] = [
      await refusalOf(action(id)),
      await refusalOf(action('00000000-0000-4000-8000-000000000000')),
    ];
    expect(foreign.code).toBe('NOT_FOUND');
    expect(foreign).toEqual({ ...absent, message: absent.message.replace('00000000-0000-4000-8000-000000000000', id) });
  }
  expect(await outcome(createTrigger(ada, randomUUID()))).toBe(unknown);
});

describe('a SQL user', () => {
  const asSqlUser = <T>(user: string, call: string, values: unknown[]) =>
    as(owner, user, (client) => value<T>(client, `select ${call}`, values));

  test('says in whose name it registers, with as much as that one may; a disabled one is nobody', async () => {
    const script = { project_id: place, name: 'of psql', kind: 'operation', document: '{ cursor }', timeout_ms: 1_000 };
    const save = (user: string) => asSqlUser<string>(user, 'triggers.save_script(null, $1)', [script]);
    expect(await outcome(save(''))).toBe('INVALID');
    const id = await save(viewer.id);
    expect(await value(owner, 'select row(created_by, scopes)::text from triggers.scripts where id = $1', [id])).toBe(
      await value(owner, 'select row($1::uuid, $2::text[])::text', [viewer.id, viewer.scopes]),
    );
    await disable(viewer);
    expect(await outcome(save(viewer.id))).toBe('INVALID');
  });

  test('deletes whatever anybody registered, and says in whose name it changes', async () => {
    const trigger = await createTrigger(ada, place);
    const disabling = (user: string) =>
      asSqlUser(user, `triggers.update_trigger($1, '{"enabled": false}', null)`, [trigger]);
    expect(await outcome(disabling(''))).toBe('INVALID');
    expect(await outcome(disabling(stranger.id))).toBe(ok);
    expect(await outcome(asSqlUser('', 'triggers.delete_trigger($1)', [trigger]))).toBe(ok);
  });
});
