import { beforeAll, describe, expect, test } from 'vitest';
import { refusalOf, rows } from '../../support/sql.ts';
import { as } from '../transaction.ts';
import { appId, change, makeSpace, numbered, pushAs, readAll } from './asking.ts';
import { database, newUser, runtime, stored } from './setting.ts';

let ada: string;

/** Ahead by more than clocks are. */
const ahead = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString();
const deep = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels));

/** What is wrong with a change, and which field is named. */
const bad: [what: string, wrong: Record<string, unknown>, field: string, code?: string][] = [
  ...(
    [
      ['change_id', 'changeId', 200],
      ['table_name', 'table', 200],
      ['record_id', 'recordId', 500],
    ] as const
  ).flatMap(([name, field, most]): typeof bad => [
    [`no ${name}`, { [name]: null }, field],
    [`an empty ${name}`, { [name]: '' }, field],
    [`a blank ${name}`, { [name]: '  ' }, field],
    [`a long ${name}`, { [name]: 'x'.repeat(most + 1) }, field],
    [`a ${name} that is long in bytes`, { [name]: 'é'.repeat(most / 2 + 1) }, field],
    [`a number as ${name}`, { [name]: 7 }, field],
    [`an array as ${name}`, { [name]: ['x'] }, field],
  ]),
  ['no op', { op: null }, 'op'],
  ['another op', { op: 'upsert' }, 'op'],
  ['an op in capitals', { op: 'INSERT' }, 'op'],
  ['an array as op', { op: ['insert'] }, 'op'],
  ['no data', { data: null }, 'data'],
  ['data that is an array', { data: [{ text: 'x' }] }, 'data'],
  ['data that is text', { data: 'x' }, 'data'],
  ['a delete with data that is no object', { op: 'delete', data: [] }, 'data'],
  ['data that nests too deeply', { data: { a: deep(600) } }, 'data'],
  ['times that are an array', { field_meta: [] }, 'fieldMeta'],
  ['times in an array', { field_meta: [{ text: '2026-01-01T00:00:00Z' }] }, 'fieldMeta'],
  ['times that are text', { field_meta: '2026-01-01T00:00:00Z' }, 'fieldMeta'],
  ...[
    'yesterday',
    '',
    '2026-01-01',
    '2026-01-01T00:00:00',
    '2026-01-01 00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-02-29T00:00:00Z',
    '2026-04-31T00:00:00Z',
    '2026-01-01T25:00:00Z',
    '2026-01-01T00:00:00.Z',
    '2026-01-01T00:00:00.0000000001Z',
    '2026-01-01T00:00:00+99:00',
    '2026-01-01T00:00:00+16:00',
    '0000-01-01T00:00:00Z',
    '0001-01-01T00:00:00+05:00',
    'infinity',
    'now',
    '9999-12-31T23:59:59Z',
    1_767_225_600,
    true,
    {},
    ['2026-01-01T00:00:00Z'],
  ].map((time): (typeof bad)[number] => [
    `the time ${JSON.stringify(time)}`,
    { field_meta: { text: time } },
    'fieldMeta',
  ]),
  ['a time of the day after tomorrow', { field_meta: { text: ahead(2) } }, 'fieldMeta'],
  ['a wrong time of a field that it does not write', { field_meta: { other: 'x' } }, 'fieldMeta'],
  ['a fraction as schema version', { schema_version: 1.5 }, 'schemaVersion'],
  ['text as schema version', { schema_version: '1' }, 'schemaVersion'],
  ['an array as schema version', { schema_version: [1] }, 'schemaVersion'],
  ['a schema version beyond all', { schema_version: 99_999_999_999 }, 'schemaVersion'],
  ['a schema version that is unknown', { schema_version: 2 }, 'schemaVersion', 'UNSUPPORTED_VERSION'],
  ['a number as space', { space_id: 7 }, 'spaceId'],
  ['an array as space', { space_id: [] }, 'spaceId'],
  ['an empty space', { space_id: '' }, 'spaceId', 'NOT_FOUND'],
  ['an unknown space', { space_id: 'nowhere' }, 'spaceId', 'NOT_FOUND'],
  ['a space that it only views', { space_id: 'viewed' }, 'spaceId', 'FORBIDDEN'],
  ['another origin', { origin: 'server-replay' }, 'origin'],
  ['a number as origin', { origin: 7 }, 'origin'],
  ['an array as origin', { origin: ['user'] }, 'origin'],
  ['a number as created_at', { created_at: 7 }, 'createdAt'],
  ['an array as created_at', { created_at: [] }, 'createdAt'],
  ['a created_at that is no time', { created_at: 'infinity' }, 'createdAt'],
  ['a created_at that is yet to come', { created_at: ahead(1) }, 'createdAt'],
];

