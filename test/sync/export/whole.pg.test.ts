import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../../support/gateway.ts';
import type { Person } from '../../support/people.ts';
import { size } from '../../support/size.ts';
import {
  asAuthor,
  countOf,
  exportOf,
  fill,
  type ImportAnswer,
  importFile,
  makeAuthor,
  openImport,
  readAnswer,
  unpack,
} from './files.ts';

const mostBytes = 5_000_000;

let gateway: TestGateway;
let ada: Person;
/** Who has nothing yet, and has nothing afterwards. */
let empty: Person;
let file: Buffer;
let manifestAt: number;
beforeAll(async () => {
  gateway = await startGateway({ environment: { TREELINE_MAX_IMPORT_BYTES: String(mostBytes) } });
  ada = await makeAuthor(gateway, 'ada');
  empty = await makeAuthor(gateway, 'empty');
  await fill(gateway.database, ada, 5);
  file = await exportOf(gateway, ada);
  manifestAt = file.lastIndexOf('\n', file.length - 2) + 1;
});
afterAll(() => gateway.close());

const packed = { 'content-encoding': 'gzip' };

/** With a manifest that fits, as somebody may write it who means it. */
function fileOf(lines: readonly (string | object | Buffer)[], app = 'app', more: object = {}): Buffer {
  const all = lines.map((line) =>
    Buffer.concat([
      Buffer.isBuffer(line) ? line : Buffer.from(typeof line === 'string' ? line : JSON.stringify(line)),
      Buffer.from('\n'),
    ]),
  );
  const apps = lines.length === 0 ? [] : [{ app_id: app, changes: lines.length, schema_versions: [1] }];
  const sha256 = createHash('sha256').update(Buffer.concat(all)).digest('hex');
  const manifest = { format: 'treeline-sync', version: 1, changes: lines.length, apps, sha256, ...more };
  return Buffer.concat([...all, Buffer.from(`${JSON.stringify(manifest)}\n`)]);
}

const change = (n: number, more: object = {}) => ({
  app_id: 'app',
  client_id: 'client',
  change_id: `change-${n}`,
  table_name: 'notes',
  record_id: 'r',
  op: 'update',
  data: { n },
  ...more,
});

async function expectRefused(answer: ImportAnswer, expected: { code?: string; message?: RegExp; line?: number } = {}) {
  const { code = 'INVALID', message = /./, line } = expected;
  expect(answer.body.errors).toMatchObject([
    { message: expect.stringMatching(message), extensions: { code, ...(line === undefined ? {} : { line }) } },
  ]);
  expect(answer.status).toBeGreaterThanOrEqual(400);
  expect(await countOf(gateway.database, empty)).toBe(0);
}

describe('a file that is not as it was written is refused, and nothing of it stored:', () => {
  const runs = { numRuns: size(500) };

  test('a byte is another', async () => {
    const flips = fc.tuple(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }));
    await fc.assert(
      fc.asyncProperty(flips, async ([at, mask]) => {
        const altered = Buffer.from(file);
        altered[at] = (altered[at] ?? 0) ^ mask;
        await expectRefused(await importFile(gateway, empty, altered));
      }),
      runs,
    );
  });

  test('any byte of the manifest is another', async () => {
    for (let at = manifestAt - 1; at < file.length; at += 1) {
      const altered = Buffer.from(file);
      altered[at] = (altered[at] ?? 0) ^ 1;
      const { code = '' } = (await importFile(gateway, empty, altered)).body.errors?.[0]?.extensions ?? {};
      expect([at, ['INVALID', 'UNSUPPORTED_VERSION'].includes(code)]).toEqual([at, true]);
    }
    expect(await countOf(gateway.database, empty)).toBe(0);
  });

  test('a byte of it is another as it came packed, unless what is in it is the same', async () => {
    const whole = gzipSync(file);
    const flips = fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 0, max: 7 }));
    await fc.assert(
      fc.asyncProperty(flips, async ([at, bit]) => {
        const altered = Buffer.from(whole);
        altered[at] = (altered[at] ?? 0) ^ (1 << bit);
        // The time in its head, and the bits that fill up its last byte, are nothing of it. It is hers already then.
        if (unpack(altered)?.equals(file) === true) {
          expect((await importFile(gateway, ada, altered, packed)).body).toMatchObject({ known: 5 });
        } else await expectRefused(await importFile(gateway, empty, altered, packed));
      }),
      runs,
    );
  });

  test('it ends early, packed or not', async () => {
    const whole = gzipSync(file);
    await fc.assert(
      fc.asyncProperty(fc.nat(file.length - 1), fc.nat(whole.length - 1), async (end, packedEnd) => {
        await expectRefused(await importFile(gateway, empty, file.subarray(0, end)));
        await expectRefused(await importFile(gateway, empty, whole.subarray(0, packedEnd), packed));
        await expectRefused(await importFile(gateway, empty, gzipSync(file.subarray(0, end)), packed));
      }),
      runs,
    );
  });

  test('lines are missing, come twice, or in another order', async () => {
    const lines = file.toString().split(/(?<=\n)/);
    for (let index = 0; index < lines.length; index += 1) {
      const [line = ''] = lines.slice(index);
      const without = lines.toSpliced(index, 1);
      await expectRefused(await importFile(gateway, empty, without.join('')));
      await expectRefused(await importFile(gateway, empty, lines.toSpliced(index, 0, line).join('')));
      if (index < lines.length - 1) {
        await expectRefused(await importFile(gateway, empty, without.toSpliced(index + 1, 0, line).join('')));
      }
    }
  });

  test.each<[string, string, object]>([
    ['a newline', '\n', {}],
    ['a zero', '\0', {}],
    ['another line', '{}\n', {}],
    ['what is no gzip', 'x', packed],
  ])('something follows it: %s', async (_name, more, headers) => {
    const whole = headers === packed ? gzipSync(file) : file;
    await expectRefused(await importFile(gateway, empty, Buffer.concat([whole, Buffer.from(more)]), headers));
  });

  test('it says so itself', async () => {
    const manifest = file.subarray(manifestAt).toString();
    const told = (pattern: RegExp, replacement: string) =>
      Buffer.concat([file.subarray(0, manifestAt), Buffer.from(manifest.replace(pattern, replacement))]);
    await expectRefused(await importFile(gateway, empty, ''), { message: /is empty/ });
    await expectRefused(await importFile(gateway, empty, told(/"version":1/, '"version":2')), {
      code: 'UNSUPPORTED_VERSION',
      line: 6,
    });
    await expectRefused(await importFile(gateway, empty, told(/"app-0"/, '"app-2"')), {
      message: /other apps/,
      line: 6,
    });
    await expectRefused(await importFile(gateway, empty, told(/\[1\]/, '[1,2]')), { message: /schema versions/ });
    await expectRefused(await importFile(gateway, empty, told(/"changes":5/, '"changes":6')), {
      message: /6 .* 5 lines/,
    });
    await expectRefused(await importFile(gateway, empty, told(/,/, ', ')), { message: /not as it was written/ });
  });
});

