import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { refusalOf, value } from '../support/sql.ts';

/** Forges know a branch, and neither the host nor the directory that it is checked out in. */
describe('a worktree named by its branch', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database.close());

  async function register(
    project: string,
    { name, branch = 'feat/x', host = 'local' }: { name: string; branch?: string; host?: string },
  ) {
    return value<string>(
      database.owner,
      `select registry.register_worktree(registry.register_project($1, $2), 'feat', $3, $4, $5, p_host => $6)`,
      [project, `https://forge.test/o/${project}`, name, branch, `/${project}/${host}/${name}`, host],
    );
  }
  const find = (project: string, branch: string, host?: string) =>
    value<string | null>(database.owner, 'select registry.find_worktree($1::jsonb)', [
      JSON.stringify({
        project: { remote: `git@forge.test:o/${project}.git` },
        branch,
        ...(host === undefined ? {} : { host }),
      }),
    ]);

  test('is found by project and branch, on whatever host it is', async () => {
    const there = await register('anywhere', { name: 'one', host: 'far-away' });
    await register('anywhere', { name: 'two', branch: 'feat/y' });
    await register('elsewhere', { name: 'one' });
    expect(await find('anywhere', 'feat/x')).toBe(there);
    expect(await find('anywhere', 'feat/x', 'local')).toBeNull();
    expect(await find('anywhere', 'feat/z')).toBeNull();
  });

  test('that merged is still what is meant, until the branch lives again', async () => {
    const merged = await register('again', { name: 'one' });
    await database.owner.query('select registry.mark_worktree_merged($1)', [merged]);
    expect(await find('again', 'feat/x')).toBe(merged);
    const alive = await register('again', { name: 'two' });
    expect(await find('again', 'feat/x')).toBe(alive);
  });

  test('is not guessed where several have it: they are named, and a host decides', async () => {
    const here = await register('twice', { name: 'one' });
    const there = await register('twice', { name: 'one', host: 'other' });
    const refusal = await refusalOf(find('twice', 'feat/x'));
    expect(refusal.code).toBe('CONFLICT');
    expect(new Set(refusal.details?.ids as string[])).toEqual(new Set([here, there]));
    expect(await find('twice', 'feat/x', 'other')).toBe(there);
  });

  test('that nobody has is told apart from one without a project', async () => {
    await register('known', { name: 'one' });
    const resolve = (ref: object) =>
      refusalOf(value(database.owner, 'select registry.resolve_worktree($1::jsonb)', [JSON.stringify(ref)]));
    const refusal = await resolve({ project: { slug: 'known' }, branch: 'feat/none', host: 'h' });
    expect(refusal).toMatchObject({
      code: 'NOT_FOUND',
      message: "No worktree of that project has the branch 'feat/none' on the host 'h'.",
    });
    expect((await resolve({ project: { slug: 'nowhere' }, branch: 'feat/x' })).code).toBe('NOT_FOUND');
  });
});