describe('one bad change in a batch', () => {
  beforeAll(async () => {
    ada = await newUser();
    await makeSpace(database, 'viewed', [[ada, 'viewer']]);
  });
  let place = 0;

  test.each(bad)('is named, and nothing is stored: %s', async (_, wrong, field, code = 'INVALID') => {
    place = (place + 7) % 20;
    const changes = numbered('n', 20).map((one, index) => (index === place ? { ...one, ...wrong } : one));
    const refused = await refusalOf(pushAs(runtime, ada, changes));
    expect(refused).toMatchObject({ code, details: { index: place, field } });
    expect(refused.message).toMatch(new RegExp(`^Change ${place}: `));
    expect(await stored(ada)).toEqual([]);
    expect(await rows(runtime, 'select * from sync.records')).toEqual([]);
  });

  test.each([[null], ['x'], [7], [[change('x')]]])('is named where it is no object: %j', async (wrong) => {
    const refused = await refusalOf(pushAs(runtime, ada, [change('a'), wrong, change('b')]));
    expect(refused).toMatchObject({ code: 'INVALID', details: { index: 1, field: null } });
  });

  test.each([
    ['app', { app: ' ' }, 'appId'],
    ['client', { clientId: 'c'.repeat(201) }, 'clientId'],
  ])('is the first where the %s is wrong', async (_, options, field) => {
    const refused = await refusalOf(pushAs(runtime, ada, numbered('n', 3), options));
    expect(refused).toMatchObject({ code: 'INVALID', details: { index: 0, field } });
  });

  test('is the first of several', async () => {
    const changes = [change('a'), change('b', { op: 'x' }), change('c', { data: 7 }), change('d', { op: 'y' })];
    expect((await refusalOf(pushAs(runtime, ada, changes))).details).toEqual({ index: 1, field: 'op' });
  });
});

describe('numbers', () => {
  const pushText = (user: string, numbers: string) =>
    as(runtime, user, (client) =>
      client.query(`select sync.push_changes($2, 'phone', null, $1)`, [
        `[{"change_id": "n", "table_name": "t", "record_id": "r", "op": "insert", "data": {"n": [${numbers}]}}]`,
        appId,
      ]),
    );

  test.each([
    ['one of more digits than any reader holds', '1e131071'],
    ['one of as many behind the point', '-1e-16383'],
    ['many that are long when they are written out', Array.from({ length: 40_000 }, () => '1e308').join()],
  ])('of which there is %s are refused before they are written out', async (_what, numbers) => {
    const user = await newUser();
    expect(await refusalOf(pushText(user, numbers))).toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
      // Found by counting them, not by writing all of them.
      message: expect.stringContaining('all digits of their numbers'),
    });
    expect(await stored(user)).toEqual([]);
  });

  test('that every reader can hold are stored, and are read back as they were sent', async () => {
    const user = await newUser();
    const numbers = '1.7976931348623157e308, 5e-324, 0, -0.5, 12345678901234567890';
    await pushText(user, numbers);
    const { changes } = await as(runtime, user, (client) => readAll(client));
    expect(changes.map(({ data }) => data)).toEqual([{ n: JSON.parse(`[${numbers}]`) }]);
    // To the last digit, which JavaScript rounds away on both sides: the database compares them.
    const [page] = await as(runtime, user, (client) =>
      rows<{ same: boolean }>(
        client,
        `select page.changes::jsonb #> '{0,data,n}' = $2::jsonb as same
         from sync.read_changes($1, null, null, '1:1:', null, null, 10, 1000000) as page`,
        [appId, `[${numbers}]`],
      ),
    );
    expect(page).toEqual({ same: true });
  });
});
