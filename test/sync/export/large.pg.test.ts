import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLineDigest } from '../../../src/kernel/line-digest.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { type GatewayProcess, spawnGateway } from '../../support/gateway-process.ts';
import type { Person } from '../../support/people.ts';
import { temporaryFolder } from '../../support/repositories.ts';
import { full, size } from '../../support/size.ts';
import { rows } from '../../support/sql.ts';
import {
  countOf,
  exportOf,
  fill,
  importFile,
  makeAuthor,
  open,
  openImport,
  push,
  type RecordRow,
  readAnswer,
  recordsOf,
} from './files.ts';

const changes = size(1_000_000);
const mostGrownBytes = 64_000_000;
const warmUpChanges = 10_000;
const pushed = 50;

const folder = temporaryFolder();
const file = join(folder.path, 'some.ndjson');
/** Half of them: that takes long enough. */
const some = '?app=app-1';
const databases: TestDatabase[] = [];
const gateways: GatewayProcess[] = [];

async function start(): Promise<{ database: TestDatabase; gateway: GatewayProcess; author: Person }> {
  const database = await createTestDatabase();
  databases.push(database);
  const gateway = await spawnGateway({ databaseUrl: database.ownerUrl });
  gateways.push(gateway);
  return { database, gateway, author: await makeAuthor(gateway, 'ada') };
}

let from: Awaited<ReturnType<typeof start>>;
let into: Awaited<ReturnType<typeof start>>;
beforeAll(async () => {
  [from, into] = await Promise.all([start(), start()]);
  await fill(from.database, from.author, changes);
}, 600_000);
afterAll(async () => {
  await Promise.all(gateways.map((gateway) => gateway.stop()));
  await Promise.all(databases.map((database) => database.close()));
  folder.remove();
});

function residentBytes({ child }: GatewayProcess): number {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1_024;
}

/** What a process takes at its first work, however little that is, is no growth: the heap's own room. */
async function warmUp(gateway: GatewayProcess, database: TestDatabase): Promise<void> {
  const other = await makeAuthor(gateway, 'other');
  await fill(database, other, warmUpChanges);
  const small = await exportOf(gateway, other);
  const { body } = await importFile(gateway, await makeAuthor(gateway, 'another'), small);
  expect(body).toMatchObject({ stored: warmUpChanges });
}

describe('the gateway', { timeout: full ? 900_000 : 120_000 }, () => {
  test('exports any number of changes in memory that does not grow with them', async () => {
    const { gateway, author } = from;
    // Also by a process that has done nothing yet.
    const before = residentBytes(gateway);
    let most = 0;
    const lines = createLineDigest();
    for await (const chunk of await open(gateway, author).response) {
      most = Math.max(most, residentBytes(gateway));
      lines.add(chunk);
    }
    expect(most - before).toBeLessThan(mostGrownBytes);
    const { sha256, lastLine } = lines.end();
    expect(JSON.parse(lastLine.toString())).toMatchObject({ changes, sha256 });
  });

  test('goes on when a client goes away in the middle: no statement runs on, and the next export is answered', async () => {
    const { gateway, author, database } = from;
    const response = await open(gateway, author).response;
    for await (const _ of response) break;
    response.destroy();
    const running = () =>
      rows(
        database.owner,
        `select query from pg_stat_activity where datname = current_database() and application_name = 'treeline'
         and state <> 'idle' and query like '%export_changes%'`,
      );
    let next = await open(gateway, author, { path: '/export/sync?app=none' }).response;
    // For as long as its last page takes.
    while (next.statusCode === 503) {
      next.resume();
      next = await open(gateway, author, { path: '/export/sync?app=none' }).response;
    }
    expect(next.statusCode).toBe(200);
    next.resume();
    expect(await running()).toEqual([]);
  });

  test('imports them in bounded memory while others push, to the same log and the same records', async () => {
    const { gateway, author, database } = into;
    await warmUp(gateway, database);
    const ben = await makeAuthor(gateway, 'ben');
    await pipeline(
      await open(from.gateway, from.author, { path: `/export/sync${some}` }).response,
      createWriteStream(file),
    );
    const before = residentBytes(gateway);
    const { request, response } = openImport(gateway, author);
    const answer = response.then(readAnswer);
    await pipeline(createReadStream(file), request);
    let over = false;
    void answer.finally(() => {
      over = true;
    });
    let most = 0;
    const sampling = setInterval(() => {
      most = Math.max(most, residentBytes(gateway));
    }, 20);
    for (let n = 1; n <= pushed; n += 1) {
      await push(database, ben, 'app-0', [{ change_id: `${n}`, record_id: 'record-1', data: { n } }]);
      // The author itself goes on, too, with other records.
      await push(database, author, 'zz', [{ change_id: `${n}`, record_id: 'mine', data: { n } }]);
    }
    expect(over).toBe(false);
    const { body } = await answer.finally(() => clearInterval(sampling));
    expect(body).toMatchObject({ changes: changes / 2, stored: changes / 2, known: 0 });
    expect(most - before).toBeLessThan(mostGrownBytes);
    expect(await countOf(database, ben)).toBe(pushed);
    const again = await exportOf(gateway, author, some);
    const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
    expect(digest(again)).toBe(digest(readFileSync(file)));
    expect(await rows(database.owner, 'select record_id from sync.check_records()')).toEqual([]);
    const [records, imported] = await Promise.all([recordsOf(from.database, from.author), recordsOf(database, author)]);
    const ofSome = (all: RecordRow[]) => JSON.stringify(all.filter(({ app_id: app }) => app === 'app-1'));
    // Not by toEqual, which takes minutes to look through them.
    expect(ofSome(imported) === ofSome(records)).toBe(true);
    expect(imported.length).toBeGreaterThan(changes / 16);
  });
});