describe('what may not be stored is refused with its line, and nothing stored:', () => {
  test.each<[string, (string | object | Buffer)[], { code?: string; message: RegExp }]>([
    ['no JSON', [change(1), '{"app_id":'], { message: /^Line 2: expected one JSON object/ }],
    ['an empty line', [change(1), ''], { message: /^Line 2: expected one JSON object/ }],
    [
      'two on one line',
      [change(1), `${JSON.stringify(change(2))},${JSON.stringify(change(3))}`],
      { message: /^Line 2: / },
    ],
    ['no object', [change(1), '5'], { message: /^Line 2: expected an object/ }],
    ['no UTF-8', [change(1), Buffer.from([0x22, 0xff, 0x22])], { message: /^Line 2: expected UTF-8/ }],
    [
      'a NUL',
      [change(1), change(2, { data: { a: '\0' } })],
      { message: /^Line 2: the change\.data\.a contains U\+0000/ },
    ],
    ['nesting', [change(1), `${'['.repeat(100_000)}${']'.repeat(100_000)}`], { message: /^Line 2: / }],
    ['no change', [change(1), { app_id: 'app' }], { message: /^Line 2: expected change_id/ }],
    ['no op', [change(1), change(2, { op: 'upsert' })], { message: /^Line 2: expected an op/ }],
    [
      'a time to come',
      [change(1), change(2, { created_at: '2999-01-01T00:00:00Z' })],
      { message: /^Line 2: expected a time as created_at/ },
    ],
    [
      'a name that is too long',
      [change(1), change(2, { record_id: 'x'.repeat(501) })],
      { message: /^Line 2: expected record_id/ },
    ],
    [
      'a space of others',
      [change(1), change(2, { space_id: 'theirs' })],
      { code: 'NOT_FOUND', message: /^Line 2: you are in no/ },
    ],
    [
      'an unknown version',
      [change(1), change(2, { schema_version: 2 })],
      { code: 'UNSUPPORTED_VERSION', message: /^Line 2: / },
    ],
    [
      'another one',
      [change(1), change(1, { data: { n: 2 } })],
      { code: 'CONFLICT', message: /^Line 2: another change/ },
    ],
  ])('%s', async (_name, lines, expected) => {
    await expectRefused(await importFile(gateway, empty, fileOf(lines)), { ...expected, line: 2 });
  });

  test('also where it comes after thousands that may', async () => {
    const lines: object[] = Array.from({ length: 4_500 }, (_, n) => change(n));
    lines[4_200] = change(4_200, { op: 'upsert' });
    await expectRefused(await importFile(gateway, empty, fileOf(lines)), { message: /^Line 4201: /, line: 4_201 });
  });

  test('a space that the author only reads', async () => {
    await asAuthor(gateway.database, ada, async (client) => {
      await client.query(`select from auth.save_space('hers', 'Hers')`);
      await client.query(`select from auth.set_space_member('hers', $1, 'viewer')`, [empty.uuid]);
    });
    const refused = await importFile(gateway, empty, fileOf([change(1), change(2, { space_id: 'hers' })]));
    await expectRefused(refused, { code: 'FORBIDDEN', message: /^Line 2: you are a viewer/, line: 2 });
    expect(refused.status).toBe(403);
  });

  test('a line of which less is accepted', async () => {
    const lines = [change(1, { data: { text: 'x'.repeat(2_000_000) } }), change(2)];
    expect((await importFile(gateway, await makeAuthor(gateway, 'long'), fileOf(lines))).body).toMatchObject({
      stored: 2,
    });
  });
});

test.each([
  ['as it is', (file: Buffer) => file, {}],
  ['packed', gzipSync, packed],
])('the first byte over is refused: %s', async (_name, pack, headers) => {
  const { request, response } = openImport(gateway, empty, headers);
  request.on('error', () => {});
  request.write(pack(Buffer.alloc(mostBytes + 1, '1234567\n')));
  const answer = await readAnswer(await response);
  await expectRefused(answer, { code: 'PAYLOAD_TOO_LARGE' });
  expect(answer).toMatchObject({ status: 413, body: { errors: [{ extensions: { limit: mostBytes } }] } });
  request.destroy();
});
