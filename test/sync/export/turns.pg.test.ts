import type { IncomingMessage } from 'node:http';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../../support/gateway.ts';
import type { Person } from '../../support/people.ts';
import { value } from '../../support/sql.ts';
import { begin } from '../transaction.ts';
import {
  countOf,
  exportOf,
  fill,
  importFile,
  makeAuthor,
  type NewChange,
  open,
  openImport,
  push,
  pushOn,
  readAnswer,
  readWhole,
} from './files.ts';

/** More than the sockets between the two hold, so that an export waits for its reader. */
const changes = 8_000;
const hashes = 100;
/** Of this database: the server has others. */
const waits = 'pg_locks join pg_stat_activity using (pid) where not granted and datname = current_database()';

let gateway: TestGateway;
let ada: Person;
/** Holds no connection for long, and cuts who stalls. */
let strict: TestGateway;
beforeAll(async () => {
  gateway = await startGateway({ environment: { TREELINE_LOG: 'silent' } });
  strict = await startGateway({ database: gateway.database, environment: { TREELINE_STALL_MS: '500' } });
  ada = await makeAuthor(gateway, 'ada');
  await fill(gateway.database, ada, changes, hashes);
});
afterAll(async () => {
  await strict.close();
  await gateway.close();
});

const busy = {
  status: 503,
  headers: { 'retry-after': '1' },
  body: { errors: [{ extensions: { code: 'LIMIT_EXCEEDED' } }] },
};

/** An export of which nothing more is read. */
async function beginExport(at = gateway, headers: object = {}): Promise<IncomingMessage> {
  const response = await open(at, ada, { headers }).response;
  expect(response.statusCode).toBe(200);
  response.pause();
  return response;
}

/** Whether its reader sees that it is not whole. */
function isCut(response: IncomingMessage): Promise<boolean> {
  return readWhole(response).then(
    () => false,
    () => true,
  );
}

async function untilFree(at = gateway): Promise<void> {
  for (;;) {
    const { status } = await readWhole(await open(at, ada, { path: '/export/sync?app=none' }).response);
    if (status === 200) return;
  }
}

/** An import under way: others notice. */
async function beginImport(who: Person, at = gateway) {
  const exchanged = openImport(at, who);
  exchanged.request.write('{');
  while ((await importFile(at, who, '')).status !== 503);
  return exchanged;
}

describe('an export', () => {
  test("waits for its reader, is one of a user's, and others have theirs meanwhile", async () => {
    const first = await beginExport();
    gateway.takeStatements();
    const { status, headers, body } = await readWhole(await open(gateway, ada).response);
    expect({ status, headers, body: JSON.parse(body.toString()) }).toMatchObject(busy);
    const ben = await makeAuthor(gateway, 'ben');
    expect((await exportOf(gateway, ben)).toString()).toContain('"changes":0');
    // Of hundreds of pages a few: what the sockets hold, and one ahead.
    const pages = gateway.takeStatements().filter(({ query }) => query.sql.includes('export_changes'));
    expect(pages.length).toBeLessThan(40);
    const whole = (await readWhole(first)).body;
    expect(whole.equals(await exportOf(gateway, ada))).toBe(true);
  });

  test('does not have what is pushed after it has begun', async () => {
    const who = await makeAuthor(gateway, 'late');
    await fill(gateway.database, who, 4_000, hashes);
    const response = await open(gateway, who).response;
    await push(gateway.database, who, 'zz', [{ change_id: 'late', record_id: 'late', data: {} }]);
    expect((await readWhole(response)).body.toString()).not.toContain('late');
    expect((await exportOf(gateway, who)).toString()).toContain('late');
  });

  test('ends when its token does', async () => {
    const { createToken } = await gateway.ask<{ createToken: { token: string; record: { id: string } } }>(
      'mutation { createToken(input: { name: "passing", scopes: [SYNC] }) { token record { id } } }',
      {},
      { token: ada.token },
    );
    const response = await open(gateway, createToken).response;
    response.pause();
    await gateway.ask(
      'mutation ($t: ID!) { revokeToken(input: { token: $t }) { userErrors { code } } }',
      { t: createToken.record.id },
      { token: ada.token },
    );
    // Nobody reads it, so it cannot end otherwise.
    await untilFree();
    expect(await isCut(response)).toBe(true);
  });

  test('that fails in the middle is cut off: nobody takes it for whole', async () => {
    const response = await beginExport();
    const rename = (from: string, to: string) =>
      gateway.database.owner.query(`alter function sync.${from} rename to ${to}`);
    await rename('export_changes', 'export_gone');
    try {
      expect(await isCut(response)).toBe(true);
    } finally {
      await rename('export_gone', 'export_changes');
    }
    await untilFree();
  });

  test('that cannot begin is an error like others', async () => {
    await gateway.database.owner.query('alter function sync.enter rename to enter_gone');
    try {
      const { status, body } = await readWhole(await open(gateway, ada).response);
      expect([status, body.toString()]).toEqual([500, expect.stringContaining('INTERNAL')]);
    } finally {
      await gateway.database.owner.query('alter function sync.enter_gone rename to enter');
    }
  });

  test.each([{}, { 'accept-encoding': 'gzip' }])('is cut off when nothing of it is read: %j', async (headers) => {
    const response = await open(strict, ada, { headers }).response;
    if ('accept-encoding' in headers) {
      // Packed, all of it fits into what the sockets hold.
      expect((await readWhole(response)).status).toBe(200);
    } else {
      response.pause();
      await untilFree(strict);
      expect(await isCut(response)).toBe(true);
    }
  });

  test('is not cut off for what the database takes', async () => {
    const blocker = await gateway.database.owner.connect();
    try {
      const response = await open(strict, ada).response;
      for await (const _ of response.iterator({ destroyOnReturn: false })) break;
      await blocker.query('begin; lock table sync.sync_changes in access exclusive mode');
      response.resume();
      const waited = `select coalesce(max(extract(epoch from now() - waitstart)), 0)::float from ${waits}`;
      while ((await value<number>(gateway.database.owner, waited)) < 1.5);
      await blocker.query('rollback');
      await new Promise((resolve, reject) => response.once('end', resolve).once('error', reject));
      expect(response.complete).toBe(true);
    } finally {
      await blocker.query('rollback');
      blocker.release();
    }
  });
});

