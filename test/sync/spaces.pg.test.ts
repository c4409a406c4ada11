import { describe, expect, test } from 'vitest';
import { appId, idsOf, listRecords, makeSpace, pull, pullAll, pullDocument, push, setSpaceMember } from './asking.ts';
import { gateway, person } from './setting.ts';

describe('a space', () => {
  test("shares its members' changes and records, and nobody else's", async () => {
    const [ada, bob, eve] = [await person(), await person(), await person()];
    await makeSpace(gateway, ada, 'team');
    await setSpaceMember(gateway, ada, 'team', bob, 'EDITOR');
    await push(gateway, ada, 'phone', [{ changeId: 'own' }, { changeId: 'shared', recordId: 'r', spaceId: 'team' }]);
    await push(gateway, bob, 'tablet', [
      { changeId: 'reply', recordId: 'r', spaceId: 'team', op: 'UPDATE', data: { by: 'bob' } },
    ]);
    expect(idsOf(await pullAll(gateway, ada, { first: 1 }))).toEqual(['own', 'shared', 'reply']);
    expect(idsOf(await pullAll(gateway, bob, { first: 1 }))).toEqual(['shared', 'reply']);
    expect(idsOf(await pullAll(gateway, eve))).toEqual([]);
    expect((await listRecords(gateway, bob)).map(({ recordId, data }) => [recordId, data])).toEqual([
      ['r', { text: 'shared', by: 'bob' }],
    ]);
    expect((await listRecords(gateway, ada, { first: 1 })).map(({ spaceId }) => spaceId)).toEqual([null, 'team']);
    expect(await listRecords(gateway, eve)).toEqual([]);
    await setSpaceMember(gateway, ada, 'team', bob, 'VIEWER');
    const refused = await push(gateway, bob, 'tablet', [{ changeId: 'late', spaceId: 'team' }]);
    expect(refused.userErrors).toMatchObject([{ code: 'FORBIDDEN', path: ['input', 'changes', '0', 'spaceId'] }]);
    expect(idsOf(await pullAll(gateway, bob))).toEqual(['shared', 'reply']);
  });

  test('that somebody comes into or leaves makes its cursors expire: the records are read anew', async () => {
    const [ada, bob] = [await person(), await person()];
    await makeSpace(gateway, ada, 'club');
    await push(gateway, ada, 'phone', [{ changeId: 'old', recordId: 'r', spaceId: 'club' }]);
    const { cursor } = await pull(gateway, bob);
    await setSpaceMember(gateway, ada, 'club', bob, 'VIEWER');
    const pulled = await gateway.request(pullDocument, { appId, since: cursor }, { token: bob.token });
    expect(pulled.errors?.[0]?.extensions.code).toBe('CURSOR_EXPIRED');
    const [record] = await listRecords(gateway, bob);
    expect(record).toMatchObject({ recordId: 'r', data: { text: 'old' } });
    await push(gateway, ada, 'phone', [{ changeId: 'new', recordId: 'r', spaceId: 'club' }]);
    expect(idsOf(await pull(gateway, bob, { since: record?.cursor ?? '' }))).toEqual(['new']);
    await setSpaceMember(gateway, ada, 'club', bob, null);
    const after = await gateway.request(pullDocument, { appId, since: record?.cursor }, { token: bob.token });
    expect(after.errors?.[0]?.extensions.code).toBe('CURSOR_EXPIRED');
    expect(idsOf(await pull(gateway, bob))).toEqual([]);
  });
});
