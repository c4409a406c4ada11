import { describe, expect, test } from 'vitest';
import { makePerson, setMember } from '../../support/people.ts';
import { value } from '../../support/sql.ts';
import {
  createTrigger,
  done,
  keyIn,
  manager,
  mutate,
  operation,
  refused,
  saveScript,
  triggersGateway,
  webhook,
} from './asking.ts';

const setting = triggersGateway();

const fields = `id name kind document variables url body timeoutMs scopes project { slug } createdBy { handle } deletedAt`;

interface Script {
  id: string;
  name: string;
  document: string | null;
  body: unknown;
  deletedAt: string | null;
}

const save = (input: Record<string, unknown>, person = setting.grace) =>
  mutate<{ script: Script | null; secret: string | null }>(
    setting,
    'saveScript',
    `script { ${fields} } secret`,
    { project: { slug: 'hopper' }, ...input },
    person,
  );

const secretOf = (id: string) =>
  value<string>(setting.gateway.database.owner, 'select secret from triggers.scripts where id = $1', [keyIn(id)]);

async function names(person = setting.grace, args = ''): Promise<string[]> {
  const { scripts } = await setting.gateway.ask<{ scripts: { nodes: { name: string }[] } }>(
    `{ scripts${args} { nodes { name } } }`,
    {},
    { token: person.token },
  );
  return scripts.nodes.map(({ name }) => name);
}

describe('saveScript', () => {
  test('makes an operation, which runs as its author with the scopes of the token', async () => {
    const variables = { id: '=entityId', fixed: 1 };
    const { script, secret } = await done(save({ name: 'op', operation: { ...operation, variables } }));
    expect(script).toMatchObject({
      name: 'op',
      kind: 'OPERATION',
      document: 'query Now { cursor }',
      variables,
      url: null,
      body: null,
      timeoutMs: 10_000,
      scopes: expect.arrayContaining(manager),
      project: { slug: 'hopper' },
      createdBy: { handle: 'grace' },
      deletedAt: null,
    });
    expect(secret).toBeNull();
  });

  test('makes a webhook, shows the secret that it made once, and neither that nor headers again', async () => {
    const headers = { authorization: 'Bearer never-shown' };
    const made = await save({ name: 'hook', webhook: { ...webhook, headers, body: { text: '=type' } } });
    const { script, secret } = await done(Promise.resolve(made));
    expect(secret).toMatch(/^whsec_/);
    expect(script).toMatchObject({
      kind: 'WEBHOOK',
      url: webhook.url,
      body: { text: '=type' },
      document: null,
      variables: null,
    });
    const id = script?.id ?? '';
    expect(secret).toBe(await secretOf(id));
    const changed = await save({ id, name: 'hook 2', webhook });
    expect(changed).toMatchObject({ script: { name: 'hook 2', body: null }, secret: null, userErrors: [] });
    expect(await secretOf(id)).toBe(secret);
    expect(
      await value(setting.gateway.database.owner, 'select headers from triggers.scripts where id = $1', [keyIn(id)]),
    ).toEqual(headers);
    const everything = await setting.gateway.ask(
      `query ($id: ID!) { node(id: $id) { ... on Script { ${fields} } } }`,
      { id },
      { token: setting.grace.token },
    );
    expect(JSON.stringify(everything)).not.toMatch(/whsec_|never-shown/);
  });

  test('takes a secret of the caller’s own, and says nothing of it', async () => {
    const mine = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    const { script, secret } = await done(save({ name: 'own secret', webhook: { ...webhook, secret: mine } }));
    expect(secret).toBeNull();
    expect(await secretOf(script?.id ?? '')).toBe(mine);
  });

  test('says what is wrong with it, each mistake at its place', async () => {
    await saveScript(setting, { name: 'taken' });
    const cases: [Record<string, unknown>, [string, string][]][] = [
      [{}, [['INVALID', 'input']]],
      [{ operation, webhook }, [['INVALID', 'input']]],
      [{ operation: { document: '{ nothing }' } }, [['INVALID', 'input.operation.document']]],
      [{ operation: { ...operation, variables: [1] } }, [['INVALID', 'input.operation.variables']]],
      [
        { operation: { document: '{', variables: { a: { 'b.c': ['=1 +'] } } } },
        [
          ['INVALID', 'input.operation.document'],
          ['INVALID', 'input.operation.variables.a.b.c.0'],
        ],
      ],
      [
        { webhook: { url: 'ftp://x', secret: 'short', headers: { host: 'x' }, body: '=(' } },
        [
          ['INVALID', 'input.webhook.url'],
          ['INVALID', 'input.webhook.secret'],
          ['INVALID', 'input.webhook.headers'],
          ['INVALID', 'input.webhook.body'],
        ],
      ],
      [{ operation, timeoutMs: 99 }, [['INVALID', 'input.timeoutMs']]],
      [{ operation, name: ' ' }, [['INVALID', 'input.name']]],
      [{ operation, name: 'taken' }, [['CONFLICT', 'input.name']]],
      [
        { operation: { document: `query Now { cursor } #${'x'.repeat(100_000)}` } },
        [['INVALID', 'input.operation.document']],
      ],
      [{ operation, project: { slug: 'nowhere' } }, [['NOT_FOUND', 'input.project']]],
      [{ operation, project: { id: 'nonsense' } }, [['NOT_FOUND', 'input.project']]],
      [{ operation, id: 'nonsense' }, [['NOT_FOUND', 'input.id']]],
      [{ operation, project: null }, [['FORBIDDEN', 'input']]],
    ];
    for (const [input, expected] of cases)
      expect([input, await refused(save({ name: 'wrong', ...input }))]).toEqual([input, expected]);
  });

  test('lets only its author change it, and nothing become of another kind or project', async () => {
    const id = await saveScript(setting, { name: 'mine' });
    const other = await makePerson(setting.gateway, 'co-owner', manager);
    await setMember(setting.gateway, setting.projectId, other, 'owner');
    expect(await refused(save({ id, name: 'theirs', operation }, other))).toEqual([['FORBIDDEN', 'input']]);
    expect(await refused(save({ id, name: 'mine', operation }, setting.mallory))).toEqual([['NOT_FOUND', 'input.id']]);
    expect(await refused(save({ id, name: 'mine', webhook }))).toEqual([['INVALID', 'input']]);
    await setting.gateway.database.owner.query(
      `insert into registry.projects (slug, name) values ('elsewhere', 'Elsewhere')`,
    );
    expect(await refused(save({ id, name: 'mine', operation, project: { slug: 'elsewhere' } }))).toEqual([
      ['INVALID', 'input.project'],
    ]);
  });

  test('for the whole registry needs an administrator', async () => {
    const saving = mutate<{ script: Script }>(setting, 'saveScript', 'script { id project { slug } }', {
      name: 'all',
      operation,
    });
    expect((await done(saving)).script).toMatchObject({ project: null });
    expect(await names()).not.toContain('all');
  });
});

