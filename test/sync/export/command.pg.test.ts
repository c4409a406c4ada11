import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../../support/gateway.ts';
import { makePerson, type Person } from '../../support/people.ts';
import { temporaryFolder } from '../../support/repositories.ts';
import { countOf, exportOf, fill, makeAuthor, read } from './files.ts';

const program = fileURLToPath(new URL('../../../src/cli/treeline.ts', import.meta.url));
const changes = 3_000;

const folder = temporaryFolder();
let gateway: TestGateway;
let ada: Person;
let file: Buffer;
beforeAll(async () => {
  gateway = await startGateway();
  ada = await makeAuthor(gateway, 'ada');
  await fill(gateway.database, ada, changes);
  file = await exportOf(gateway, ada);
});
afterAll(async () => {
  await gateway.close();
  folder.remove();
});

interface Ran {
  code: number | null;
  out: Buffer;
  err: string;
}

type As = { token: string; url?: string; input?: Buffer | string };

function start(args: readonly string[], { token, url = gateway.url, input = '' }: As) {
  const child = spawn(process.execPath, [program, 'sync', ...args], {
    cwd: folder.path,
    env: { ...process.env, TREELINE_URL: url, TREELINE_TOKEN: token },
  });
  // One that refuses does not read it all.
  child.stdin.on('error', () => {}).end(input);
  const ran = Promise.all([buffer(child.stdout), buffer(child.stderr), once(child, 'close')]).then(
    ([out, err, [code]]): Ran => ({ code: code as number | null, out, err: err.toString() }),
  );
  return { child, ran };
}

const run = (args: readonly string[], as: As) => start(args, as).ran;

/** Something else than a gateway, that answers so. */
async function withServer(answer: RequestListener, act: (url: string) => Promise<void>): Promise<void> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await act(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

const pathOf = (name: string) => join(folder.path, name);
const partsLeft = () => readdirSync(folder.path).filter((name) => name.endsWith('.part'));

describe('treeline sync', () => {
  test.each(['all.ndjson', 'all.ndjson.gz'])(
    'what is exported to %s can be imported by somebody else',
    async (name) => {
      const exported = await run(['export', name], ada);
      expect(exported).toMatchObject({ code: 0, err: '' });
      expect(exported.out.toString()).toBe(`Exported ${changes} changes to ${name}.\n`);
      const written = readFileSync(pathOf(name));
      expect((name.endsWith('.gz') ? gunzipSync(written) : written).equals(file)).toBe(true);
      expect(statSync(pathOf(name)).mode & 0o777).toBe(0o600);
      expect(partsLeft()).toEqual([]);
      const other = await makeAuthor(gateway, `other-${name.length}`);
      const imported = await run(['import', name], other);
      expect(imported).toMatchObject({ code: 0, err: '' });
      expect(imported.out.toString()).toBe(`Imported 3000 changes: 3000 are new, 0 were there already.\n`);
      expect((await exportOf(gateway, other)).equals(file)).toBe(true);
    },
  );

  test('from standard output to standard input', async () => {
    const exported = await run(['export'], ada);
    expect(exported).toMatchObject({ code: 0, err: '' });
    expect(exported.out.equals(file)).toBe(true);
    const imported = await run(['import', '-'], { token: ada.token, input: exported.out });
    expect(imported.out.toString()).toContain('3000 were there already');
    const some = await run(['export', '-', '--app', 'app-1', 'none'], ada);
    expect(read(some.out).manifest.apps).toMatchObject([{ app_id: 'app-1' }]);
  });

  test('says what is wrong, and leaves nothing', async () => {
    const ben = await makeAuthor(gateway, 'ben');
    const narrow = await makePerson(gateway, 'narrow', ['REGISTRY_READ']);
    writeFileSync(pathOf('cut.ndjson'), file.subarray(0, file.length - 1));
    const failures: [string[], Parameters<typeof run>[1], RegExp][] = [
      [['import', 'cut.ndjson'], ben, /^Line 3001: the manifest is not as it was written/],
      [['import', 'missing.ndjson'], ben, /^missing\.ndjson cannot be read: ENOENT/],
      [['import', '.'], ben, /cannot be read: EISDIR/],
      [['import', '-'], { token: ben.token, input: '' }, /^The file is empty/],
      [['import', '-'], { token: narrow.token, input: Buffer.alloc(20_000_000, '\n') }, /^This needs the scope sync/],
      [['export', 'refused.ndjson'], narrow, /^This needs the scope sync/],
      [['export', 'refused.ndjson'], { token: 'tl_no' }, /TREELINE_TOKEN/],
      [['export', 'none/refused.ndjson'], ada, /ENOENT/],
      [['export', 'refused.ndjson'], { token: 'tl_x', url: 'http://127.0.0.1:1' }, /^No gateway answers/],
      [['import', '-'], { token: 'tl_x', url: 'http://127.0.0.1:1', input: 'x' }, /^No gateway answers/],
    ];
    for (const [args, options, message] of failures) {
      const { code, err, out } = await run(args, options);
      expect([args, code, err, out.toString()]).toEqual([args, 1, expect.stringMatching(message), '']);
      expect(err).not.toMatch(/^ +at /m);
    }
    expect(await countOf(gateway.database, ben)).toBe(0);
    expect([existsSync(pathOf('refused.ndjson')), partsLeft()]).toEqual([false, []]);
  });

  const lines = { 'content-type': 'application/x-ndjson' };
  test.each<[string, RequestListener]>([
    ['ends early', (_, response) => void response.writeHead(200, lines).end(file.subarray(0, 500_000))],
    ['is altered', (_, response) => void response.writeHead(200, lines).end(Buffer.from(file).fill('y', 50, 51))],
    [
      'breaks off',
      (_, response) =>
        void response.writeHead(200, lines).write(file.subarray(0, 500_000), () => response.socket?.destroy()),
    ],
  ])('an export that %s is not kept, and what was there before is', async (_name, answer) => {
    writeFileSync(pathOf('kept.ndjson'), 'kept');
    await withServer(answer, async (url) => {
      const { code, err } = await run(['export', 'kept.ndjson'], { token: 'tl_x', url });
      expect([code, err]).toEqual([1, expect.stringContaining('cut short')]);
      expect(readFileSync(pathOf('kept.ndjson')).toString()).toBe('kept');
      expect(partsLeft()).toEqual([]);
    });
  });

  test.each([
    ['export', 'stopped.ndjson'],
    ['import', 'all.ndjson'],
  ])('%s can be stopped, and leaves nothing', async (...args) => {
    writeFileSync(pathOf('all.ndjson'), file);
    const begun = Promise.withResolvers<void>();
    const answer: RequestListener = (request, response) => {
      if (request.method === 'GET') response.writeHead(200, lines).write(file.subarray(0, 500_000));
      begun.resolve();
    };
    await withServer(answer, async (url) => {
      const { child, ran } = start(args, { token: 'tl_x', url });
      await begun.promise;
      child.kill('SIGINT');
      expect(await ran).toMatchObject({ code: 1, err: expect.stringMatching(/^Stopped: nothing .*\n$/) });
      expect([existsSync(pathOf('stopped.ndjson')), partsLeft()]).toEqual([false, []]);
    });
  });

  test('what answers and is no gateway is named', async () => {
    await withServer(
      (_, response) => void response.end('<html>'),
      async (url) => {
        for (const args of [['export'], ['import', '-']]) {
          const { code, err } = await run(args, { token: 'tl_x', url, input: 'x' });
          expect([code, err]).toEqual([1, expect.stringContaining('is no Treeline gateway')]);
        }
      },
    );
  });
});
