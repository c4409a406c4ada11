import { describe, expect, test } from 'vitest';
import { makePerson, type Person, setMember } from '../support/people.ts';
import { append, clear, numbered } from './asking.ts';
import { follow, take, upTo } from './following.ts';
import { ada, gateway, project } from './setting.ts';

describe('a clearing', () => {
  test('is told to those who watch, and to those who come back without knowing of it, once', async () => {
    const id = await project();
    await append(gateway, ada.token, id, numbered('m', 0, 3));
    const watching = await follow(gateway, ada, id, { afterSequence: -1 });
    await take(watching, 3);
    await clear(gateway, ada.token, id, 3);
    const cleared = await watching.next();
    expect(cleared).toMatchObject({ change: 'DELETED', message: null, clearedThrough: 2 });
    await append(gateway, ada.token, id, numbered('n', 0, 2));
    expect(await take(watching, 2)).toEqual([3, 4]);
    await watching.close();
    for (const [n, afterSequence] of [-1, 0, 2].entries()) {
      const back = await follow(gateway, ada, id, { afterSequence });
      expect(await back.next()).toMatchObject({ change: 'DELETED', clearedThrough: 2 });
      expect(await take(back, 2 + n)).toEqual(upTo(3, 5 + n));
      await append(gateway, ada.token, id, numbered('later', n, 1));
      expect(await take(back, 1)).toEqual([5 + n]);
      await back.close();
    }
    for (const from of [{ after: cleared.cursor }, { afterSequence: 3 }]) {
      const knowing = await follow(gateway, ada, id, from);
      expect((await knowing.next()).change).toBe('CREATED');
      await knowing.close();
    }
  });

  test('an old position hides no message that comes after it', async () => {
    const id = await project();
    await append(gateway, ada.token, id, numbered('m', 0, 9));
    const old = await follow(gateway, ada, id, { afterSequence: 7 });
    const { cursor } = await old.next();
    await old.close();
    await clear(gateway, ada.token, id, 9);
    await append(gateway, ada.token, id, numbered('n', 0, 1));
    const back = await follow(gateway, ada, id, { after: cursor });
    expect(await back.next()).toMatchObject({ change: 'DELETED', clearedThrough: 8 });
    expect(await back.next()).toMatchObject({ message: { sequenceNum: 9, messageId: 'n-0' } });
    await back.close();
  });
});

describe('a right that is lost', () => {
  test.each([
    ['a member no longer', (id: string, ben: Person) => setMember(gateway, id, ben, null)],
    [
      'its project is gone',
      (id: string) => gateway.database.owner.query('delete from registry.projects where id = $1', [id]),
    ],
  ])('%s: the stream ends with FORBIDDEN, and nothing more is told', async (name, takeAway) => {
    const id = await project();
    const ben = await makePerson(gateway, `ben-${name.length}`);
    await setMember(gateway, id, ben, 'viewer');
    const watching = await follow(gateway, ben, id);
    await append(gateway, ada.token, id, numbered('m', 0, 1));
    expect((await watching.next()).message?.sequenceNum).toBe(0);
    await takeAway(id, ben);
    expect(await watching.failure()).toMatchObject({ extensions: { code: 'FORBIDDEN' } });
    await watching.close();
  });

  test('with a new message in the same moment: it is not told', async () => {
    const id = await project();
    const ben = await makePerson(gateway, 'ben-late');
    await setMember(gateway, id, ben, 'editor');
    const watching = await follow(gateway, ben, id);
    const client = await gateway.database.connect();
    await client.query('begin');
    await client.query(`select set_config('app.current_user_id', $1, true)`, [ada.uuid]);
    await client.query('select chat.append_project_messages($1, $2)', [
      id,
      JSON.stringify([{ message_id: 'late', role: 'user', content: 'secret' }]),
    ]);
    await client.query('select registry.set_project_member($1, $2, null)', [id, ben.uuid]);
    await client.query('commit');
    await client.end();
    expect(await watching.failure()).toMatchObject({ extensions: { code: 'FORBIDDEN' } });
    await watching.close();
  });

  test('an editor who becomes a viewer keeps watching', async () => {
    const id = await project();
    const ben = await makePerson(gateway, 'ben-stays');
    await setMember(gateway, id, ben, 'editor');
    const watching = await follow(gateway, ben, id);
    await setMember(gateway, id, ben, 'viewer');
    await append(gateway, ada.token, id, numbered('m', 0, 1));
    expect(await take(watching, 1)).toEqual([0]);
    await watching.close();
  });
});
