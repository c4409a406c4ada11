import { describe, expect, test } from 'vitest';
import { GatewayError } from '../../../src/client/client.ts';
import { memoryStorage } from '../../../src/sync/client/storage.ts';
import { listRecords, makeSpace, numbered, push, setSpaceMember } from '../asking.ts';
import { device, gateway, line, note, person } from './setting.ts';

/** The second schema version of an app. */
async function register(appId: string, lifts: readonly object[]): Promise<void> {
  await gateway.ask(
    'mutation ($i: RegisterSyncVersionInput!) { registerSyncVersion(input: $i) { version userErrors { message } } }',
    { i: { appId, version: 2, lifts } },
  );
}

describe('a new device', () => {
  test('gets the records instead of the changes, and goes on from there', async () => {
    const ada = await person();
    const phone = await device(ada);
    for (let n = 0; n < 20; n += 1) await phone.write({ ...note('n1', `text ${n}`), op: 'update' });
    await phone.write(note('n2'));
    await phone.write({ ...note('n2'), op: 'delete' });
    await phone.push();
    const storage = memoryStorage();
    const laptop = await device(ada, { storage });
    line.takeAsked();
    await laptop.pull();
    expect(line.takeAsked()).toEqual(['SyncRecords', 'SyncRecords', 'SyncPull']);
    expect(laptop.list('note').map(({ data }) => data)).toEqual([{ text: 'text 19' }]);
    await phone.write({ ...note('n1', 'last'), op: 'update' });
    await phone.push();
    // After a restart, too.
    const again = await device(ada, { storage });
    await again.pull();
    expect(line.takeAsked().slice(-1)).toEqual(['SyncPull']);
    expect(again.get('note', 'n1')).toEqual({ text: 'last' });
  });

  test('has deletes as well, so that an older write of its own does not bring a record back', async () => {
    const ada = await person();
    const phone = await device(ada);
    await phone.write(note('n1'));
    await phone.write({ ...note('n1'), op: 'delete' });
    await phone.push();
    const laptop = await device(ada, { now: () => Date.now() - 3_600_000 });
    await laptop.write(note('n1', 'an hour ago'));
    await laptop.pull();
    expect(laptop.get('note', 'n1')).toBeNull();
    await laptop.push();
    expect(await listRecords(gateway, ada)).toMatchObject([{ recordId: 'n1', data: {} }]);
  });

  test('gets all pages of all tables', async () => {
    const ada = await person();
    await push(gateway, ada, 'other', numbered('n', 25));
    await push(gateway, ada, 'other', [{ changeId: 't', table: 'task' }]);
    const phone = await device(ada, { pageSize: 10 });
    line.takeAsked();
    await phone.pull();
    expect(line.takeAsked()).toEqual(['SyncRecords', 'SyncRecords', 'SyncRecords', 'SyncRecords', 'SyncPull']);
    expect([phone.list('note').length, phone.list('task').length]).toEqual([25, 1]);
  });

  test.each([
    ['was empty', []],
    ['had records', [{ changeId: 'early' }]],
  ])('misses nothing that is written to a table that %s when it was read, while the next one is', async (_, before) => {
    const ada = await person();
    await push(gateway, ada, 'other', [...before, { changeId: 'task', table: 'task' }]);
    const phone = await device(ada);
    line.afterNext(async () => void (await push(gateway, ada, 'other', [{ changeId: 'late', recordId: 'late' }])));
    await phone.pull();
    expect(phone.get('note', 'late')).toEqual({ text: 'late' });
  });

  test('of which nobody has written anything yet begins with nothing, and misses nothing', async () => {
    const ada = await person();
    const [phone, laptop] = [await device(ada), await device(ada)];
    await phone.pull();
    await laptop.write(note('n1'));
    await laptop.push();
    line.takeAsked();
    await phone.pull();
    expect(line.takeAsked()).toEqual(['SyncPull']);
    expect(phone.get('note', 'n1')).toEqual({ text: 'n1' });
  });

  test('begins once more when the app gets a newer version while it reads', async () => {
    const ada = await person();
    const app = 'renamed';
    await push(gateway, ada, 'other', [{ changeId: 'n' }, { changeId: 't', table: 'task' }], { appId: app });
    const phone = await device(ada, { appId: app });
    line.afterNext(() => register(app, [{ table: 'note', rename: { text: 'title' } }]));
    await phone.pull();
    expect(phone.list('note').map(({ data }) => data)).toEqual([{ title: 'n' }]);
  });

  test('that is interrupted has nothing of it, and begins anew', async () => {
    const ada = await person();
    await push(gateway, ada, 'other', numbered('n', 5));
    const phone = await device(ada, { pageSize: 2, retry: { retries: 0 } });
    line.fail('none', 'answer lost');
    await expect(phone.pull()).rejects.toThrow(GatewayError);
    expect(phone.list('note')).toEqual([]);
    await phone.pull();
    expect(phone.list('note')).toHaveLength(5);
  });
});

