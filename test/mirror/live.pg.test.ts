import { describe, expect, test } from 'vitest';
import { watch } from '../support/watch.ts';
import { mirroredGateway } from './asking.ts';
import { makeProject, makeRow } from './setting.ts';

const setting = mirroredGateway();

const mirrorDocument = `subscription ($after: Cursor) { mirrorChanged(after: $after) {
  cursor change direction changedFields maiId projectId project { slug name description active } } }`;

interface MirrorUpdate {
  cursor: string;
  change: string;
  direction: string;
  changedFields: string[];
  maiId: string;
  projectId: string;
  project: { slug: string; name: string; description: string | null; active: boolean } | null;
}

const projectDocument = `subscription ($slug: String!) { projectChanged(project: { slug: $slug }) {
  change changedFields project { description status } } }`;

interface ProjectUpdate {
  change: string;
  changedFields: string[];
  project: { description: string; status: string };
}

const told = ({ change, direction, changedFields, maiId }: MirrorUpdate) => [change, direction, changedFields, maiId];

describe('what the older system writes', () => {
  test('reaches who watches the project, and who watches the mirror', async () => {
    const { gateway, sides } = setting;
    await makeRow(sides, { id: 'seen', goal: 'before' });
    const [project, mirror] = [
      await watch<ProjectUpdate>(gateway, projectDocument, { slug: 'seen' }),
      await watch<MirrorUpdate>(gateway, mirrorDocument),
    ];
    await sides.theirs.query(`update mai.projects set goal = 'after', status = 'sleeping' where id = 'seen'`);
    expect(await project.next()).toEqual({
      change: 'UPDATED',
      changedFields: ['description', 'status'],
      project: { description: 'after', status: 'ARCHIVED' },
    });
    const update = await mirror.next();
    expect(told(update)).toEqual(['UPDATED', 'FROM_MAI', ['description', 'status'], 'seen']);
    expect(update.project).toMatchObject({ slug: 'seen', description: 'after' });
    await Promise.all([project.close(), mirror.close()]);
  });

  test('is told from a cursor on, each change by itself: a row that comes, gets another id, goes and comes back', async () => {
    const { gateway, sides } = setting;
    const { cursor } = await gateway.ask<{ cursor: string }>('{ cursor }');
    await makeRow(sides, { id: 'walk' });
    await sides.theirs.query(`update mai.projects set id = 'walked' where id = 'walk'`);
    await sides.theirs.query(`delete from mai.projects where id = 'walked'`);
    await makeRow(sides, { id: 'walked', name: 'Back' });
    const mirror = await watch<MirrorUpdate>(gateway, mirrorDocument, { after: cursor });
    const updates = [await mirror.next(), await mirror.next(), await mirror.next(), await mirror.next()];
    expect(updates.map(told)).toEqual([
      ['CREATED', 'FROM_MAI', [], 'walk'],
      ['UPDATED', 'FROM_MAI', ['maiId'], 'walked'],
      ['DELETED', 'FROM_MAI', [], 'walked'],
      ['CREATED', 'FROM_MAI', [], 'walked'],
    ]);
    expect(new Set(updates.map(({ projectId }) => projectId)).size).toBe(1);
    expect(updates[3]?.project).toMatchObject({ slug: 'walk', name: 'Back', active: true });
    await mirror.close();
  });
});

describe('what is written here', () => {
  test('is told with the direction it went; a project that is deleted for good is told without its row', async () => {
    const { gateway, sides } = setting;
    const mirror = await watch<MirrorUpdate>(gateway, mirrorDocument);
    const id = await makeProject(sides, { slug: 'short-lived' });
    await gateway.ask(
      `mutation ($id: ID!) { updateProject(input: { project: { id: $id }, remoteOrigin: "git@example.com:o/short.git" }) { userErrors { message } } }`,
      { id },
    );
    await gateway.ask(
      `mutation ($id: ID!) { deleteProject(input: { project: { id: $id }, slug: "short-lived" }) { userErrors { message } } }`,
      { id },
    );
    const updates = [await mirror.next(), await mirror.next(), await mirror.next()];
    expect(updates.map(told)).toEqual([
      ['CREATED', 'TO_MAI', [], 'short-lived'],
      ['UPDATED', 'TO_MAI', ['remoteOrigin'], 'short-lived'],
      ['DELETED', 'TO_MAI', [], 'short-lived'],
    ]);
    expect(updates[2]?.project).toBeNull();
    await mirror.close();
  });

  test('shows in the raw log as well, as its project', async () => {
    const { gateway, sides } = setting;
    const { cursor } = await gateway.ask<{ cursor: string }>('{ cursor }');
    const id = await makeProject(sides, { slug: 'logged' });
    const log = await watch<{ topic: string; op: string; entityId: string; data: unknown }>(
      gateway,
      'subscription ($after: Cursor) { events(topics: ["mirror"], after: $after) { topic op entityId data } }',
      { after: cursor },
    );
    const { project } = await gateway.ask<{ project: { id: string } }>(
      'query ($id: ID!) { project(by: { id: $id }) { id } }',
      { id },
    );
    expect(await log.next()).toEqual({
      topic: 'mirror',
      op: 'INSERT',
      entityId: project.id,
      data: { direction: 'to_mai', mai_id: 'logged' },
    });
    await log.close();
  });
});
