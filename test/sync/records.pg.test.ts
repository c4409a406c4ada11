import { describe, expect, test } from 'vitest';
import { value } from '../support/sql.ts';
import { appId, idsOf, listRecords, numbered, pull, pullAll, push } from './asking.ts';
import { gateway, person } from './setting.ts';

describe('records', () => {
  const at = (second: number) => `2026-11-20T10:00:${String(second).padStart(2, '0')}Z`;
  const times = (second: number) => ({ text: at(second), done: at(second) });

  test('have of each field the newest write, whatever came last', async () => {
    const ada = await person();
    await push(gateway, ada, 'phone', [
      { changeId: '1', recordId: 'r', data: { text: 'a', done: false }, fieldMeta: times(10) },
      { changeId: '2', recordId: 'r', op: 'UPDATE', data: { text: 'late' }, fieldMeta: times(5) },
      { changeId: '3', recordId: 'r', op: 'UPDATE', data: { done: true }, fieldMeta: times(20) },
      // The same time: the later one wins.
      {
        changeId: '4',
        recordId: 'r',
        op: 'UPDATE',
        data: { text: 'tie' },
        fieldMeta: { text: '2026-11-20T12:00:10+02:00' },
      },
    ]);
    const [record] = await listRecords(gateway, ada);
    const { changes } = await pull(gateway, ada);
    expect(record).toMatchObject({
      data: { text: 'tie', done: true },
      fieldMeta: { text: '2026-11-20T10:00:10.000000Z', done: '2026-11-20T10:00:20.000000Z' },
      fieldPositions: { text: Number(changes[3]?.position), done: Number(changes[2]?.position) },
      deletedAt: null,
      deletion: null,
    });
  });

  test('that were deleted are listed as such, until a newer write brings them back', async () => {
    const ada = await person();
    await push(gateway, ada, 'phone', [
      { changeId: '1', recordId: 'r', data: { text: 'a', done: false }, fieldMeta: times(10) },
      { changeId: '2', recordId: 'r', op: 'DELETE', data: null, fieldMeta: { gone: at(20) } },
      { changeId: '3', recordId: 'r', op: 'UPDATE', data: { text: 'too late' }, fieldMeta: times(15) },
    ]);
    expect((await listRecords(gateway, ada))[0]).toMatchObject({ data: {}, deletedAt: '2026-11-20T10:00:20Z' });
    await push(gateway, ada, 'phone', [
      { changeId: '4', recordId: 'r', op: 'UPDATE', data: { text: 'back' }, fieldMeta: times(30) },
    ]);
    expect((await listRecords(gateway, ada))[0]).toMatchObject({
      data: { text: 'back' },
      deletedAt: null,
      deletion: { at: '2026-11-20T10:00:20Z' },
      write: { at: '2026-11-20T10:00:30Z' },
    });
  });

  test('have a size that can be listed, however many small changes made them', async () => {
    const ada = await person();
    const large = (n: number) => ({ changeId: `l${n}`, recordId: 'r', data: { [`part ${n}`]: 'x'.repeat(9_000_000) } });
    for (const n of [0, 1]) expect((await push(gateway, ada, 'phone', [large(n)])).userErrors).toEqual([]);
    const refused = await push(gateway, ada, 'phone', [large(2)]);
    expect(refused.userErrors).toMatchObject([{ code: 'PAYLOAD_TOO_LARGE', details: { limit: 20_000_000 } }]);
    expect(refused.userErrors[0]?.message).toContain('a record');
    expect(idsOf(await pullAll(gateway, ada))).toEqual(['l0', 'l1']);
    expect(await listRecords(gateway, ada)).toHaveLength(1);
  });

  test('go on from the cursor of the first page, whatever changed while the others were read', async () => {
    const ada = await person();
    await push(gateway, ada, 'phone', numbered('c', 4));
    const page = await gateway.ask<{
      syncRecords: { nodes: { recordId: string; cursor: string }[]; pageInfo: { endCursor: string } };
    }>(
      `{ syncRecords(appId: "${appId}", table: "note", first: 2) { nodes { recordId cursor } pageInfo { endCursor } } }`,
      {},
      { token: ada.token },
    );
    await push(gateway, ada, 'phone', numbered('d', 2));
    const rest = await gateway.ask<{ syncRecords: { nodes: { recordId: string; cursor: string }[] } }>(
      `query ($after: String) { syncRecords(appId: "${appId}", table: "note", after: $after) { nodes { recordId cursor } } }`,
      { after: page.syncRecords.pageInfo.endCursor },
      { token: ada.token },
    );
    const cursors = [...page.syncRecords.nodes, ...rest.syncRecords.nodes].map(({ cursor }) => cursor);
    expect(new Set(cursors).size).toBe(1);
    expect(idsOf(await pull(gateway, ada, { since: cursors[0] ?? '' }))).toEqual(['d0', 'd1']);
  });
});