describe('a pull', () => {
  test('that is interrupted keeps the pages that came, and goes on after them', async () => {
    const ada = await person();
    const phone = await device(ada, { pageSize: 2, retry: { retries: 0 } });
    await phone.pull();
    await push(gateway, ada, 'other', numbered('n', 5));
    line.fail('none', 'answer lost');
    await expect(phone.pull()).rejects.toThrow(GatewayError);
    expect(phone.list('note')).toHaveLength(2);
    line.takeAsked();
    await phone.pull();
    expect(line.takeAsked()).toEqual(['SyncPull', 'SyncPull']);
    expect(phone.list('note')).toHaveLength(5);
  });

  test('tells which records look different', async () => {
    const ada = await person();
    const phone = await device(ada);
    const changed: unknown[] = [];
    const end = phone.onChange((records) => void changed.push(records));
    await push(gateway, ada, 'other', [{ changeId: 'c', recordId: 'n1' }]);
    await phone.pull();
    end();
    await phone.write(note('n2'));
    expect(changed).toEqual([[{ table: 'note', recordId: 'n1', spaceId: null }]]);
  });

  test('after joining a space gets what was in it before, and after leaving has it no longer', async () => {
    const [ada, ben] = [await person(), await person()];
    await makeSpace(gateway, ada, 'joined');
    const [hers, his] = [await device(ada), await device(ben)];
    await hers.write(note('n1', 'shared', 'joined'));
    await hers.push();
    await his.write(note('own'));
    await his.push();
    await his.pull();
    expect(his.list('note').map(({ recordId }) => recordId)).toEqual(['own']);

    await setSpaceMember(gateway, ada, 'joined', ben, 'EDITOR');
    const waiting = await his.write(note('own', 'newer'));
    await his.pull();
    expect(his.get('note', 'n1', 'joined')).toEqual({ text: 'shared' });
    expect(his.pending()).toMatchObject([{ changeId: waiting }]);

    await setSpaceMember(gateway, ada, 'joined', ben, null);
    const left: string[] = [];
    his.onChange((records) => void left.push(...records.map(({ recordId }) => recordId)));
    await his.pull();
    expect(his.list('note').map(({ data }) => data)).toEqual([{ text: 'newer' }]);
    expect(left).toContain('n1');
  });

  test('of a table that the client has only now gets what was in it before', async () => {
    const ada = await person();
    await push(gateway, ada, 'other', [{ changeId: 'n' }, { changeId: 't', table: 'task', recordId: 't' }]);
    const storage = memoryStorage();
    const before = await device(ada, { storage, tables: ['note'] });
    await before.pull();
    await before.close();
    const after = await device(ada, { storage, tables: ['note', 'task'] });
    await after.pull();
    expect(after.get('task', 't')).toEqual({ text: 't' });
  });

  test('of rows of a newer version of the app gets all of them as they are now', async () => {
    const ada = await person();
    const appId = 'versioned';
    const [old, other] = [await device(ada, { appId }), await device(ada, { appId })];
    await old.write(note('n1', 'one'));
    await old.push();
    await other.pull();
    await register(appId, [{ table: 'note', rename: { text: 'title' } }]);
    const newer = await device(ada, { appId, schemaVersion: 2 });
    await newer.write({ op: 'insert', table: 'note', recordId: 'n2', data: { title: 'two' } });
    await newer.push();
    await newer.pull();
    await old.write(note('n3', 'three'));
    await old.push();
    for (const client of [old, other, newer]) {
      await client.pull();
      expect(['n1', 'n2', 'n3'].map((id) => client.get('note', id))).toEqual([
        { title: 'one' },
        { title: 'two' },
        { title: 'three' },
      ]);
    }
  });
});
