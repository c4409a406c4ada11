import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { size } from '../../support/size.ts';
import { rows, value } from '../../support/sql.ts';
import { untilBlocked } from '../../sync/sql/asking.ts';
import { openSides, type Sides } from '../setting.ts';
import { type Batch, expectNoDifference } from './agreement.ts';
import { retrying } from './writing.ts';

const count = size(100_000);
const batchSize = 500;

const idOf = (n: number) => `p${String(n).padStart(6, '0')}`;

/** What somebody does with one of them, while they are brought over. */
type Edit = (id: string) => [text: string, values: string[]];
const editsHere: Edit[] = [
  (id) => [`update registry.projects set description = 'goal here' where slug = $1`, [id]],
  (id) => [`insert into registry.projects (slug, name, managed_by) values ('here-' || $1, 'new', '{mai}')`, [id]],
  (id) => [`update registry.projects set status = 'done' where slug = $1`, [id]],
  (id) => ['delete from registry.projects where slug = $1', [id]],
  (id) => [`update registry.projects set managed_by = '{}' where slug = $1`, [id]],
  (id) => [`update registry.projects set deleted_at = now() where slug = $1`, [id]],
];
const editsThere: Edit[] = [
  (id) => [`update mai.projects set path = '/there' where id = $1`, [id]],
  (id) => [`insert into mai.projects (id, name) values ('there-' || $1, 'new')`, [id]],
  (id) => [`update mai.projects set status = 'sleeping' where id = $1`, [id]],
  (id) => ['delete from mai.projects where id = $1', [id]],
  (id) => [`update mai.projects set id = 'renamed-' || $1 where id = $1`, [id]],
];

/**
 * One statement after the other, here and there among them all, until it is over; ends the connection.
 * @returns how many it were
 */
async function keepWriting(client: pg.Client, edits: readonly Edit[], isOver: () => boolean): Promise<number> {
  try {
    let written = 0;
    for (; !isOver() && written < count; written += 1) {
      const edit = edits[written % edits.length] as Edit;
      // A prime, so that each is met once.
      const [text, values] = edit(idOf(((written * 7919) % count) + 1));
      await retrying(() => client.query(text, values));
    }
    return written;
  } finally {
    await client.end();
  }
}

describe.each([
  {
    direction: 'to_mai',
    table: 'registry.projects',
    trigger: 'projects_sync_to_mai_insert',
    fill: `insert into registry.projects (slug, name, remote_origin, managed_by)
           select 'p' || lpad(n::text, 6, '0'), 'Project ' || n, 'https://host.example/o/' || n, '{mai}' from generate_series(1, $1::int) n`,
    isHalfway: (last: string) => last >= '8',
  },
  {
    direction: 'from_mai',
    table: 'mai.projects',
    trigger: 'mai_projects_sync_to_projax',
    fill: `insert into mai.projects (id, name, repo)
           select 'p' || lpad(n::text, 6, '0'), 'Project ' || n, 'https://host.example/o/' || n from generate_series(1, $1::int) n`,
    isHalfway: (last: string) => last >= idOf(count / 2),
  },
])('$table, filled before there was a mirror', ({ direction, table, trigger, fill, isHalfway }) => {
  let sides: Sides;
  beforeAll(async () => {
    sides = await openSides();
    await sides.ours.query(`alter table ${table} disable trigger ${trigger}`);
    await sides.ours.query(fill, [count]);
    await sides.ours.query(`alter table ${table} enable trigger ${trigger}`);
  });
  afterAll(() => sides.close());

  /** Batch after batch until there are no more, or until it is told to stop. @returns where it got to */
  async function heal(client: pg.Client, after: string | null, isToStop: (last: string) => boolean) {
    const progress = { last: after, examined: 0, hasMore: true };
    while (progress.hasMore && !(progress.last !== after && isToStop(progress.last ?? ''))) {
      const { value: found } = await retrying(() =>
        rows<Batch>(client, 'select * from mirror.reconcile($1, $2, $3)', [direction, progress.last, batchSize]),
      );
      const [batch] = found;
      if (batch === undefined) throw new Error('expected a batch, got none');
      expect(batch.refused).toEqual([]);
      progress.examined += batch.examined_count;
      progress.last = batch.last_key ?? progress.last;
      progress.hasMore = batch.has_more;
    }
    return progress;
  }

  /** Ends the connection in the midst of a batch: while that waits for a row that somebody has locked. */
  async function interrupt(client: pg.Client, after: string | null): Promise<void> {
    const pid = await value<number>(client, 'select pg_backend_pid()');
    // The connection says so itself as well, and fails the run if nobody listens.
    client.on('error', () => {});
    const keeper = await sides.database.connect();
    await keeper.query('begin');
    await keeper.query(`select from ${table} where id > $1 order by id offset $2 limit 1 for update`, [
      after,
      batchSize / 2,
    ]);
    const ended = expect(
      client.query('select * from mirror.reconcile($1, $2, $3)', [direction, after, batchSize]),
    ).rejects.toThrow();
    await untilBlocked(sides.database, pid);
    await sides.ours.query('select pg_terminate_backend($1)', [pid]);
    await ended;
    await keeper.end();
  }

  async function healWithInterruption(): Promise<number> {
    const first = await sides.database.connect();
    const half = await heal(first, null, isHalfway);
    expect(half.hasMore).toBe(true);
    await interrupt(first, half.last);
    const second = await sides.database.connect();
    const rest = await heal(second, half.last, () => false);
    await second.end();
    return half.examined + rest.examined;
  }

  test('is brought over in batches while others write, and goes on where it was after an interruption', async () => {
    let isOver = false;
    const clients = [await sides.database.connect(), await sides.connectTheirs()] as const;
    const [examined, ...written] = await Promise.all([
      healWithInterruption().finally(() => {
        isOver = true;
      }),
      keepWriting(clients[0], editsHere, () => isOver),
      keepWriting(clients[1], editsThere, () => isOver),
    ]);
    expect(Math.min(...written)).toBeGreaterThan(0);
    // Those that were deleted meanwhile are fewer than a third.
    expect(examined).toBeGreaterThan(count / 2);
    await expectNoDifference(sides);
    // However few are asked for, it is found at once that there are none.
    await sides.ours.query(
      `set statement_timeout = '20s'; select * from mirror.drift(null, 1); reset statement_timeout`,
    );
    const doubled = `select slug from registry.projects where slug ~ 'p\\d{6}-\\d+$'`;
    expect(await rows(sides.ours, doubled)).toEqual([]);
  }, 1_800_000);
});
