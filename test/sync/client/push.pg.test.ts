import { describe, expect, test } from 'vitest';
import { GatewayError } from '../../../src/client/client.ts';
import { memoryStorage } from '../../../src/sync/client/storage.ts';
import { idsOf, makeSpace, pullAll, setSpaceMember } from '../asking.ts';
import { device, gateway, line, note, person } from './setting.ts';

const wrong = (recordId: string) => ({ ...note(recordId), data: { text: 'no\u0000text' } });

describe('a write', () => {
  test('is seen at once and after a restart, and waits in the outbox', async () => {
    const ada = await person();
    const storage = memoryStorage();
    const phone = await device(ada, { storage });
    const id = await phone.write(note('n1', 'milk'));
    await phone.write({ op: 'update', table: 'note', recordId: 'n1', data: { done: true } });
    await phone.write({ ...note('n2'), op: 'delete' });
    for (const client of [phone, await device(ada, { storage })]) {
      expect(client.get('note', 'n1')).toEqual({ text: 'milk', done: true });
      expect(client.list('note')).toEqual([
        { table: 'note', recordId: 'n1', spaceId: null, data: { text: 'milk', done: true } },
      ]);
      expect(client.pending()).toMatchObject([
        { changeId: id, recordId: 'n1' },
        { op: 'update' },
        { op: 'delete', data: null },
      ]);
      expect(client.clientId).toBe(phone.clientId);
    }
  });

  test('is what it was when it was written, whatever becomes of the object', async () => {
    const phone = await device(await person());
    const data = { text: 'before' };
    const writing = phone.write({ ...note('n1'), data });
    data.text = 'after';
    await writing;
    expect(phone.get('note', 'n1')).toEqual({ text: 'before' });
  });

  test('is for the tables of the client alone', async () => {
    const phone = await device(await person());
    await expect(phone.write({ ...note('n1'), table: 'other' })).rejects.toThrow('none of them');
  });

  test('that the storage did not keep is not seen', async () => {
    const storage = { ...memoryStorage(), commit: async () => Promise.reject(new Error('the disk is full')) };
    const phone = await device(await person(), { storage });
    await expect(phone.write(note('n1'))).rejects.toThrow('the disk is full');
    expect([phone.get('note', 'n1'), phone.pending()]).toEqual([null, []]);
  });

  test('of one device is not what another storage is for', async () => {
    const ada = await person();
    const storage = memoryStorage();
    await (await device(ada, { storage, clientId: 'phone' })).write(note('n1'));
    await expect(device(ada, { storage, clientId: 'laptop' })).rejects.toThrow('a storage of its own');
    await expect(device(ada, { storage, appId: 'other' })).rejects.toThrow('a storage of its own');
  });
});

describe('a push', () => {
  test('sends all in the order in which they were written, 500 at a time', async () => {
    const ada = await person();
    const phone = await device(ada);
    const ids = await Promise.all(Array.from({ length: 1_200 }, (_, n) => phone.write(note(`n${n}`))));
    line.takeAsked();
    expect(await phone.push()).toEqual({ accepted: 1_200, refused: [] });
    expect(line.takeAsked()).toEqual(['SyncPush', 'SyncPush', 'SyncPush']);
    expect(idsOf(await pullAll(gateway, ada))).toEqual(ids);
    expect(phone.pending()).toEqual([]);
    expect(phone.list('note')).toHaveLength(1_200);
  });

  test('sends large changes in several requests, each far below what the gateway takes', async () => {
    const phone = await device(await person());
    for (let n = 0; n < 12; n += 1) await phone.write(note(`n${n}`, 'x'.repeat(1_000_000)));
    line.takeAsked();
    expect(await phone.push()).toMatchObject({ accepted: 12 });
    expect(line.takeAsked()).toHaveLength(4);
  });

  test('sends less at once where the gateway finds it larger than it is here, and names what is too large alone', async () => {
    const phone = await device(await person());
    // Six bytes here, and three hundred there.
    const numbers = (howMany: number) => ({ data: { numbers: Array(howMany).fill(1e300) } });
    for (let n = 0; n < 12; n += 1) await phone.write({ ...note(`n${n}`), ...numbers(5_000) });
    const tooLarge = await phone.write({ ...note('large'), ...numbers(40_000) });
    await phone.write(note('last'));
    const { accepted, refused } = await phone.push();
    expect(accepted).toBe(13);
    expect(refused).toMatchObject([{ changeId: tooLarge, refusal: { code: 'PAYLOAD_TOO_LARGE' } }]);
  });

  test.each(['request lost', 'answer lost', 'answered 503'] as const)(
    'goes on by itself after %s, and nothing is stored twice',
    async (fault) => {
      const ada = await person();
      const phone = await device(ada);
      const ids = [await phone.write(note('n1')), await phone.write(note('n2'))];
      line.fail(fault, fault);
      expect(await phone.push()).toEqual({ accepted: 2, refused: [] });
      expect(idsOf(await pullAll(gateway, ada))).toEqual(ids);
    },
  );

  test('that does not get through fails, and all that waits still does', async () => {
    const ada = await person();
    const phone = await device(ada);
    await phone.write(note('n1'));
    line.fail('answer lost', 'answer lost', 'answer lost');
    await expect(phone.push()).rejects.toThrow(GatewayError);
    expect(phone.pending()).toHaveLength(1);
    await phone.write(note('n1', 'newer'));
    expect(await phone.push()).toEqual({ accepted: 2, refused: [] });
    expect((await pullAll(gateway, ada)).changes).toHaveLength(2);
  });

  test('with a token that is not good asks once', async () => {
    const phone = await device({ token: 'tl_wrong' });
    await phone.write(note('n1'));
    line.takeAsked();
    await expect(phone.push()).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    expect(line.takeAsked()).toHaveLength(1);
    expect(phone.pending()).toHaveLength(1);
  });

  test('leaves what is written meanwhile for the same push', async () => {
    const ada = await person();
    const phone = await device(ada);
    await phone.write(note('n1'));
    const pushing = phone.push();
    const late = await phone.write(note('n2'));
    await pushing;
    await phone.push();
    expect(idsOf(await pullAll(gateway, ada)).at(-1)).toBe(late);
  });
});

