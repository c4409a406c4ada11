import { createHash } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../../support/gateway.ts';
import { makePerson, type Person } from '../../support/people.ts';
import { rows } from '../../support/sql.ts';
import {
  asAuthor,
  countOf,
  exportOf,
  fill,
  importFile,
  makeAuthor,
  type NewChange,
  open,
  push,
  read,
  readWhole,
  recordsOf,
} from './files.ts';

let gateway: TestGateway;
let other: TestGateway;
beforeAll(async () => {
  [gateway, other] = await Promise.all([startGateway(), startGateway()]);
});
afterAll(async () => {
  await gateway.close();
  await other.close();
});

let count = 0;
const author = (at = gateway) => {
  count += 1;
  return makeAuthor(at, `author-${count}`);
};

const checkRecords = ({ database }: TestGateway) => rows(database.owner, 'select * from sync.check_records()');

/** A space of its own, and an app with a second schema version. */
async function prepare({ database }: TestGateway, owner: Person, space: string): Promise<void> {
  await asAuthor(database, owner, async (client) => {
    await client.query(`select from auth.save_space($1, 'Team')`, [space]);
    await client.query(`select sync.register_version('lifted', 2, '[{"table": "notes", "rename": {"old": "new"}}]')`);
  });
}

const at = (second: number) => `2026-01-01T00:00:${String(second).padStart(2, '0')}.000000Z`;

/** Of every kind: old times and none, deletes, what comes back, spaces, actors, names that are no ASCII. */
function varied(spaceId: string): NewChange[] {
  return [
    {
      change_id: '1',
      record_id: 'a',
      op: 'insert',
      data: { title: 'Grüße 😀\n"', n: 1e300, list: [1, null, { a: {} }] },
    },
    {
      change_id: '2',
      record_id: 'a',
      data: { title: 'old' },
      field_meta: { title: at(1) },
      actor: { kind: 'ai', name: 'é' },
    },
    { change_id: '3', record_id: 'b', data: { x: 1, y: 1 }, field_meta: { x: at(5), y: at(1) }, origin: 'agent' },
    { change_id: '4', record_id: 'b', op: 'delete', data: null, field_meta: { '': at(3) } },
    { change_id: '5', record_id: 'c', op: 'delete' },
    { change_id: '6', record_id: 'c', op: 'insert', data: {}, field_meta: { any: at(59) }, actor: 'plain text' },
    { change_id: '7', record_id: 'a', data: { shared: true }, space_id: spaceId, origin: 'migration' },
    { change_id: '8', record_id: 'á/\u2028', table_name: 'tâble', data: { '': '' } },
  ];
}

