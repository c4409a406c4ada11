import { beforeAll, describe, expect, test } from 'vitest';
import { rows, value } from '../../support/sql.ts';
import { begin } from '../transaction.ts';
import { change, makeSpace, makeUsers, pushAs } from './asking.ts';
import { database } from './setting.ts';

let ada: string;
beforeAll(async () => {
  [ada = ''] = await makeUsers(database, 1);
  await makeSpace(database, 'checked', [[ada, 'owner']]);
  await pushAs(database.runtime, ada, [
    change('a', { record_id: 'checked' }),
    change('b', { record_id: 'checked in a space', space_id: 'checked' }),
  ]);
});

describe('the check of all records', () => {
  const tampering = [
    [`update sync.records set data = data || '{"text": "tampered"}' where record_id = 'checked'`, 'checked'],
    [`update sync.records set field_meta = '{}' where record_id = 'checked'`, 'checked'],
    [`update sync.records set deleted_at = now(), deleted_position = 1 where record_id = 'checked'`, 'checked'],
    [`update sync.records set record_id = 'moved' where record_id = 'checked'`, 'checked'],
    [`delete from sync.records where record_id = 'checked in a space'`, 'checked in a space'],
    [
      `insert into sync.records (user_id, app_id, table_name, record_id, schema_version, data, field_meta, field_positions, position)
       values (auth.current_principal_id(), 'notes', 'note', 'invented', 1, '{}', '{}', '{}', 1)`,
      'invented',
    ],
  ] as const;

  test.each(tampering)('finds one that is not as its changes make it: %s', async (statement, record) => {
    const owner = await database.connect();
    await begin(owner, ada);
    await owner.query('alter table sync.records disable trigger user');
    await owner.query('select sync.enter()');
    expect((await owner.query(statement)).rowCount).toBe(1);
    const found = await rows<{ record_id: string }>(owner, 'select record_id from sync.check_records()');
    expect(found.map(({ record_id }) => record_id)).toContain(record);
    await owner.query('rollback');
    await owner.end();
    expect(await value(database.owner, 'select count(*)::int from sync.check_records()')).toBe(0);
  });
});
