import { beforeAll, describe, expect, test } from 'vitest';
import { makePerson, type Person, setMember } from '../../support/people.ts';
import { value } from '../../support/sql.ts';
import { done, keyIn, manager, mutate, refused, saveScript, setOff, triggersGateway } from './asking.ts';

const setting = triggersGateway();
let script: string;
beforeAll(async () => {
  script = await saveScript(setting, { name: 'run' });
});

const fields = `id method path dispatchMode signature retryMaxAttempts retryBackoff retryBaseMs scopes project { slug } script { name }
  registeredBy { handle }`;

interface Route {
  id: string;
  path: string;
}

let made = 0;
const save = (input: Record<string, unknown>, person: Person = setting.grace) => {
  made += 1;
  return mutate<{ route: Route | null; secret: string | null }>(
    setting,
    'saveRoute',
    `route { ${fields} } secret`,
    { project: { slug: 'hopper' }, method: 'POST', path: `made-${made}`, script, ...input },
    person,
  );
};

const secretOf = (id: string) =>
  value<string | null>(setting.gateway.database.owner, 'select secret from triggers.routes where id = $1', [keyIn(id)]);

async function paths(args: string, person: Person = setting.grace): Promise<string[]> {
  const { routes } = await setting.gateway.ask<{ routes: { nodes: Route[] } }>(
    `{ routes${args} { nodes { path } } }`,
    {},
    { token: person.token },
  );
  return routes.nodes.map(({ path }) => path);
}

describe('saveRoute', () => {
  test('makes one, and shows the secret that it made once', async () => {
    const { route, secret } = await done(save({ method: 'put', path: 'github/push', dispatchMode: 'SYNC' }));
    expect(route).toMatchObject({
      method: 'PUT',
      path: '/hooks/github/push',
      dispatchMode: 'SYNC',
      signature: 'STANDARD',
      retryMaxAttempts: 3,
      retryBackoff: 'EXPONENTIAL',
      retryBaseMs: 1_000,
      scopes: expect.arrayContaining(manager),
      project: { slug: 'hopper' },
      script: { name: 'run' },
      registeredBy: { handle: 'grace' },
    });
    expect(secret).toMatch(/^whsec_/);
    expect(secret).toBe(await secretOf(route?.id ?? ''));
    const everything = await setting.gateway.ask(
      `query ($id: ID!) { node(id: $id) { ... on Route { ${fields} } } }`,
      { id: route?.id },
      { token: setting.grace.token },
    );
    expect(JSON.stringify(everything)).not.toContain('whsec_');
  });

  test.each(['a/b', '/a/b', '/hooks/a/b', 'hooks/a/b'])('reads the path %s as /hooks/a/b', async (path) => {
    const { route } = await done(save({ path, signature: 'NONE' }));
    expect(route?.path).toBe('/hooks/a/b');
    await done(mutate(setting, 'deleteRoute', 'route { id }', { id: route?.id }, setting.grace));
  });

  test('makes a secret whenever one is needed: a new one, or for another signature', async () => {
    const { route, secret: first } = await done(save({ signature: 'GITHUB' }));
    const id = route?.id ?? '';
    const kept = await done(save({ id, signature: 'GITHUB', path: 'kept' }));
    expect([kept.secret, kept.route?.path, await secretOf(id)]).toEqual([null, '/hooks/kept', first]);
    const other = await done(save({ id, signature: 'STANDARD' }));
    expect(other.secret).not.toBe(first);
    expect(await secretOf(id)).toBe(other.secret);
    expect((await done(save({ id, signature: 'NONE' }))).secret).toBeNull();
    expect(await secretOf(id)).toBeNull();
    const own = await done(save({ id, signature: 'GITHUB', secret: 'as it is set there' }));
    expect([own.secret, await secretOf(id)]).toEqual([null, 'as it is set there']);
  });

  test('says what is wrong with it, at its place', async () => {
    await done(save({ path: 'taken' }));
    const cases: [Record<string, unknown>, [string, string][]][] = [
      [{ method: 'TRACE' }, [['INVALID', 'input.method']]],
      [{ path: 'a b' }, [['INVALID', 'input.path']]],
      [{ path: '/hooks' }, [['INVALID', 'input.path']]],
      [{ path: '/hooks/taken' }, [['CONFLICT', 'input.path']]],
      [{ secret: 'short' }, [['INVALID', 'input.secret']]],
      [{ signature: 'NONE', secret: 'as it is set there' }, [['INVALID', 'input.secret']]],
      [{ script: 'nonsense' }, [['NOT_FOUND', 'input.script']]],
      [{ id: 'nonsense' }, [['NOT_FOUND', 'input.id']]],
      [{ id: setting.projectId }, [['NOT_FOUND', 'input.id']]],
      [{ project: { slug: 'nowhere' } }, [['NOT_FOUND', 'input.project']]],
      [{ project: null }, [['FORBIDDEN', 'input']]],
    ];
    for (const [input, expected] of cases) expect([input, await refused(save(input))]).toEqual([input, expected]);
  });

  test('lets only its registrant change it', async () => {
    const { route } = await done(save({}));
    const other = await makePerson(setting.gateway, 'co-owner', manager);
    await setMember(setting.gateway, setting.projectId, other, 'owner');
    expect(await refused(save({ id: route?.id }, other))).toEqual([['FORBIDDEN', 'input']]);
    expect(await refused(save({ id: route?.id }, setting.mallory))).toEqual([['NOT_FOUND', 'input.id']]);
  });
});

test('deleteRoute answers it as it was, and deletes what waits of it', async () => {
  const { route } = await done(save({ path: 'going' }));
  const id = route?.id ?? '';
  await setOff(setting, script, { trigger: id, source: 'http' });
  const remove = (person: Person) => mutate(setting, 'deleteRoute', 'route { path }', { id }, person);
  expect(await refused(remove(setting.mallory))).toEqual([['NOT_FOUND', 'input.id']]);
  expect(await done(remove(setting.grace))).toMatchObject({ route: { path: '/hooks/going' } });
  expect(await setting.gateway.ask('{ outbox { nodes { id } } }', {}, { token: setting.grace.token })).toEqual({
    outbox: { nodes: [] },
  });
  expect(await refused(remove(setting.grace))).toEqual([['NOT_FOUND', 'input.id']]);
});

test('routes are listed by project and script, the newest first, to those who may see them', async () => {
  const own = await saveScript(setting);
  for (const path of ['one', 'two', 'three']) await done(save({ path, script: own }));
  expect(await paths(`(script: "${own}", first: 2)`)).toEqual(['/hooks/three', '/hooks/two']);
  expect((await paths('(project: { slug: "hopper" })')).slice(0, 1)).toEqual(['/hooks/three']);
  expect(await paths('(project: { slug: "nowhere" })')).toEqual([]);
  expect(await paths('', setting.mallory)).toEqual([]);
});