type Begun = Awaited<ReturnType<typeof beginImport>>;

describe('an import', () => {
  test("is one of a user's, eight are on their way at once, and a ninth is asked to wait", async () => {
    const others = await Promise.all(Array.from({ length: 8 }, (_, n) => makeAuthor(gateway, `importer-${n}`)));
    const late = await makeAuthor(gateway, 'importer-late');
    const [one, ...rest] = await Promise.all(others.map((other) => beginImport(other)));
    expect(await importFile(gateway, late, '')).toMatchObject(busy);
    one?.request.end('}');
    expect((await readAnswer(await (one as Begun).response)).status).toBe(400);
    expect((await importFile(gateway, late, '')).status).toBe(400);
    expect(await importFile(gateway, others[1] as Person, '')).toMatchObject(busy);
    for (const { request, response } of rest) {
      request.end('}');
      expect((await readAnswer(await response)).status).toBe(400);
    }
  });

  test('whose client goes away or falls silent leaves nothing behind', async () => {
    const eve = await makeAuthor(strict, 'eve');
    const gone = await beginImport(eve, strict);
    gone.request.destroy();
    while ((await importFile(strict, eve, '')).status === 503);
    const silent = await beginImport(eve, strict);
    await expect(silent.response).rejects.toThrow();
    while ((await importFile(strict, eve, '')).status === 503);
    expect(await countOf(gateway.database, eve)).toBe(0);
  });

  test('ends when nobody waits for it any longer, and stores nothing', async () => {
    const fay = await makeAuthor(gateway, 'fay');
    const file = await exportOf(gateway, ada);
    const { request, response } = openImport(gateway, fay);
    response.catch(() => {});
    await new Promise<void>((resolve) => request.end(file, resolve));
    const importing = `select count(*)::int from pg_stat_activity
      where datname = current_database() and query like '%import_changes%' and state <> 'idle' and pid <> pg_backend_pid()`;
    while ((await value<number>(gateway.database.owner, importing)) === 0);
    request.destroy();
    while ((await importFile(gateway, fay, '')).status === 503);
    expect(await countOf(gateway.database, fay)).toBe(0);
  });

  test('is tried once more when it and a push wait for each other', async () => {
    const gil = await makeAuthor(gateway, 'gil');
    const source = await makeAuthor(gateway, 'source');
    // Three batches, each of one record.
    for (const record of ['a', 'b', 'c']) {
      for (let from = 0; from < 2_000; from += 500) {
        const some = Array.from({ length: 500 }, (_, n): NewChange => {
          return { change_id: `${record}-${from + n}`, record_id: record, data: { n } };
        });
        await push(gateway.database, source, 'app', some);
      }
    }
    const file = await exportOf(gateway, source);
    const [holdsB, holdsC] = await Promise.all([connectAs(gil), connectAs(gil)]);
    try {
      await pushOn(holdsB, 'app', [{ change_id: 'x-b', record_id: 'b', data: { x: 1 } }]);
      await pushOn(holdsC, 'app', [{ change_id: 'x-c', record_id: 'c', data: { x: 1 } }]);
      const imported = importFile(gateway, gil, file);
      await untilWaiting(1, 0);
      // Whoever waits looks once, after a second, whether it waits for itself: this one, before it does.
      const pushed = pushOn(holdsC, 'app', [{ change_id: 'x-a', record_id: 'a', data: { x: 1 } }]);
      await untilWaiting(2, 1.5);
      await holdsB.query('commit');
      await pushed;
      await holdsC.query('commit');
      expect((await imported).body).toMatchObject({ changes: 6_000, stored: 6_000 });
    } finally {
      await Promise.all([holdsB.end(), holdsC.end()]);
    }
    expect(await countOf(gateway.database, gil)).toBe(6_003);
  });

  async function connectAs({ uuid }: Person): Promise<pg.Client> {
    const client = new pg.Client({
      connectionString: gateway.database.runtimeUrl,
      application_name: 'test-pusher',
      options: '-c role=treeline_runtime -c timezone=UTC',
    });
    await client.connect();
    await begin(client, uuid);
    return client;
  }

  /** So many wait for a lock, the last of them for so long. */
  async function untilWaiting(count: number, seconds: number): Promise<void> {
    const waiting = `select coalesce(count(*) = $1 and min(extract(epoch from clock_timestamp() - waitstart)) >= $2, false)
      from ${waits}`;
    while (!(await value<boolean>(gateway.database.owner, waiting, [count, seconds])));
  }
});
