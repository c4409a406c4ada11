import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type GatewayProcess, makeToken, spawnGateway } from '../support/gateway-process.ts';
import { size } from '../support/size.ts';
import { watch } from '../support/watch.ts';

const document = 'subscription ($after: Cursor) { events(topics: ["activities"], after: $after) { cursor entityId } }';
const log = `mutation ($description: String!) {
  logActivities(input: { activities: [{
    agentId: "a", type: OTHER, description: $description, worktree: { path: { path: "/two" } }
  }] }) { activities { id } userErrors { message } }
}`;

/** Two gateways of one database, each in a process of its own. */
describe('two gateways', () => {
  let database: TestDatabase;
  let gateways: GatewayProcess[];
  beforeEach(async () => {
    database = await createTestDatabase();
    await database.owner.query(
      `select registry.register_worktree(registry.register_project('two', null), 'feat', 'two', 'feat/two', '/two')`,
    );
    const token = makeToken();
    const start = () => spawnGateway({ databaseUrl: database.ownerUrl, token });
    // One after the other: the first token is registered by the first.
    gateways = [await start(), await start()];
  });
  afterEach(async () => {
    await Promise.all(gateways.map((gateway) => gateway.stop()));
    await database.close();
  });
  const [first, second] = [() => gateways[0] as GatewayProcess, () => gateways[1] as GatewayProcess];

  test('a write through one is told to subscribers of the other', async () => {
    const watching = await watch<{ entityId: string }>(second(), document);
    const { logActivities } = await first().ask<{ logActivities: { activities: { id: string }[] } }>(log, {
      description: 'over there',
    });
    expect((await watching.next()).entityId).toBe(logActivities.activities[0]?.id);
    await watching.close();
  });

  test.each([
    ['the one that is written through', 0],
    ['the one that tells', 1],
  ])('%s is killed, and nothing is missed after going on elsewhere', async (_name, victim) => {
    const teller = gateways[1] as GatewayProcess;
    let watching = await watch<{ cursor: string; entityId: string }>(teller, document);
    const told: string[] = [];
    let last: string | null = null;
    const rows = size(400);
    const writing = (async () => {
      for (let n = 0; n < rows; n += 1) {
        const through = victim === 0 && n < rows / 2 ? first() : (gateways[victim === 0 ? 1 : 0] as GatewayProcess);
        // What is under way when a gateway dies may be stored or not: the database says.
        await through.ask(log, { description: `n${n}` }).catch(() => {});
        if (n === Math.floor(rows / 2) - 1) await (gateways[victim] as GatewayProcess).kill();
      }
    })();
    const take = async (): Promise<void> => {
      const update = await watching.next();
      told.push(update.entityId);
      last = update.cursor;
    };
    const following = (async () => {
      for (;;) {
        try {
          await take();
        } catch {
          return;
        }
      }
    })();
    await writing;
    if (victim === 1) await following;
    await database.owner.query(
      `select registry.log_activity('a', (select id from registry.worktrees where path = '/two'), 'other', 'the end')`,
    );
    const stored = await database.owner.query<{ id: string; description: string }>(
      'select id, description from registry.agent_activities order by created_at',
    );
    const ids = stored.rows.map((row) => Buffer.from(`Activity:${row.id}`).toString('base64url'));
    if (victim === 1) {
      watching = await watch(first(), document, { after: last });
      while (told.at(-1) !== ids.at(-1)) await take();
      await watching.close();
    } else {
      while (told.at(-1) !== ids.at(-1)) await new Promise(setImmediate);
      watching.socket.socket.terminate();
      await following;
    }
    expect(told.length).toBe(ids.length);
    expect(new Set(told)).toEqual(new Set(ids));
    expect(ids.length).toBeGreaterThan(rows / 2);
  });
});
