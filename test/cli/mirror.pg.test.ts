import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';

const program = fileURLToPath(new URL('../../src/cli/treeline.ts', import.meta.url));
const run = promisify(execFile);

describe('treeline mirror', () => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway.close());

  async function treeline(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const env = { ...process.env, TREELINE_URL: gateway.url, TREELINE_TOKEN: gateway.token };
    try {
      return { code: 0, ...(await run(process.execPath, [program, ...args], { env })) };
    } catch (error) {
      return error as { code: number; stdout: string; stderr: string };
    }
  }

  const sql = (statement: string) => gateway.database.owner.query(statement);

  /** What was written over there while there was no mirror. */
  async function unmirrored(statement: string): Promise<void> {
    await sql('alter table mai.projects disable trigger user');
    await sql(statement);
    await sql('alter table mai.projects enable trigger user');
  }

  test('status says that both sides are equal, or where they are not; reconcile makes them so', async () => {
    await sql(`insert into registry.projects (slug, name, managed_by) values ('alpha', 'Alpha', '{mai}')`);
    expect(await treeline('mirror', 'status')).toMatchObject({
      code: 0,
      stdout:
        'The mirror is on: 1 mirrored project, 1 row of mai.projects, 0 projects to be classified.\nNo drift: both sides say the same.\n',
    });
    await unmirrored(`update mai.projects set goal = E'with \\x1b[31m colour';
      insert into mai.projects (id, name) select 'row-' || n, 'Row ' || n from generate_series(1, 30) n`);
    const drifted = await treeline('mirror', 'status');
    expect(drifted.code).toBe(1);
    const lines = drifted.stdout.split('\n');
    expect(lines[1]).toBe('Drift, and more:');
    expect(lines[2]).toMatch(/^PROJECT +MAI ID +FIELD +HERE +THERE$/);
    expect(drifted.stdout).not.toContain('\u001b');
    expect(await treeline('mirror', 'reconcile', '--direction', 'from-mai')).toMatchObject({
      code: 0,
      stdout: 'Looked at 31, healed 31.\n',
    });
    expect(await treeline('mirror', 'status')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('31 mirrored projects, 31 rows of mai.projects, 30 projects to be classified.'),
    });
  });

  test('reconcile takes single projects, and says what could not be healed', async () => {
    await sql(`insert into registry.projects (slug, name, managed_by) values ('held', 'Held', '{mai}'), ('free', 'Free', '{mai}');
      create table mai.workers (project_id text references mai.projects); insert into mai.workers values ('held')`);
    await sql(`alter table registry.projects disable trigger user; update registry.projects set managed_by = '{}' where slug = 'held';
      update registry.projects set name = 'Freed' where slug = 'free'; alter table registry.projects enable trigger user`);
    expect(await treeline('mirror', 'reconcile', '--direction', 'to-mai', '--project', 'free')).toMatchObject({
      code: 0,
      stdout: 'Looked at 1, healed 1.\n',
    });
    const stuck = await treeline('mirror', 'reconcile', '--direction', 'to-mai');
    expect(stuck.code).toBe(1);
    expect(stuck.stdout).toContain('held was not healed. Rows of mai.workers still refer to');
    await sql('drop table mai.workers');
    expect(await treeline('mirror', 'reconcile', '--direction', 'to-mai')).toMatchObject({ code: 0 });
  });

  test('a project that there is not, and a direction that there is not, are refused', async () => {
    expect(await treeline('mirror', 'reconcile', '--direction', 'to-mai', '--project', 'nobody')).toMatchObject({
      code: 1,
      stderr: 'No project has the slug "nobody".\n',
    });
    expect(await treeline('mirror', 'reconcile', '--direction', 'up')).toMatchObject({
      stderr: expect.stringContaining('Allowed choices are to-mai, from-mai'),
    });
    expect(await treeline('mirror', 'reconcile')).toMatchObject({
      stderr: expect.stringContaining("required option '--direction <side>' not specified"),
    });
  });

  test('status says that it is off, and what to do', async () => {
    await sql('alter table mai.projects disable trigger user');
    expect(await treeline('mirror', 'status')).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^The mirror is off: triggers .* are missing or disabled\./),
    });
  });
});