describe('an export', () => {
  test('imported into an empty registry gives the same log and the same records', async () => {
    const [ada, twin] = [await author(), await author(other)];
    const space = `team-${count}`;
    await prepare(gateway, ada, space);
    await prepare(other, twin, space);
    await push(gateway.database, ada, 'plain', varied(space));
    await push(gateway.database, ada, 'lifted', [
      { change_id: '1', record_id: 'r', data: { old: 1, kept: 1 }, field_meta: { old: at(9), kept: at(9) } },
      { change_id: '2', record_id: 'r', data: { new: 2 }, field_meta: { new: at(8) }, schema_version: 2 },
      { change_id: '3', record_id: 's', data: { old: 3 } },
    ]);
    await fill(gateway.database, ada, 5_000);
    const file = await exportOf(gateway, ada);
    const { changes, manifest } = read(file);
    expect(manifest.apps).toEqual([
      { app_id: 'app-0', changes: 2_500, schema_versions: [1] },
      { app_id: 'app-1', changes: 2_500, schema_versions: [1] },
      { app_id: 'lifted', changes: 3, schema_versions: [1, 2] },
      { app_id: 'plain', changes: 8, schema_versions: [1] },
    ]);
    expect(changes).toHaveLength(5_011);
    const answer = await importFile(other, twin, file);
    expect(answer).toMatchObject({ status: 200, body: { changes: 5_011, stored: 5_011, known: 0 } });
    expect(answer.body.apps?.[2]).toEqual({ appId: 'lifted', changes: 3, schemaVersions: [1, 2] });
    expect((await exportOf(other, twin)).equals(file)).toBe(true);
    const records = await recordsOf(gateway.database, ada);
    expect(records.length).toBeGreaterThan(1_250);
    expect(await recordsOf(other.database, twin)).toEqual(records);
    expect(await checkRecords(other)).toEqual([]);
  });

  test('imported again stores nothing, and a part of it the rest', async () => {
    const ada = await author();
    await fill(gateway.database, ada, 100);
    const one = await exportOf(gateway, ada, '?app=app-1');
    const all = await exportOf(gateway, ada);
    const twin = await author(other);
    expect((await importFile(other, twin, one)).body).toMatchObject({ changes: 50, stored: 50, known: 0 });
    expect((await importFile(other, twin, all)).body).toMatchObject({ changes: 100, stored: 50, known: 50 });
    expect((await importFile(other, twin, all)).body).toMatchObject({ changes: 100, stored: 0, known: 100 });
    expect((await exportOf(other, twin)).equals(all)).toBe(true);
  });

  test('ends with a manifest that tells how many of what there are, and the digest of the lines', async () => {
    const ada = await author();
    await fill(gateway.database, ada, 20);
    const file = await exportOf(gateway, ada);
    const end = file.lastIndexOf('\n', file.length - 2) + 1;
    const sha256 = createHash('sha256').update(file.subarray(0, end)).digest('hex');
    const apps = ['app-0', 'app-1'].map((id) => ({ app_id: id, changes: 10, schema_versions: [1] }));
    const manifest = { format: 'treeline-sync', version: 1, changes: 20, apps, sha256 };
    expect(file.subarray(end).toString()).toBe(`${JSON.stringify(manifest)}\n`);
    expect((await exportOf(gateway, ada)).equals(file)).toBe(true);
  });

  test('of nothing is a manifest, and can be imported', async () => {
    const ada = await author();
    const file = await exportOf(gateway, ada);
    expect(read(file)).toMatchObject({ changes: [], manifest: { changes: 0, apps: [] } });
    expect((await importFile(gateway, ada, file)).body).toEqual({ changes: 0, stored: 0, known: 0, apps: [] });
  });

  test('is of the apps that are asked for', async () => {
    const ada = await author();
    await fill(gateway.database, ada, 20);
    await push(gateway.database, ada, 'a third', [{ change_id: '1', record_id: 'r', data: {} }]);
    const appsOf = async (query: string) =>
      read(await exportOf(gateway, ada, query)).manifest.apps.map(({ app_id: id, changes }) => [id, changes]);
    expect(await appsOf('?app=app-1')).toEqual([['app-1', 10]]);
    expect(await appsOf('?app=app-1&app=a%20third')).toEqual([
      ['a third', 1],
      ['app-1', 10],
    ]);
    expect(await appsOf('?app=unknown')).toEqual([]);
  });

  test.each([
    ['gzip', true],
    ['br, gzip;q=0.5', true],
    ['gzip;q=0, identity', false],
    ['identity', false],
  ])('goes out packed or not, as asked for: %s', async (encoding, packed) => {
    const ada = await author();
    await fill(gateway.database, ada, 2_000);
    const { headers, body } = await readWhole(
      await open(gateway, ada, { headers: { 'accept-encoding': encoding } }).response,
    );
    expect(headers).toMatchObject({
      'content-type': 'application/x-ndjson',
      'content-disposition': 'attachment; filename="treeline-sync.ndjson"',
      vary: 'accept-encoding',
    });
    expect(headers['content-encoding']).toBe(packed ? 'gzip' : undefined);
    expect((packed ? gunzipSync(body) : body).equals(await exportOf(gateway, ada))).toBe(true);
    if (packed) {
      const answer = await importFile(gateway, ada, body, { 'content-encoding': 'gzip' });
      expect(answer.body).toMatchObject({ changes: 2_000, known: 2_000 });
    }
  });

  test('that others take over is theirs from then on', async () => {
    const [ada, ben] = [await author(), await author()];
    await fill(gateway.database, ada, 20);
    const file = await exportOf(gateway, ada);
    expect((await importFile(gateway, ben, file)).body).toMatchObject({ stored: 20 });
    expect((await exportOf(gateway, ben)).equals(file)).toBe(true);
    expect(await countOf(gateway.database, ada)).toBe(20);
  });
});

describe('who may', () => {
  test('has the scope sync; an administrator has it no more than others', async () => {
    const narrow = await makePerson(gateway, 'narrow', ['REGISTRY_READ', 'ADMIN']);
    const refused = { status: 403, body: { errors: [{ extensions: { code: 'FORBIDDEN' } }] } };
    const { status, body } = await readWhole(await open(gateway, narrow).response);
    expect({ status, body: JSON.parse(body.toString()) }).toMatchObject(refused);
    expect(await importFile(gateway, narrow, 'x')).toMatchObject(refused);
    expect((await importFile(gateway, { token: 'tl_nonsense' }, 'x')).status).toBe(401);
  });

  test("takes out what is its own, of spaces too, and nobody else's", async () => {
    const [ada, ben] = [await author(), await author()];
    await asAuthor(gateway.database, ada, async (client) => {
      await client.query(`select from auth.save_space('shared', 'Shared')`);
      await client.query(`select from auth.set_space_member('shared', $1, 'editor')`, [ben.uuid]);
    });
    await push(gateway.database, ada, 'app', [
      { change_id: 'ada-1', record_id: 'r', data: {}, space_id: 'shared' },
      { change_id: 'ada-2', record_id: 'r', data: {} },
    ]);
    await push(gateway.database, ben, 'app', [{ change_id: 'ben-1', record_id: 'r', data: {}, space_id: 'shared' }]);
    const idsOf = async (who: Person) => read(await exportOf(gateway, who)).changes.map((change) => change.change_id);
    expect(await idsOf(ada)).toEqual(['ada-1', 'ada-2']);
    expect(await idsOf(ben)).toEqual(['ben-1']);
  });

  test.each([
    ['DELETE', '/export/sync', 'GET'],
    ['POST', '/export/sync', 'GET'],
    ['PUT', '/import/sync', 'POST'],
    ['GET', '/import/sync', 'POST'],
  ])('%s %s is told what is expected', async (method, path, allow) => {
    const { request, response } = open(gateway, await author(), { method, path });
    request.end();
    const { status, headers } = await readWhole(await response);
    expect([status, headers.allow]).toEqual([405, allow]);
  });

  test.each([
    { 'content-type': 'application/json' },
    { 'content-type': 'application/x-ndjson; charset=latin1' },
    { 'content-encoding': 'br' },
  ])('what is no lines of JSON is refused: %j', async (headers) => {
    const answer = await importFile(gateway, await author(), gzipSync(''), headers);
    expect(answer).toMatchObject({ status: 415, body: { errors: [{ extensions: { code: 'INVALID' } }] } });
  });
});
