import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase } from '../support/database.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { watch } from '../support/watch.ts';

const document = 'subscription { events(topics: ["worktrees"]) { data } }';
type Change = { data: { name: string } };

describe('a transaction that stays open', () => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startGateway();
    await gateway.database.owner.query(
      `with project as (select registry.register_project('slow', null) as id)
       select registry.register_worktree(project.id, 'feat', name, 'feat/x', '/slow/' || name)
       from project, unnest(array['slow', 'quick']) name`,
    );
  });
  afterAll(() => gateway.close());
  const touch = (name: string) =>
    `update registry.worktrees set behind_trunk = behind_trunk + 1 where name = '${name}'`;

  test('and writes delays its own events only, and they are told when it commits', async () => {
    const watching = await watch<Change>(gateway, document);
    const slow = await gateway.database.connect();
    await slow.query('begin');
    await slow.query(touch('slow'));
    // Later positions, earlier commits: a cursor that counted positions would pass the slow one over.
    for (let n = 0; n < 3; n += 1) {
      await gateway.database.owner.query(touch('quick'));
      expect(await watching.next()).toMatchObject({ data: { name: 'quick' } });
    }
    await slow.query('commit');
    expect(await watching.next()).toMatchObject({ data: { name: 'slow' } });
    await slow.end();
    await watching.close();
  });

  test('and is rolled back is never told', async () => {
    const watching = await watch<Change>(gateway, document);
    const slow = await gateway.database.connect();
    await slow.query('begin');
    await slow.query(touch('slow'));
    await slow.query('rollback');
    await gateway.database.owner.query(touch('quick'));
    expect(await watching.next()).toMatchObject({ data: { name: 'quick' } });
    await slow.end();
    await watching.close();
  });

  test('and only reads, or writes in another database of the server, delays nobody', async () => {
    const other = await createTestDatabase({ migrated: false });
    const [reader, elsewhere] = [await gateway.database.connect(), await other.connect()];
    await reader.query('begin isolation level repeatable read');
    await reader.query('select count(*) from registry.worktrees');
    await elsewhere.query('begin');
    await elsewhere.query('select pg_current_xact_id()');
    const watching = await watch<Change>(gateway, document);
    const { cursor } = await gateway.ask<{ cursor: string }>('{ cursor }');
    await gateway.database.owner.query(touch('quick'));
    expect(await watching.next()).toMatchObject({ data: { name: 'quick' } });
    await watching.close();
    // Nor does it keep back or repeat anything for somebody who comes back meanwhile.
    const resumed = await watch<Change>(
      gateway,
      'subscription ($after: Cursor) { events(topics: ["worktrees"], after: $after) { data } }',
      { after: cursor },
    );
    expect(await resumed.next()).toMatchObject({ data: { name: 'quick' } });
    await gateway.database.owner.query(touch('slow'));
    expect(await resumed.next()).toMatchObject({ data: { name: 'slow' } });
    await resumed.close();
    await reader.end();
    await elsewhere.end();
    await other.close();
  });

  test('is what the metric says', async () => {
    const slow = await gateway.database.connect();
    await slow.query('begin');
    await slow.query(touch('slow'));
    const text = await (await fetch(`${gateway.url}/metrics`)).text();
    const seconds = Number(/^treeline_oldest_writing_transaction_seconds (.+)$/m.exec(text)?.[1]);
    expect(seconds).toBeGreaterThan(0);
    await slow.query('rollback');
    await slow.end();
  });
});