describe('deleteScript', () => {
  const remove = (id: string, person = setting.grace) =>
    mutate<{ script: Script | null }>(setting, 'deleteScript', 'script { id name deletedAt }', { id }, person);

  test('refuses while triggers run it; afterwards it is told of, and listed no longer', async () => {
    const script = await saveScript(setting, { name: 'used' });
    const trigger = await createTrigger(setting, { script });
    const { userErrors } = await remove(script);
    expect(userErrors).toMatchObject([{ code: 'IN_USE', details: { count: 1 } }]);
    await done(mutate(setting, 'deleteTrigger', 'trigger { id }', { id: trigger }, setting.grace));
    const { script: deleted } = await done(remove(script));
    expect(deleted).toMatchObject({ name: 'used', deletedAt: expect.any(String) });
    expect(await names()).not.toContain('used');
    expect(await refused(remove(script))).toEqual([['NOT_FOUND', 'input.id']]);
    // Its name is free again.
    await saveScript(setting, { name: 'used' });
  });

  test('of somebody else’s says no more than of none', async () => {
    const script = await saveScript(setting);
    const { userErrors } = await remove(script, setting.mallory);
    expect(userErrors).toMatchObject([{ code: 'NOT_FOUND', path: ['input', 'id'] }]);
    expect(await refused(remove('nonsense'))).toEqual([['NOT_FOUND', 'input.id']]);
  });
});

describe('who sees scripts', () => {
  test('their author and the project’s owners; strangers and administrators do not', async () => {
    const id = await saveScript(setting, { name: 'seen' });
    const node = `query ($id: ID!) { node(id: $id) { ... on Script { name } } }`;
    const seenBy = async (token: string) => setting.gateway.ask(node, { id }, { token });
    expect(await seenBy(setting.grace.token)).toEqual({ node: { name: 'seen' } });
    expect(await names(setting.mallory)).toEqual([]);
    expect(await seenBy(setting.mallory.token)).toEqual({ node: null });
    expect(await seenBy(setting.gateway.token)).toEqual({ node: null });
  });

  test('nobody without the scope, by whatever way', async () => {
    const id = await saveScript(setting);
    const reader = await makePerson(setting.gateway, 'reader', ['REGISTRY_READ']);
    for (const query of [
      '{ scripts { nodes { id } } }',
      `{ node(id: "${id}") { id } }`,
      '{ projects { nodes { triggers { nodes { id } } } } }',
    ]) {
      const { errors } = await setting.gateway.request(query, {}, { token: reader.token });
      expect(errors?.[0]?.extensions.code).toBe('FORBIDDEN');
    }
  });

  test('the newest first, page by page, of one project', async () => {
    for (const name of ['p1', 'p2', 'p3']) await saveScript(setting, { name });
    const page = async (after: string | null) => {
      const { scripts } = await setting.gateway.ask<{
        scripts: { nodes: { name: string }[]; pageInfo: { hasNextPage: boolean; endCursor: string } };
      }>(
        `query ($after: String) { scripts(project: { slug: "hopper" }, first: 2, after: $after) { nodes { name } pageInfo { hasNextPage endCursor } } }`,
        { after },
        { token: setting.grace.token },
      );
      return scripts;
    };
    const first = await page(null);
    const second = await page(first.pageInfo.endCursor);
    expect(first.nodes.map(({ name }) => name)).toEqual(['p3', 'p2']);
    expect(second.nodes[0]?.name).toBe('p1');
    expect(await names(setting.grace, '(project: { slug: "nowhere" })')).toEqual([]);
  });
});
