import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { full } from '../support/size.ts';
import { watch } from '../support/watch.ts';

/**
 * The promise of the whole feed: whatever overlaps, breaks and rolls back, whoever goes on from their last cursor gets
 * every committed change exactly once, and one row's changes in the order of their commits.
 */
const writers = 64;
const transactionsEach = full ? 15 : 3;
const rowCount = 120;
const longestTransactionSeconds = 0.5;
const terminateEveryMs = full ? 1_000 : 300;

interface Change {
  cursor: string;
  entityId: string;
  data: { before?: { agent_id: string | null }; after: { agent_id: string | null } };
}

const document = `subscription ($after: Cursor) {
  events(topics: ["worktrees"], after: $after) { cursor entityId data }
}`;

describe('64 overlapping writers, a third of them rolled back', () => {
  let gateway: TestGateway;
  let worktrees: string[];
  beforeAll(async () => {
    gateway = await startGateway();
    const { rows } = await gateway.database.owner.query<{ id: string }>(
      `with project as (select registry.register_project('writers', null) as id)
       select registry.register_worktree(project.id, 'feat', 'w' || n, 'feat/w' || n, '/writers/' || n) as id
       from project, generate_series(1, ${rowCount}) n`,
    );
    worktrees = rows.map((row) => row.id).sort();
  });
  afterAll(() => gateway.close());

  /** Each transaction writes some rows, each with a name that no other write has, and takes up to half a second. */
  async function write(client: pg.Client, committed: Set<string>): Promise<void> {
    for (let n = 0; n < transactionsEach; n += 1) {
      const names: string[] = [];
      await client.query('begin');
      // In one order everywhere, so that they wait for each other and do not deadlock.
      const some = worktrees.filter(() => Math.random() < 0.03);
      const pauseSeconds = (Math.random() * longestTransactionSeconds) / Math.max(some.length, 1);
      for (const id of some) {
        const name = randomUUID();
        names.push(name);
        await client.query('update registry.worktrees set agent_id = $2 where id = $1', [id, name]);
        await client.query('select pg_sleep($1)', [pauseSeconds]);
      }
      if (Math.random() < 1 / 3) {
        await client.query('rollback');
      } else {
        await client.query('commit');
        for (const name of names) committed.add(name);
      }
    }
  }

  test('are told exactly once, row by row in the order of their commits, while connections break', async () => {
    const { cursor } = await gateway.ask<{ cursor: string }>('{ cursor }');
    const committed = new Set<string>();
    const clients = await Promise.all(Array.from({ length: writers }, () => gateway.database.connect()));
    const writing = Promise.all(clients.map((client) => write(client, committed)));
    const terminating = setInterval(() => {
      gateway.database.owner
        .query(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where application_name in ('treeline-listen', 'treeline-doorbell') and datname = current_database()`,
        )
        .catch(() => {});
    }, terminateEveryMs);

    // The subscriber breaks too: after some updates it goes away and comes back with its last cursor.
    const seen: Change[] = [];
    let last = cursor;
    let done = false;
    const end = `end-${randomUUID()}`;
    const following = (async () => {
      while (!done) {
        const watching = await watch<Change>(gateway, document, { after: last });
        const patience = 1 + Math.floor(Math.random() * 60);
        for (let n = 0; n < patience && !done; n += 1) {
          const change = await watching.next();
          seen.push(change);
          last = change.cursor;
          done = change.data.after.agent_id === end;
        }
        watching.socket.socket.terminate();
        await watching.socket.closed;
      }
    })();

    await writing;
    clearInterval(terminating);
    await gateway.database.owner.query('update registry.worktrees set agent_id = $2 where id = $1', [
      worktrees[0],
      end,
    ]);
    await following;
    await Promise.all(clients.map((client) => client.end()));

    const told = seen.map((change) => change.data.after.agent_id);
    expect(told.length).toBe(new Set(told).size);
    committed.add(end);
    expect(new Set(told)).toEqual(committed);
    expect(committed.size).toBeGreaterThan(writers);
    // Each change of a row says what it changed from: the chain has no gap and no inversion.
    const current = new Map<string, string | null>();
    for (const { entityId, data } of seen) {
      expect(data.before?.agent_id ?? null).toBe(current.get(entityId) ?? null);
      current.set(entityId, data.after.agent_id);
    }
  }, 240_000);
});
