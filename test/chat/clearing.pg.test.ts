import { describe, expect, test } from 'vitest';
import { makePerson, setMember } from '../support/people.ts';
import { size } from '../support/size.ts';
import { refusalOf, value } from '../support/sql.ts';
import { append, clear, numbered, readAll } from './asking.ts';
import { ada, gateway, project } from './setting.ts';

describe('a chat that is cleared', () => {
  test('is cleared only by who knows how many messages it has, and numbers go on', async () => {
    const id = await project();
    await append(gateway, ada.token, id, numbered('a', 0, 3));
    expect(await clear(gateway, ada.token, id, 2)).toMatchObject({
      clearedCount: null,
      userErrors: [{ code: 'CONFLICT', details: { count: 3 } }],
    });
    expect(await clear(gateway, ada.token, id, 3)).toEqual({ clearedCount: 3, userErrors: [] });
    expect(await readAll(gateway, ada.token, id)).toEqual([]);
    expect(await clear(gateway, ada.token, id, 3)).toMatchObject({
      userErrors: [{ code: 'CONFLICT', details: { count: 0 } }],
    });
    expect(await clear(gateway, ada.token, id, 0)).toEqual({ clearedCount: 0, userErrors: [] });
    const { messages } = await append(gateway, ada.token, id, numbered('a', 0, 2));
    expect(messages?.map(({ sequenceNum }) => sequenceNum)).toEqual([3, 4]);
    expect(await clear(gateway, ada.token, id, 2)).toMatchObject({ clearedCount: 2 });
  });

  test('while others append, loses nothing that whoever cleared had not seen', async () => {
    const id = await project();
    const appended: number[] = [];
    let cleared = 0;
    const writers = Array.from({ length: 4 }, async (_, session) => {
      for (let n = 0; n < size(200); n += 1) {
        const { messages } = await append(gateway, ada.token, id, numbered(`s${session}`, n, 1));
        appended.push(messages?.[0]?.sequenceNum ?? -1);
      }
    });
    let writing = true;
    const clearer = (async () => {
      while (writing) {
        const known = (await readAll(gateway, ada.token, id)).length;
        cleared += (await clear(gateway, ada.token, id, known)).clearedCount ?? 0;
      }
    })();
    await Promise.all(writers);
    writing = false;
    await clearer;
    const left = await readAll(gateway, ada.token, id);
    expect(appended.toSorted((a, b) => a - b)).toEqual(appended.map((_, n) => n));
    expect(cleared + left.length).toBe(appended.length);
    expect(left.map(({ sequenceNum }) => sequenceNum)).toEqual(left.map((_, n) => cleared + n));
  });
});

