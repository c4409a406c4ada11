import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { full } from '../support/size.ts';
import { rows, value } from '../support/sql.ts';
import { type Watch, watch } from '../support/watch.ts';

const document = `subscription ($filter: WorktreeFilter, $after: Cursor) {
  inFlightWork(filter: $filter, after: $after) { cursor presence worktreeId worktree { name agentId } }
}`;
const queryDocument = `query ($filter: WorktreeFilter) {
  cursor
  inFlightWork(filter: $filter, first: 100) { nodes { id name } }
}`;
interface Update {
  cursor: string;
  presence: 'ENTERED' | 'UPDATED' | 'LEFT';
  worktreeId: string;
  worktree: { name: string; agentId: string | null } | null;
}
type Filter = Record<string, unknown>;

describe('inFlightWork', () => {
  let gateway: TestGateway;
  let project: string;
  let ids: string[];
  beforeAll(async () => {
    gateway = await startGateway();
    project = await value(gateway.database.owner, `select registry.register_project('in-flight', null)`);
    await value(gateway.database.owner, `select registry.register_project('elsewhere', null)`);
    const made = await rows<{ id: string }>(
      gateway.database.owner,
      `select registry.register_worktree($1, case when n % 2 = 0 then 'feat' else 'fix' end, 'w' || n, 'feat/x', '/in-flight/' || n) as id
       from generate_series(1, 6) n`,
      [project],
    );
    ids = made.map((row) => row.id);
  });
  afterAll(() => gateway.close());
  const sql = (text: string, values: unknown[] = []) => gateway.database.owner.query(text, values);

  async function reset(): Promise<void> {
    await sql(
      'select registry.release_worktree(worktree_id, fence) from registry.worktree_claims where agent_id is not null',
    );
    await sql(`update registry.worktrees set active = true, merged_at = null, ahead_of_trunk = 0, uncommitted_files_count = 0,
      behind_trunk = 0, agent_id = null, agent_state = 'unknown', metadata = '{}', last_sync_at = now()`);
  }

  /** One of the things that can move a worktree into a set, within it or out of it. */
  const change = fc.record({
    which: fc.nat({ max: 5 }),
    what: fc.constantFrom(
      'ahead_of_trunk = 1 - ahead_of_trunk',
      'uncommitted_files_count = (uncommitted_files_count + 1) % 2',
      'behind_trunk = behind_trunk + 1',
      `agent_id = case when agent_id = 'ada' then 'grace' else 'ada' end`,
      `agent_state = case when agent_state = 'working' then 'idle' else 'working' end`,
      `metadata = case when metadata = '{}' then '{"loud": true}'::jsonb else '{}' end`,
      'active = not active',
      'merged_at = case when merged_at is null then now() end',
      `type_id = (select min(id) from registry.worktree_types t where t.id <> w.type_id)`,
      'claim',
    ),
  });
  const filter: fc.Arbitrary<Filter | null> = fc.constantFrom(
    null,
    { agentId: 'ada' },
    { status: ['AHEAD', 'DIVERGED'] },
    { agentState: ['WORKING'] },
    { metadata: { loud: true } },
    { type: 'fix' },
    { claimed: true },
    { claimed: false },
    { project: { slug: 'in-flight' } },
    { project: { slug: 'elsewhere' } },
    { host: 'local', agentId: 'grace' },
  );

  async function apply({ which, what }: { which: number; what: string }): Promise<void> {
    const id = ids[which];
    if (what !== 'claim') {
      await sql(`update registry.worktrees w set ${what} where id = $1`, [id]);
      return;
    }
    const [claim] = await rows<{ fence: string }>(
      gateway.database.owner,
      'select fence::text from registry.worktree_claims where worktree_id = $1 and agent_id is not null',
      [id],
    );
    // An inactive worktree cannot be claimed: then nothing happens.
    await (claim === undefined
      ? sql(`select registry.claim_worktree(id, 'ada') from registry.worktrees where id = $1 and active`, [id])
      : sql('select registry.release_worktree($1, $2)', [id, claim.fence]));
  }

  async function members(wanted: Filter | null): Promise<Set<string>> {
    const { inFlightWork } = await gateway.ask<{ inFlightWork: { nodes: { id: string }[] } }>(queryDocument, {
      filter: wanted,
    });
    return new Set(inFlightWork.nodes.map((node) => node.id));
  }

  /** A change at the end that every filter of the run lets through, as a sign that everything before it was told. */
  async function drain(watching: Watch<Update>, sentinel: string, wanted: Filter | null): Promise<Update[]> {
    const fitting = { agent_id: 'ada', agent_state: 'working', loud: true };
    const grace = wanted?.agentId === 'grace';
    await sql(
      `insert into registry.worktrees (project_id, host_id, type_id, name, branch_name, path, ahead_of_trunk, agent_id, agent_state, metadata)
       select p.id, h.id, t.id, $1, 'x', $1, 1, $2, $3, '{"loud": true}'
       from registry.projects p, registry.hosts h, registry.worktree_types t
       where p.slug = $4 and h.name = 'local' and t.name = 'fix'`,
      [
        sentinel,
        grace ? 'grace' : fitting.agent_id,
        fitting.agent_state,
        (wanted?.project as { slug?: string } | undefined)?.slug ?? 'in-flight',
      ],
    );
    if (wanted?.claimed === true) {
      await sql(`select registry.claim_worktree(id, 'ada') from registry.worktrees where name = $1`, [sentinel]);
    }
    return (await watching.until((update) => update.worktree?.name === sentinel)).slice(0, -1);
  }

  test('whatever happens, folding the updates over the query gives the query', async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(filter, fc.array(change, { minLength: 1, maxLength: 12 }), async (wanted, changes) => {
        run += 1;
        await reset();
        const sentinel = `sentinel-${run}`;
        const known = await members(wanted);
        const watching = await watch<Update>(gateway, document, { filter: wanted });
        for (const next of changes) await apply(next);
        const updates = await drain(watching, sentinel, wanted);
        await watching.close();
        for (const { presence, worktreeId } of updates) {
          // Each enters when it was out, and leaves or changes when it was in.
          expect(known.has(worktreeId)).toBe(presence !== 'ENTERED');
          if (presence === 'LEFT') known.delete(worktreeId);
          else known.add(worktreeId);
        }
        await sql('delete from registry.worktrees where name = $1', [sentinel]);
        expect(known).toEqual(await members(wanted));
      }),
      { numRuns: full ? 150 : 25 },
    );
  }, 120_000);

  test('and so it does for a client that was away: what it replays brings it to the query', async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(filter, fc.array(change, { minLength: 1, maxLength: 12 }), async (wanted, changes) => {
        run += 1;
        await reset();
        const sentinel = `away-${run}`;
        const { cursor } = await gateway.ask<{ cursor: string }>('{ cursor }');
        const known = await members(wanted);
        for (const next of changes) await apply(next);
        const watching = await watch<Update>(gateway, document, { filter: wanted, after: cursor });
        for (const { presence, worktreeId } of await drain(watching, sentinel, wanted)) {
          if (presence === 'LEFT') known.delete(worktreeId);
          else known.add(worktreeId);
        }
        await watching.close();
        await sql('delete from registry.worktrees where name = $1', [sentinel]);
        expect(known).toEqual(await members(wanted));
      }),
      { numRuns: full ? 150 : 25 },
    );
  }, 120_000);

  test('a client that joins while the others lag hears of what left, though nobody was told that it had come', async () => {
    await reset();
    const withHost = document.replace('worktree { name', 'worktree { host { platform } name');
    for (const wanted of [null, { agentId: 'ada' }, { metadata: { loud: true } }]) {
      await reset();
      const early = await watch<Update>(gateway, withHost, { filter: wanted });
      // What they share stands still: its execution waits for the hosts.
      const blocker = await gateway.database.connect();
      await blocker.query('begin; lock table registry.hosts in access exclusive mode');
      const set = (name: string, ahead: number) =>
        sql(
          `update registry.worktrees set ahead_of_trunk = $2, agent_id = 'ada', metadata = '{"loud": true}' where name = $1`,
          [name, ahead],
        );
      await set('w1', 1);
      await set('w2', 1);
      const { cursor, worktrees } = await gateway.ask<{ cursor: string; worktrees: { nodes: { id: string }[] } }>(
        '{ cursor worktrees(filter: { inFlight: true }) { nodes { id } } }',
      );
      const known = new Set(worktrees.nodes.map((node) => node.id));
      expect(known.size).toBe(2);
      const late = await watch<Update>(gateway, withHost, { filter: wanted, after: cursor });
      await set('w2', 0);
      await blocker.query('rollback');
      await blocker.end();
      await set('w3', 1);
      for (const { presence, worktreeId } of await late.until((update) => update.worktree?.name === 'w3')) {
        if (presence === 'LEFT') known.delete(worktreeId);
        else known.add(worktreeId);
      }
      expect(known).toEqual(await members(wanted));
      await early.close();
      await late.close();
    }
  });

  test('a host that has another name takes its work into the sets that name it, and out of the others', async () => {
    await reset();
    await sql(`select registry.upsert_host('laptop')`);
    await sql(`update registry.worktrees set ahead_of_trunk = 1 where name in ('w1', 'w2')`);
    await sql(
      `update registry.worktrees set host_id = (select id from registry.hosts where name = 'laptop') where name = 'w1'`,
    );
    const [laptop, desktop] = [
      await watch<Update>(gateway, document, { filter: { host: 'laptop' } }),
      await watch<Update>(gateway, document, { filter: { host: 'desktop' } }),
    ];
    await sql(`update registry.hosts set name = 'desktop' where name = 'laptop'`);
    expect(await laptop.next()).toMatchObject({ presence: 'LEFT', worktree: { name: 'w1' } });
    expect(await desktop.next()).toMatchObject({ presence: 'ENTERED', worktree: { name: 'w1' } });
    await Promise.all([laptop.close(), desktop.close()]);
    await sql(
      `update registry.worktrees set host_id = (select id from registry.hosts where name = 'local') where name = 'w1'`,
    );
  });

  describe('by the clock alone', () => {
    const stale = { staleForMinutes: 1, project: { slug: 'in-flight' } };
    const name = (update: Update) => [update.presence, update.worktree?.name];

    test('a worktree enters when it has grown stale, and leaves with its next report', async () => {
      await reset();
      // It will have been silent for a minute in a moment.
      await sql(
        `update registry.worktrees set ahead_of_trunk = 1, last_sync_at = now() - interval '58.5 seconds' where name = 'w1'`,
      );
      const watching = await watch<Update>(gateway, document, { filter: stale });
      expect(name(await watching.next())).toEqual(['ENTERED', 'w1']);
      await sql(
        `select registry.update_worktree_git_state(id, p_behind => 3) from registry.worktrees where name = 'w1'`,
      );
      expect(name(await watching.next())).toEqual(['LEFT', 'w1']);
      await watching.close();
    });

    test('a heartbeat alone takes it out, and one while it is fresh keeps it out', async () => {
      await reset();
      await sql(
        `update registry.worktrees set ahead_of_trunk = 1, last_sync_at = now() - interval '2 minutes' where name = 'w1'`,
      );
      await sql(
        `update registry.worktrees set ahead_of_trunk = 1, last_sync_at = now() - interval '58 seconds' where name in ('w2', 'w3')`,
      );
      const watching = await watch<Update>(gateway, document, { filter: stale });
      await sql(`select registry.update_worktree_git_state(id) from registry.worktrees where name in ('w1', 'w2')`);
      expect(name(await watching.next())).toEqual(['LEFT', 'w1']);
      expect(name(await watching.next())).toEqual(['ENTERED', 'w3']);
      await watching.close();
    });

    test('what grows stale is told also while others change all the time', async () => {
      await reset();
      await sql(
        `update registry.worktrees set ahead_of_trunk = 1, last_sync_at = now() - interval '58.8 seconds' where name = 'w1'`,
      );
      const watching = await watch<Update>(gateway, document, { filter: stale });
      let busy = true;
      const changing = (async () => {
        while (busy)
          await sql(
            `update registry.worktrees set ahead_of_trunk = 1, behind_trunk = behind_trunk + 1 where name = 'w2'`,
          );
      })();
      expect(name(await watching.next())).toEqual(['ENTERED', 'w1']);
      busy = false;
      await changing;
      await watching.close();
    });

    test('a resumed stream begins with all that are stale', async () => {
      await reset();
      const { cursor } = await gateway.ask<{ cursor: string }>('{ cursor }');
      await sql(
        `update registry.worktrees set ahead_of_trunk = 1, last_sync_at = now() - interval '2 minutes' where name in ('w1', 'w2')`,
      );
      const now = await gateway.ask<{ cursor: string }>('{ cursor }');
      for (const after of [cursor, now.cursor]) {
        const watching = await watch<Update>(gateway, document, { filter: stale, after });
        const first = [await watching.next(), await watching.next()];
        expect(first.map(name).toSorted()).toEqual([
          ['ENTERED', 'w1'],
          ['ENTERED', 'w2'],
        ]);
        await watching.close();
      }
    });
  });
});