describe('a change that the gateway refuses', () => {
  test('stays, named, and the others go', async () => {
    const ada = await person();
    const storage = memoryStorage();
    const phone = await device(ada, { storage });
    const good = [await phone.write(note('n1'))];
    const bad = [await phone.write(wrong('n2')), await phone.write({ ...note('n3'), spaceId: 'not-hers' })];
    good.push(await phone.write(note('n4')));
    const { accepted, refused } = await phone.push();
    expect(accepted).toBe(2);
    expect(refused.map(({ changeId, refusal }) => [changeId, refusal?.code])).toEqual([
      [bad[0], 'INVALID'],
      [bad[1], 'NOT_FOUND'],
    ]);
    expect(idsOf(await pullAll(gateway, ada))).toEqual(good);
    expect((await device(ada, { storage })).pending()).toEqual(refused);
    expect(await phone.push()).toEqual({ accepted: 0, refused: [] });
  });

  test('is gone once it is dropped', async () => {
    const phone = await device(await person());
    const id = await phone.write(wrong('n1'));
    await expect(phone.drop(id)).rejects.toThrow('No refused change');
    await phone.push();
    await phone.drop(id);
    expect([phone.pending(), phone.get('note', 'n1')]).toEqual([[], null]);
  });

  test('goes once it is revised, in its place among the others', async () => {
    const ada = await person();
    const phone = await device(ada);
    const id = await phone.write(wrong('n1'));
    await phone.push();
    const later = await phone.write({ op: 'update', table: 'note', recordId: 'n1', data: { done: true } });
    const revised = await phone.revise(id, { data: { text: 'a text' } });
    expect(await phone.push()).toEqual({ accepted: 2, refused: [] });
    expect(idsOf(await pullAll(gateway, ada))).toEqual([revised, later]);
    expect(phone.get('note', 'n1')).toEqual({ text: 'a text', done: true });
  });

  test('because of a clock that is days ahead goes once the clock is right and it is revised', async () => {
    let ahead = 3 * 86_400_000;
    const phone = await device(await person(), { now: () => Date.now() + ahead });
    const id = await phone.write(note('n1'));
    expect((await phone.push()).refused).toMatchObject([{ refusal: { code: 'INVALID' } }]);
    ahead = 0;
    await phone.revise(id);
    await phone.write(note('n2'));
    expect(await phone.push()).toEqual({ accepted: 2, refused: [] });
  });

  test('is not one that was stored while it might be, whose answer was lost', async () => {
    const [ada, ben] = [await person(), await person()];
    await makeSpace(gateway, ada, 'refused');
    await setSpaceMember(gateway, ada, 'refused', ben, 'EDITOR');
    const phone = await device(ben);
    await phone.pull();
    await phone.write(note('n1', 'stored', 'refused'));
    line.fail('answer lost', 'answer lost', 'answer lost');
    await expect(phone.push()).rejects.toThrow(GatewayError);
    await setSpaceMember(gateway, ada, 'refused', ben, 'VIEWER');
    expect(await phone.push()).toEqual({ accepted: 1, refused: [] });
    await phone.write(note('n2', 'late', 'refused'));
    expect((await phone.push()).refused).toMatchObject([{ refusal: { code: 'FORBIDDEN' } }]);
    expect(phone.get('note', 'n1', 'refused')).toEqual({ text: 'stored' });
  });
});
