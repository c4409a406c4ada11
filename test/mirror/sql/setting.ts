import { afterAll, beforeAll, expect } from 'vitest';
import { rows } from '../../support/sql.ts';
import { driftOf, linksOf, makeProject, type NewProject, openSides, type Sides } from '../setting.ts';

/** Both sides of a database of the test file's own. What is imported from here is there once the tests run. */
export let sides: Sides;
beforeAll(async () => {
  sides = await openSides();
});
afterAll(() => sides.close());

let made = 0;

/** A word that no test of the file has used as a slug or an id. */
export function newId(): string {
  made += 1;
  return `p${made}`;
}

/** A mirrored project; its slug is its row's id. */
export interface Pair {
  projectId: string;
  maiId: string;
}

/** A project made here, mirrored, with everything filled, so that what is lost is seen. */
export async function newPair(columns: NewProject = {}): Promise<Pair> {
  const maiId = newId();
  const projectId = await makeProject(sides, {
    slug: maiId,
    name: `Name of ${maiId}`,
    description: 'The goal.',
    remote_origin: `git@example.com:o/${maiId}.git`,
    trunk_path: `/src/${maiId}`,
    metadata: { memory_group: 'group', size: 1 },
    ...columns,
  });
  return { projectId, maiId };
}

/** Sets columns of the project: `name = 'x'`. */
export async function editHere({ projectId }: Pair, assignments: string, values: unknown[] = []): Promise<void> {
  await sides.ours.query(`update registry.projects set ${assignments} where id = $${values.length + 1}`, [
    ...values,
    projectId,
  ]);
}

/** Sets columns of the row, as the older system: `goal = 'x'`. */
export async function editThere({ maiId }: Pair, assignments: string, values: unknown[] = []): Promise<void> {
  await sides.theirs.query(`update mai.projects set ${assignments} where id = $${values.length + 1}`, [
    ...values,
    maiId,
  ]);
}

/** The two sides agree on a project, and it is linked to this row. */
export async function expectMirrored({ projectId, maiId }: Pair): Promise<void> {
  expect(await driftOf(sides, [projectId])).toEqual([]);
  expect(await linksOf(sides, projectId)).toEqual([maiId]);
}

/** Runs statements while the triggers of both sides are off, as before the mirror was there. */
export async function unmirrored(action: () => Promise<unknown>): Promise<void> {
  await switchTriggers('disable');
  try {
    await action();
  } finally {
    await switchTriggers('enable');
  }
}

const triggers = [
  ['registry.projects', 'projects_sync_to_mai'],
  ['registry.projects', 'projects_sync_to_mai_insert'],
  ['registry.projects', 'projects_sync_to_mai_delete'],
  ['mai.projects', 'mai_projects_sync_to_projax'],
  ['mai.projects', 'mai_projects_sync_to_projax_truncate'],
] as const;

async function switchTriggers(to: 'enable' | 'disable'): Promise<void> {
  await rows(
    sides.ours,
    triggers.map(([table, trigger]) => `alter table ${table} ${to} trigger ${trigger}`).join('; '),
  );
}
