import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { describe, expect, test } from 'vitest';
import { refusalOf, rows } from '../../support/sql.ts';
import { linksOf, makeRow, positionNow, projectOf } from '../setting.ts';
import { editHere, editThere, expectMirrored, newId, newPair, sides, unmirrored } from './setting.ts';

describe('the link of a project to its row', () => {
  test('cannot be taken away while it is mirrored, nor turned into another', async () => {
    const [pair, other] = [await newPair(), await newPair()];
    const statements = [
      `select registry.unlink_project('${pair.projectId}', 'mai-project', '${pair.maiId}', 'derived-from')`,
      `delete from registry.project_links where project_id = '${pair.projectId}'`,
      ...[
        `rel = 'other'`,
        `ref_type = 'other'`,
        `ref_type = 'other', rel = 'other'`,
        `ref_id = 'other'`,
        `project_id = '${other.projectId}'`,
      ].map((set) => `update registry.project_links set ${set} where project_id = '${pair.projectId}'`),
    ];
    for (const statement of statements)
      expect(['IN_USE', 'INVALID']).toContain((await refusalOf(sides.ours.query(statement))).code);
    await expectMirrored(pair);
    await expectMirrored(other);
  });

  test('is refused with the words of how to end it', async () => {
    const pair = await newPair();
    expect(
      await refusalOf(
        sides.ours.query(`select registry.unlink_project($1, 'mai-project', $2, 'derived-from')`, [
          pair.projectId,
          pair.maiId,
        ]),
      ),
    ).toMatchObject({ code: 'IN_USE', message: expect.stringContaining('managedBy') as string });
  });

  test('cannot be made by anybody else, to whichever row', async () => {
    const [pair, other] = [await newPair(), await newPair()];
    const unmanaged = await newPair({ managed_by: [] });
    for (const [project, id] of [
      [pair.projectId, 'another'],
      [pair.projectId, other.maiId],
      [unmanaged.projectId, unmanaged.maiId],
      [unmanaged.projectId, pair.maiId],
    ])
      expect(
        (
          await refusalOf(
            sides.ours.query(`select registry.link_project($1, 'mai-project', $2, 'derived-from')`, [project, id]),
          )
        ).code,
      ).toBe('INVALID');
    await sides.ours.query(`select registry.link_project($1, 'issue', '7', 'derived-from')`, [pair.projectId]);
    const turned = sides.ours.query(
      `update registry.project_links set ref_type = 'mai-project' where project_id = $1 and ref_type = 'issue'`,
      [pair.projectId],
    );
    expect((await refusalOf(turned)).code).toBe('INVALID');
    await expectMirrored(pair);
    expect(await linksOf(sides, unmanaged.projectId)).toEqual([]);
  });

  test('may be made again as it is, and others of the same row or kind are nobody’s business', async () => {
    const pair = await newPair();
    await sides.ours.query(`select registry.link_project($1, 'mai-project', $2, 'derived-from')`, [
      pair.projectId,
      pair.maiId,
    ]);
    await sides.ours.query(`select registry.link_project($1, 'mai-project', 'another', 'see-also')`, [pair.projectId]);
    await sides.ours.query(`select registry.unlink_project($1, 'mai-project', 'another', 'see-also')`, [
      pair.projectId,
    ]);
    await expectMirrored(pair);
  });
});

describe('the mirror’s events', () => {
  const topicsSince = async (position: string) =>
    (
      await rows<{ topic: string; op: string; changed: string[] }>(
        sides.ours,
        'select topic, op, changed from feed.events where position > $1 order by position',
        [position],
      )
    ).map(({ topic, op, changed }) => [topic, op, ...changed].join(' '));

  test('come after the project’s own beginning, whichever side begins', async () => {
    const order = ['projects insert', 'projects update links', 'mirror insert'];
    const beforeOurs = await positionNow(sides);
    await newPair();
    expect(await topicsSince(beforeOurs)).toEqual(order);
    const beforeTheirs = await positionNow(sides);
    await makeRow(sides, { id: newId() });
    expect(await topicsSince(beforeTheirs)).toEqual(order);
  });

  test.for([
    ['here, by whom it was', 'to_mai'],
    ['over there, where nobody is believed who he says he is', 'from_mai'],
  ] as const)(
    'say of what was written %s, how deep, which project and row, and which fields',
    async ([, direction]) => {
      const pair = await newPair();
      const principal = randomUUID();
      const position = await positionNow(sides);
      const client = await (direction === 'to_mai' ? sides.database.connect() : sides.connectTheirs());
      const edit =
        direction === 'to_mai'
          ? `update registry.projects set description = 'told' where id = '${pair.projectId}'`
          : `update mai.projects set goal = 'told' where id = '${pair.maiId}'`;
      try {
        await client.query(
          `begin; set local app.current_user_id = '${principal}'; set local feed.depth = '2'; ${edit}; commit`,
        );
      } finally {
        await client.end();
      }
      const events = await rows<{ topic: string }>(
        sides.ours,
        `select topic, op, entity_id, project_id, principal_id, agent_id, user_id, space_id, changed, data, depth
       from feed.events where position > $1 order by topic`,
        [position],
      );
      const common = {
        op: 'update',
        entity_id: pair.projectId,
        project_id: pair.projectId,
        principal_id: direction === 'to_mai' ? principal : null,
        agent_id: null,
        user_id: null,
        space_id: null,
        changed: ['description'],
        depth: 2,
      };
      expect(events).toEqual([
        { ...common, topic: 'mirror', data: { direction, mai_id: pair.maiId } },
        { ...common, topic: 'projects', data: expect.anything() },
      ]);
    },
  );

  test('ring once in their transaction, unless somebody rings after it', async () => {
    const pair = await newPair();
    // Healing a row writes no other event than the mirror's.
    const heal = async (before: string): Promise<string[]> => {
      await unmirrored(() => editThere(pair, `goal = goal || '.'`));
      const client = await sides.database.connect();
      try {
        const payloads: string[] = [];
        client.on('notification', ({ payload = '' }) => payloads.push(payload));
        await client.query('listen treeline_feed');
        await client.query(`begin; ${before}`);
        await client.query(`select mirror.reconcile('to_mai', null, 10, array[$1]::uuid[])`, [pair.projectId]);
        await client.query(`select pg_notify('treeline_feed', 'committed'); commit`);
        await told(client, payloads);
        return payloads;
      } finally {
        await client.end();
      }
    };
    expect(await heal('')).toEqual(['', 'committed']);
    expect(await heal(`set local feed.notify = 'after_commit'`)).toEqual(['committed']);
  });

  async function told(client: pg.Client, payloads: string[]): Promise<void> {
    while (!payloads.includes('committed')) await client.query('select');
  }

  test('of an edit that the other side does not have are none', async () => {
    const pair = await newPair();
    const position = await positionNow(sides);
    await editHere(pair, `default_branch = 'trunk'`);
    expect(await topicsSince(position)).toEqual(['projects update default_branch']);
    expect((await projectOf(sides, pair.maiId)).id).toBe(pair.projectId);
  });
});