describe('a schema version', () => {
  const register = async (i: unknown, token: string | null = gateway.token) =>
    gateway.request<{ registerSyncVersion: { version: number | null; userErrors: { code: string }[] } }>(
      'mutation ($i: RegisterSyncVersionInput!) { registerSyncVersion(input: $i) { version userErrors { code message } } }',
      { i },
      { token },
    );

  test('lifts what is older when it is read, and lets clients push what is new', async () => {
    const ada = await person();
    const app = { appId: 'versioned' };
    await push(gateway, ada, 'old', [{ changeId: '1', recordId: 'r', data: { title: 'a', color: 'red' } }], app);
    const lifts = [{ table: 'note', rename: { title: 'name' }, drop: ['color'] }];
    expect((await register({ ...app, version: 2, lifts })).data.registerSyncVersion).toEqual({
      version: 2,
      userErrors: [],
    });
    const pushed = await push(
      gateway,
      ada,
      'new',
      [{ changeId: '2', recordId: 'r', op: 'UPDATE', data: { done: true } }],
      { ...app, schemaVersion: 2 },
    );
    expect(pushed.userErrors).toEqual([]);
    await push(gateway, ada, 'old', [{ changeId: '3', recordId: 's', data: { title: 'b', color: 'blue' } }], app);
    const { changes } = await pull(gateway, ada, app);
    expect(changes.map(({ data, schemaVersion }) => [data, schemaVersion])).toEqual([
      [{ name: 'a' }, 2],
      [{ done: true }, 2],
      [{ name: 'b' }, 2],
    ]);
    // The time of what was dropped stays: it is when the record was written.
    expect(Object.keys(changes[0]?.fieldMeta ?? {}).toSorted()).toEqual(['color', 'name']);
    expect((await listRecords(gateway, ada, app)).map(({ data }) => data)).toEqual([
      { name: 'a', done: true },
      { name: 'b' },
    ]);
    expect(await value(gateway.database.owner, 'select count(*)::int from sync.check_records()')).toBe(0);
    expect((await register({ ...app, version: 2, lifts })).data.registerSyncVersion.version).toBe(2);
    for (const [input, code] of [
      [{ ...app, version: 2, lifts: [] }, 'CONFLICT'],
      [{ ...app, version: 4 }, 'INVALID'],
      [{ ...app, version: 3, lifts: [{ table: 'note', rename: { a: 'b', b: 'c' } }] }, 'INVALID'],
      [{ ...app, version: 3, lifts: [{ table: 'note', rename: { a: 'b' }, drop: ['b'] }] }, 'INVALID'],
      [{ ...app, version: 3, lifts: [{ table: 'note', rename: { a: 'b' }, drop: ['a'] }] }, 'INVALID'],
    ] as const) {
      expect((await register(input)).data.registerSyncVersion.userErrors).toMatchObject([{ code }]);
    }
  });

  test('is registered by an administrator', async () => {
    const ada = await person();
    const { errors } = await register({ appId: 'x', version: 2 }, ada.token);
    expect(errors?.[0]?.extensions.code).toBe('FORBIDDEN');
  });
});