describe('what changes while somebody waits for a chat', () => {
  /** Appends in a transaction that stays open until it is ended. */
  async function hold(id: string): Promise<{ commit: (also?: string, values?: unknown[]) => Promise<void> }> {
    const client = await gateway.database.connect();
    await client.query('begin');
    await client.query(`select set_config('app.current_user_id', $1, true)`, [ada.uuid]);
    await client.query('select chat.append_project_messages($1, $2)', [
      id,
      JSON.stringify([{ message_id: 'held', role: 'user', content: 'x' }]),
    ]);
    return {
      commit: async (also, values = []) => {
        if (also !== undefined) await gateway.database.owner.query(also, values);
        await client.query('commit');
        await client.end();
      },
    };
  }

  /** Somebody waits for the lock of a chat. */
  async function untilWaiting(): Promise<void> {
    const waiting = () =>
      value<boolean>(
        gateway.database.owner,
        `select exists (select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database())`,
      );
    while (!(await waiting()));
  }

  test.each([
    ['an append', (token: string, id: string) => append(gateway, token, id, numbered('late', 0, 1))],
    ['a clearing', (token: string, id: string) => clear(gateway, token, id, 2)],
  ])('%s by who is a member no longer is refused', async (name, act) => {
    const id = await project();
    const ben = await makePerson(gateway, `ben-${name.replace(' ', '-')}`);
    await setMember(gateway, id, ben, 'editor');
    await append(gateway, ada.token, id, numbered('m', 0, 1));
    const held = await hold(id);
    const acting = act(ben.token, id);
    await untilWaiting();
    await held.commit('select registry.set_project_member($1, $2, null)', [id, ben.uuid]);
    expect((await acting).userErrors).toMatchObject([{ code: 'NOT_FOUND', path: ['input', 'project'] }]);
    expect(await readAll(gateway, ada.token, id)).toHaveLength(2);
  });

  test('a clearing counts what was appended meanwhile', async () => {
    const id = await project();
    const held = await hold(id);
    const clearing = clear(gateway, ada.token, id, 1);
    await untilWaiting();
    await held.commit();
    expect(await clearing).toMatchObject({ clearedCount: 1 });
    expect(await readAll(gateway, ada.token, id)).toEqual([]);
  });

  test('a delete by SQL that missed a message is refused', async () => {
    const id = await project();
    await append(gateway, ada.token, id, numbered('m', 0, 2));
    const held = await hold(id);
    const client = await gateway.database.connect();
    await client.query('begin');
    await client.query(`select set_config('app.current_user_id', $1, true)`, [ada.uuid]);
    const deleting = refusalOf(client.query('delete from chat.project_messages where project_id = $1', [id]));
    await untilWaiting();
    await held.commit();
    expect(await deleting).toMatchObject({ code: 'FORBIDDEN' });
    await client.end();
    expect(await readAll(gateway, ada.token, id)).toHaveLength(3);
  });

  test('a project that is deleted answers NOT_FOUND', async () => {
    const id = await project();
    const client = await gateway.database.connect();
    await client.query('begin');
    await client.query('delete from registry.projects where id = $1', [id]);
    const appending = append(gateway, ada.token, id, numbered('late', 0, 1));
    await untilWaiting();
    await client.query('commit');
    await client.end();
    expect((await appending).userErrors).toMatchObject([{ code: 'NOT_FOUND' }]);
  });
});

describe('by SQL', () => {
  test('nothing is changed or deleted singly, and no number is taken out of turn', async () => {
    const id = await project();
    await append(gateway, ada.token, id, numbered('a', 0, 3));
    const client = await gateway.database.connect();
    await client.query('select set_config($1, $2, false)', ['app.current_user_id', ada.uuid]);
    const run = (sql: string) => refusalOf(client.query(sql, [id]));
    const forbidden = { code: 'FORBIDDEN' };
    expect(await run(`update chat.project_messages set content = '"x"' where project_id = $1`)).toMatchObject(
      forbidden,
    );
    for (const some of ['sequence_num = 1', 'sequence_num = 0', 'sequence_num < 2', 'sequence_num > 0']) {
      expect(await run(`delete from chat.project_messages where project_id = $1 and ${some}`)).toMatchObject(forbidden);
    }
    for (const sql of [
      'update chat.project_counters set next_sequence = 9 where project_id = $1',
      'delete from chat.project_counters where project_id = $1',
      'insert into chat.project_counters (project_id, next_sequence) values ($1, 9)',
    ]) {
      expect(await run(sql)).toMatchObject(forbidden);
    }
    expect(await refusalOf(client.query('truncate chat.project_messages'))).toMatchObject(forbidden);
    const insert = (number: number) =>
      run(`insert into chat.project_messages (project_id, message_id, sequence_num, role, content)
        values ($1, 'own', ${number}, 'user', '"x"')`);
    expect(await insert(4)).toMatchObject(forbidden);
    expect(await insert(1)).toMatchObject({ sqlstate: '23505' });
    expect(await refusalOf(client.query(`select * from chat.append_project_messages($1, null)`, [id]))).toMatchObject({
      code: 'INVALID',
    });
    // As a whole it is a clearing like any other.
    await client.query('delete from chat.project_messages where project_id = $1', [id]);
    await client.end();
    expect((await append(gateway, ada.token, id, numbered('b', 0, 1))).messages?.[0]?.sequenceNum).toBe(3);
  });

  test('a project that is deleted takes its chat along', async () => {
    const id = await project();
    await append(gateway, ada.token, id, numbered('a', 0, 3));
    await gateway.database.owner.query('delete from registry.projects where id = $1', [id]);
    expect(
      await value(
        gateway.database.owner,
        `select count(*)::int from feed.events where topic = 'messages' and op = 'delete' and project_id = $1`,
        [id],
      ),
    ).toBe(0);
    expect(
      await value(gateway.database.owner, 'select count(*)::int from chat.project_counters where project_id = $1', [
        id,
      ]),
    ).toBe(0);
  });
});
