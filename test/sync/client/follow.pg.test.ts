import { setImmediate } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import type { Notice } from '../../../src/client/follow.ts';
import type { SyncClient, SyncClientOptions } from '../../../src/sync/client/client.ts';
import { memoryStorage, type SyncStorage } from '../../../src/sync/client/storage.ts';
import { createTestDatabase } from '../../support/database.ts';
import { startGateway } from '../../support/gateway.ts';
import { makePerson } from '../../support/people.ts';
import { makeSpace, push, setSpaceMember } from '../asking.ts';
import { device, gateway, note, person, until } from './setting.ts';

const following: { stop: AbortController; ended: Promise<void> }[] = [];
afterEach(async () => {
  for (const { stop, ended } of following.splice(0)) {
    stop.abort();
    await ended;
  }
});

/** On the gateway itself: the line passes no sockets. */
async function followed(
  token: string,
  options: Partial<SyncClientOptions> = {},
  onNotice?: (notice: Notice) => void,
): Promise<SyncClient> {
  const client = await device({ token }, { url: gateway.url, ...options });
  const stop = new AbortController();
  following.push({ stop, ended: client.follow({ signal: stop.signal, ...(onNotice && { onNotice }) }) });
  return client;
}

/** Between what a commit is made from and the commit, much else happens. */
function slowStorage(): SyncStorage {
  const storage = memoryStorage();
  return {
    load: () => storage.load(),
    async commit(commit) {
      for (let turn = 0; turn < 20; turn += 1) await setImmediate();
      await storage.commit(commit);
    },
  };
}

describe('a client that follows', () => {
  test("gets what the user's other device and the space's members write, as it comes", async () => {
    const [ada, ben] = [await person(), await person()];
    await makeSpace(gateway, ada, 'live');
    await setSpaceMember(gateway, ada, 'live', ben, 'EDITOR');
    const phone = await device(ada);
    await phone.write(note('before'));
    await phone.push();
    const [hers, his] = [await followed(ada.token), await followed(ben.token)];
    await until(hers, () => hers.get('note', 'before') !== null);
    await phone.write(note('own'));
    await phone.write(note('shared', 'for both', 'live'));
    await phone.push();
    await until(hers, () => hers.get('note', 'own') !== null && hers.get('note', 'shared', 'live') !== null);
    await until(his, () => his.get('note', 'shared', 'live') !== null);
    expect(his.list('note')).toHaveLength(1);
    await his.write({ op: 'update', table: 'note', recordId: 'shared', data: { done: true }, spaceId: 'live' });
    await his.push();
    await until(hers, () => hers.get('note', 'shared', 'live')?.done === true);
  });

  test('loses nothing of records that it writes itself while others write to them', async () => {
    const ada = await person();
    const phone = await followed(ada.token, { storage: slowStorage() });
    const numbers = Array.from({ length: 200 }, (_, n) => n);
    const theirs = numbers.map((n) => ({ changeId: `c${n}`, recordId: `n${n % 20}`, data: { [`theirs${n}`]: n } }));
    const others = (async () => {
      for (let n = 0; n < 200; n += 10) await push(gateway, ada, 'other', theirs.slice(n, n + 10));
    })();
    for (const n of numbers) {
      await phone.write({ op: 'update', table: 'note', recordId: `n${n % 20}`, data: { [`mine${n}`]: n } });
      if (n % 10 === 9) await phone.push();
    }
    await others;
    const fields = () => phone.list('note').flatMap(({ data }) => Object.keys(data));
    await until(phone, () => fields().some((name) => name === 'theirs199'));
    expect(fields()).toHaveLength(400);
  });

  test('gets what is in a space that it comes into, and loses what was in one that it leaves', async () => {
    const [ada, ben] = [await person(), await person()];
    await makeSpace(gateway, ada, 'door');
    await push(gateway, ada, 'other', [{ changeId: 'c', recordId: 'n1', spaceId: 'door' }]);
    const his = await followed(ben.token);
    const isThere = () => his.get('note', 'n1', 'door') !== null;
    for (let round = 0; round < 2; round += 1) {
      await setSpaceMember(gateway, ada, 'door', ben, 'EDITOR');
      await until(his, isThere);
      await setSpaceMember(gateway, ada, 'door', ben, null);
      await until(his, () => !isThere());
    }
    await push(gateway, ben, 'other', [{ changeId: 'own', recordId: 'own' }]);
    await until(his, () => his.get('note', 'own') !== null);
  });

  test('goes on from where it was when the gateway comes back', async () => {
    const database = await createTestDatabase();
    const first = await startGateway({ database });
    const ada = await makePerson(first, 'ada', ['REGISTRY_READ', 'SYNC']);
    const notices: string[] = [];
    const phone = await followed(ada.token, { url: first.url }, ({ kind }) => void notices.push(kind));
    await push(first, ada, 'other', [{ changeId: 'one', recordId: 'one' }]);
    await until(phone, () => phone.get('note', 'one') !== null);
    await first.close();
    const second = await startGateway({ database, environment: { PORT: new URL(first.url).port } });
    await push(second, ada, 'other', [{ changeId: 'two', recordId: 'two' }]);
    await until(phone, () => phone.get('note', 'two') !== null);
    expect(notices).toEqual(['lost', 'back']);
    const [{ stop, ended } = { stop: new AbortController(), ended: Promise.resolve() }] = following.splice(0);
    stop.abort();
    await ended;
    await second.close();
    await database.close();
  });

  test('ends with an error when its token is no longer good', async () => {
    const ada = await person();
    const phone = await followed(ada.token);
    await push(gateway, ada, 'other', [{ changeId: 'c', recordId: 'n1' }]);
    await until(phone, () => phone.get('note', 'n1') !== null);
    const [running] = following.splice(0);
    await gateway.ask('mutation ($i: ID!) { revokeToken(input: { token: $i }) { userErrors { code } } }', {
      i: ada.tokenId,
    });
    await expect(running?.ended).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  });

  test('begins anew by itself once a refused change was dropped', async () => {
    const ada = await person();
    const phone = await followed(ada.token);
    const id = await phone.write({ ...note('n1'), spaceId: 'not-hers' });
    await phone.push();
    await phone.drop(id);
    await push(gateway, ada, 'other', [{ changeId: 'c', recordId: 'n2' }]);
    await until(phone, () => phone.get('note', 'n2') !== null);
  });

  test('ends when it is closed', async () => {
    const phone = await followed((await person()).token);
    await phone.close();
    await expect(following.splice(0)[0]?.ended).resolves.toBeUndefined();
  });
});
