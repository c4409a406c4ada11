import { beforeAll, describe, expect, test } from 'vitest';
import { refusalOf, value } from '../../support/sql.ts';
import { as, begin } from '../transaction.ts';
import { appId, change, idsOf, listRecords, makeSpace, makeUsers, pushAs, readAll, untilBlocked } from './asking.ts';
import { database, runtime } from './setting.ts';

let owner: string;
let editor: string;
let leaver: string;
beforeAll(async () => {
  [owner = '', editor = '', leaver = ''] = await makeUsers(database, 3);
});

describe('whoever leaves a space', () => {
  const left = 'left';
  beforeAll(async () => {
    await makeSpace(database, left, [
      [owner, 'owner'],
      [leaver, 'editor'],
    ]);
    await pushAs(runtime, leaver, [change('while-in', { space_id: left })], { app: 'leaving' });
    await pushAs(runtime, owner, [change('of-others', { space_id: left })], { app: 'leaving' });
  });

  test('reads what it wrote itself and no more, and writes there no longer', async () => {
    const read = () =>
      as(runtime, leaver, async (client) => idsOf((await readAll(client, undefined, { app: 'leaving' })).changes));
    expect(await read()).toEqual(['while-in', 'of-others']);
    await database.owner.query('delete from auth.space_members where space_id = $1 and principal_id = $2', [
      left,
      leaver,
    ]);
    expect(await read()).toEqual(['while-in']);
    await as(runtime, leaver, async (client) => expect(await listRecords(client, 'note', 500, 'leaving')).toEqual([]));
    expect(
      await refusalOf(pushAs(runtime, leaver, [change('after', { space_id: left })], { app: 'leaving' })),
    ).toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  test('while its push waits for a record has not written', async () => {
    const place = 'leaving-in-between';
    await makeSpace(database, place, [
      [owner, 'owner'],
      [editor, 'editor'],
    ]);
    const record = { record_id: 'r', space_id: place };
    const first = await runtime.connect();
    await begin(first, owner);
    await first.query('select * from sync.push_changes($1, $2, null, $3)', [
      appId,
      'c',
      JSON.stringify([change('held', record)]),
    ]);
    const second = await runtime.connect();
    await begin(second, editor);
    const pid = await value<number>(second, 'select pg_backend_pid()');
    const pushed = refusalOf(
      second.query('select * from sync.push_changes($1, $2, null, $3)', [
        appId,
        'c',
        JSON.stringify([change('late', record)]),
      ]),
    );
    await untilBlocked(database, pid);
    await database.owner.query('delete from auth.space_members where space_id = $1 and principal_id = $2', [
      place,
      editor,
    ]);
    await first.query('commit');
    expect(await pushed).toMatchObject({ code: 'NOT_FOUND' });
    await second.query('rollback');
    for (const client of [first, second]) client.release();
  });
});
