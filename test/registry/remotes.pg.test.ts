import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { size } from '../support/size.ts';
import { refusalOf, rows, value } from '../support/sql.ts';

describe('remotes', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database.close());

  const key = (remote: string) => value<string>(database.owner, `select registry.normalize_remote($1)`, [remote]);

  test.each([
    'git@github.com:o/r.git',
    'https://github.com/o/r',
    'https://github.com/o/r/',
    'ssh://git@github.com:22/o/r.git/',
    'HTTPS://GitHub.com/o/r.git',
    'https://user:secret@github.com:443/o/r.git',
    'git://github.com:9418/o/r',
    'github.com:o/r',
    ' git@github.com:/o/r.git ',
    'http://github.com:80//o//r.git',
  ])('%s is the repository github.com/o/r', async (remote) => {
    expect(await key(remote)).toBe('github.com/o/r');
  });

  test.each([
    ['https://github.com:8443/o/r', 'github.com:8443/o/r'],
    ['ssh://git@github.com:443/o/r', 'github.com:443/o/r'],
    ['https://[::1]:443/o/r', '[::1]/o/r'],
    ['file:///srv/git/r.git', 'localhost/srv/git/r'],
    ['https://gitlab.example.com/group/sub/r.git', 'gitlab.example.com/group/sub/r'],
    ['git@host:o/R', 'host/o/R'],
  ])('%s has the key %s', async (remote, expected) => {
    expect(await key(remote)).toBe(expected);
  });

  test.each([
    '',
    ' ',
    '/srv/git/r',
    './r',
    'C:\\code\\r',
    'C:/code/r',
    'ftp://h/r',
    'https://github.com',
    'https:///o/r',
    'host:',
    'just words',
    'https://h/o/r?x=1',
  ])('%j is no remote and is refused with what was expected', async (remote) => {
    const refusal = await refusalOf(key(remote));
    expect(refusal).toMatchObject({ code: 'INVALID', sqlstate: '22023' });
    expect(refusal.message).toMatch(/^Expected a (git )?remote/);
  });

  test('all spellings of any repository have one key', async () => {
    const word = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}[a-z0-9]$/);
    await fc.assert(
      fc.asyncProperty(word, word, fc.array(word, { minLength: 1, maxLength: 3 }), async (host, owner, path) => {
        const tail = [owner, ...path].join('/');
        const keys = await rows<{ key: string }>(
          database.owner,
          `select registry.normalize_remote(r) as key from unnest($1::text[]) r`,
          [
            [
              `git@${host}:${tail}.git`,
              `${host}:${tail}`,
              `https://${host.toUpperCase()}/${tail}`,
              `https://me:pw@${host}/${tail}.git/`,
              `ssh://git@${host}:22/${tail}`,
              `git://${host}:9418/${tail}.git`,
            ],
          ],
        );
        expect(new Set(keys.map((row) => row.key))).toEqual(new Set([`${host}/${tail}`]));
      }),
      { numRuns: size(300) },
    );
  });

  test('credentials in a remote are stored nowhere and shown in no error', async () => {
    const id = await value(
      database.owner,
      `select registry.register_project('secretive', 'https://user:hunter2@h.example/o/s.git')`,
    );
    const stored = await value<string>(
      database.owner,
      `select to_jsonb(p)::text from registry.projects p where id = $1`,
      [id],
    );
    expect(stored).not.toContain('hunter2');
    await database.owner.query(
      `update registry.projects set remote_origin = 'ssh://git:hunter2@h.example/o/s2' where id = $1`,
      [id],
    );
    expect(await value(database.owner, `select remote_origin from registry.projects where id = $1`, [id])).toBe(
      'ssh://git@h.example/o/s2',
    );
    for (const remote of ['https://user:hunter2@', 'user:hunter2@host:path', 'ftp://user:hunter2@h/x']) {
      expect((await refusalOf(key(remote))).message).not.toContain('hunter2');
    }
  });
});
