import { describe, expect, test } from 'vitest';
import { appId, idsOf, numbered, pull, pullAll, pullDocument, push } from './asking.ts';
import { gateway, person } from './setting.ts';

const manyFields = Object.fromEntries(Array.from({ length: 50_000 }, (_, n) => [`field-${n}`, n]));

describe('a pull', () => {
  test('tells each change as it was pushed, filled in where the client said nothing', async () => {
    const ada = await person();
    await push(gateway, ada, 'phone', [
      {
        changeId: 'full',
        recordId: 'r',
        data: { text: 'hello', done: false },
        fieldMeta: { text: '2026-11-20T12:00:00.5+02:00' },
        actor: { ai: 'scribe' },
        origin: 'agent',
        schemaVersion: -3,
      },
      { changeId: 'bare', recordId: 'r', op: 'DELETE', data: null },
    ]);
    const { changes, hasMore } = await pull(gateway, ada);
    expect(hasMore).toBe(false);
    const [full, bare] = changes;
    expect(full).toMatchObject({
      table: 'note',
      recordId: 'r',
      op: 'INSERT',
      data: { text: 'hello', done: false },
      clientId: 'phone',
      userId: ada.uuid,
      spaceId: null,
      schemaVersion: 1,
      actor: { ai: 'scribe' },
      origin: 'agent',
    });
    expect(full?.fieldMeta.text).toBe('2026-11-20T10:00:00.500000Z');
    expect(Date.parse(full?.fieldMeta.done ?? '')).toBe(Date.parse(full?.createdAt ?? ''));
    expect(bare).toMatchObject({ op: 'DELETE', data: null, fieldMeta: {}, actor: { type: 'user', id: ada.uuid } });
    expect(bare?.origin).toBe('user');
  });

  test('goes on from the cursor of a page, of any change and of a push', async () => {
    const ada = await person();
    const first = await push(gateway, ada, 'phone', numbered('a', 5));
    const second = await push(gateway, ada, 'phone', numbered('b', 5));
    const all = await pullAll(gateway, ada, { first: 3 });
    const ids = [...numbered('a', 5), ...numbered('b', 5)].map(({ changeId }) => changeId);
    expect(idsOf(all)).toEqual(ids);
    for (const [index, change] of all.changes.entries()) {
      expect(idsOf(await pullAll(gateway, ada, { since: change.cursor }))).toEqual(ids.slice(index + 1));
    }
    for (const [index, { cursor }] of [...(first.accepted ?? []), ...(second.accepted ?? [])].entries()) {
      expect(idsOf(await pullAll(gateway, ada, { since: cursor }))).toEqual(ids.slice(index + 1));
    }
    expect(idsOf(await pullAll(gateway, ada, { since: first.cursor }))).toEqual(ids);
    expect(idsOf(await pullAll(gateway, ada, { since: second.cursor }))).toEqual(ids.slice(5));
    await push(gateway, ada, 'phone', numbered('c', 2));
    expect(idsOf(await pull(gateway, ada, { since: all.cursor }))).toEqual(['c0', 'c1']);
  });

  test('that ends a window begun before tells what came since as well, and says when there is no more', async () => {
    const ada = await person();
    await push(gateway, ada, 'phone', numbered('a', 4));
    const begun = await pull(gateway, ada, { first: 3 });
    expect(begun.hasMore).toBe(true);
    await push(gateway, ada, 'phone', numbered('b', 3));
    const rest = await pull(gateway, ada, { first: 3, since: begun.cursor });
    expect([idsOf(rest), rest.hasMore]).toEqual([['a3', 'b0', 'b1'], true]);
    const last = await pull(gateway, ada, { first: 3, since: rest.cursor });
    expect([idsOf(last), last.hasMore]).toEqual([['b2'], false]);
  });

  test('leaves out other tables, other apps and the client that asks', async () => {
    const ada = await person();
    await push(gateway, ada, 'phone', [{ changeId: 'a' }, { changeId: 'b', table: 'list' }]);
    await push(gateway, ada, 'laptop', [{ changeId: 'c' }]);
    await push(gateway, ada, 'phone', [{ changeId: 'd' }], { appId: 'other' });
    expect(idsOf(await pull(gateway, ada, { tables: ['list', 'none'] }))).toEqual(['b']);
    expect(idsOf(await pull(gateway, ada, { excludeClientId: 'phone' }))).toEqual(['c']);
    expect(idsOf(await pull(gateway, ada, { appId: 'other' }))).toEqual(['d']);
  });

  test('of large changes ends a page before it is too large, and loses none', async () => {
    const ada = await person();
    const large = (prefix: string) =>
      numbered(prefix, 3).map((change) => ({ ...change, data: { text: 'x'.repeat(3_000_000) } }));
    await push(gateway, ada, 'phone', large('a'));
    await push(gateway, ada, 'phone', large('b'));
    const page = await pull(gateway, ada);
    expect(page.changes.length).toBeLessThan(6);
    expect(page.hasMore).toBe(true);
    expect(idsOf(await pullAll(gateway, ada))).toEqual(['a0', 'a1', 'a2', 'b0', 'b1', 'b2']);
    const greedy = await gateway.request(
      `query { ${Array.from({ length: 5 }, (_, n) => `p${n}: syncChanges(appId: "${appId}") { changes { data } }`).join(' ')} }`,
      {},
      { token: ada.token },
    );
    expect(greedy.errors?.map(({ extensions }) => extensions.code)).toContain('LIMIT_EXCEEDED');
  });

  test('asks for 1 to 1,000 changes, and for cursors of sync', async () => {
    const ada = await person();
    const refusal = async (variables: Record<string, unknown>) =>
      (await gateway.request(pullDocument, { appId, ...variables }, { token: ada.token })).errors?.[0]?.extensions.code;
    expect(await refusal({ first: 0 })).toBe('BAD_USER_INPUT');
    expect(await refusal({ first: 1_001 })).toBe('BAD_USER_INPUT');
    expect(await refusal({ since: 'nonsense' })).toBe('BAD_CURSOR');
    const { cursor } = await gateway.ask<{ cursor: string }>('{ cursor }');
    expect(await refusal({ since: cursor })).toBe('BAD_CURSOR');
  });

  test('asks for at most 100 tables: each change is held against each of them', async () => {
    const ada = await person();
    const tables = Array.from({ length: 101 }, (_, n) => `t${n}`);
    const { errors } = await gateway.request(pullDocument, { appId, tables }, { token: ada.token });
    expect(errors?.[0]).toMatchObject({
      message: expect.stringContaining('at most 100'),
      extensions: { code: 'BAD_USER_INPUT' },
    });
    await push(gateway, ada, 'phone', [{ changeId: 'a', table: 't99' }]);
    expect(idsOf(await pull(gateway, ada, { tables: tables.slice(0, 100) }))).toEqual(['a']);
  });

  test.each(['actor', 'fieldMeta', 'data'])(
    'answers %s again and again only as far as an operation may',
    async (field) => {
      const ada = await person();
      const text = 'x'.repeat(3_000_000);
      await push(gateway, ada, 'phone', [
        {
          changeId: 'a',
          data: field === 'fieldMeta' ? manyFields : { text },
          ...(field === 'actor' ? { actor: text } : {}),
        },
      ]);
      const aliases = Array.from({ length: 40 }, (_, n) => `a${n}: ${field}`).join(' ');
      const ask = (selection: string) =>
        gateway.request(`{ syncChanges(appId: "${appId}") { changes { ${selection} } } }`, {}, { token: ada.token });
      expect((await ask(`data fieldMeta actor`)).errors).toBeUndefined();
      expect((await ask(aliases)).errors?.[0]?.extensions.code).toBe('LIMIT_EXCEEDED');
    },
  );

  test('needs the scope sync, which admin does not imply', async () => {
    const clerk = await person(['REGISTRY_READ', 'ADMIN']);
    for (const document of [
      `{ syncChanges(appId: "${appId}") { hasMore } }`,
      `{ syncRecords(appId: "${appId}", table: "note") { nodes { recordId } } }`,
      `mutation { pushChanges(input: { appId: "a", clientId: "b", changes: [] }) { cursor } }`,
    ]) {
      const { errors } = await gateway.request(document, {}, { token: clerk.token });
      expect(errors?.[0]?.extensions.code).toBe('FORBIDDEN');
    }
  });
});
