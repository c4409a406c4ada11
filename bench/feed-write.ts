import { activeWorktreeIds, asOwner, type Databases, quickSize, setLogged } from './databases.ts';
import { interleave, ratio, rounds, seconds, spread } from './interleave.ts';
import { type Follower, type Following, startFollower } from './processes/follower.ts';

/**
 * What the log costs those who write, in SQL alone: 16 sessions, each with rows of its own, one report per transaction.
 * Each loops inside the server, so that neither a client nor the network hides the cost.
 *
 * All contenders write the same rows of one database, by turns, so that they find the same bloat and the same caches.
 */
interface Side {
  name: string;
  logged: boolean;
  /** What each transaction sets `feed.notify` to; empty: as a session that sets nothing. */
  notify: 'after_commit' | '';
  following: Following | null;
}

const sides: readonly Side[] = [
  { name: 'no log', logged: false, notify: 'after_commit', following: null },
  { name: 'log, nobody rings', logged: true, notify: 'after_commit', following: null },
  { name: 'log, doorbell', logged: true, notify: 'after_commit', following: 'ring' },
  { name: 'log, doorbell and reader', logged: true, notify: 'after_commit', following: 'ring and read' },
  { name: 'log, NOTIFY in each and reader', logged: true, notify: '', following: 'read' },
];

const sessions = 16;

const writer = `
  create schema bench;
  create procedure bench.report(p_part int, p_parts int, p_seconds float, p_notify text, inout p_done bigint)
  language plpgsql
  as $$
  declare
    v_ids uuid[] := array(
      select id from (select id, row_number() over (order by id) as n from registry.worktrees where active) w where n % p_parts = p_part
    );
    v_until timestamptz := clock_timestamp() + make_interval(secs => p_seconds);
    -- Never the one that is stored: each report is a change.
    v_head bigint := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
    v_outcome text;
  begin
    p_done := 0;
    while clock_timestamp() < v_until loop
      -- By all alike, also where nobody looks at it.
      perform set_config('feed.notify', p_notify, true);
      select (r).outcome into v_outcome from registry.update_worktree_git_state(v_ids[1 + p_done % cardinality(v_ids)],
        p_uncommitted_count => (p_done % 9)::int, p_ahead => (p_done % 4)::int, p_last_commit_hash => lpad(to_hex(v_head + p_done), 40, '0')) r;
      commit;
      if v_outcome <> 'changed' then
        raise exception 'expected a change, got %', v_outcome;
      end if;
      p_done := p_done + 1;
    end loop;
  end
  $$`;

interface Round {
  transactionsPerSecond: number;
  /** Of the process that rings and reads, per second: one is a whole core. */
  followerCpu: number;
  eventsReadPerSecond: number;
}

export async function feedWrite(databases: Databases): Promise<void> {
  const { ownerUrl } = await databases.open('feed_write', quickSize);
  await using opened = new AsyncDisposableStack();
  const follower = await startFollower(ownerUrl);
  opened.defer(() => follower.stop());
  const worktrees = (await activeWorktreeIds(ownerUrl)).length;
  await asOwner(ownerUrl, (client) => client.query(writer));
  const measured = await interleave(sides, (side) => run(side, ownerUrl, follower));
  console.log(
    `${rounds} rounds of ${seconds} s each, ${sessions} sessions on ${worktrees} worktrees, medians (least to most)`,
  );
  print(measured);
}

async function run(side: Side, ownerUrl: string, follower: Follower): Promise<Round> {
  await setLogged(ownerUrl, side.logged);
  // What the round before left behind is nobody's cost.
  await asOwner(ownerUrl, (client) => client.query('vacuum registry.worktrees'));
  if (side.following !== null) await follower.follow(side.following);
  const before = await follower.figures();
  const counts = await Promise.all(
    Array.from({ length: sessions }, (_, part) =>
      asOwner(ownerUrl, async (client) => {
        const { rows } = await client.query<{ p_done: string }>('call bench.report($1, $2, $3, $4, null)', [
          part,
          sessions,
          seconds,
          side.notify,
        ]);
        return Number(rows[0]?.p_done);
      }),
    ),
  );
  const after = await follower.figures();
  await follower.leave();
  return {
    transactionsPerSecond: counts.reduce((sum, count) => sum + count, 0) / seconds,
    followerCpu: (after.cpuSeconds - before.cpuSeconds) / seconds,
    eventsReadPerSecond: (after.events - before.events) / seconds,
  };
}

function print(measured: ReadonlyMap<Side, readonly Round[]>): void {
  const rates = (side: Side | undefined) =>
    (side === undefined ? undefined : measured.get(side))?.map((round) => round.transactionsPerSecond) ?? [];
  const [withoutLog, silent] = sides;
  for (const [side, list] of measured) {
    const follower =
      side.following === null
        ? ''
        : `   follower: ${spread(
            list.map((round) => round.followerCpu),
            2,
          ).trimStart()} cores, ${spread(list.map((round) => round.eventsReadPerSecond)).trimStart()} events/s`;
    console.log(
      `${side.name.padEnd(30)} ${spread(rates(side))} transactions/s` +
        `   ${ratio(rates(side), rates(withoutLog))} of no log` +
        `   ${ratio(rates(side), rates(silent))} of the log where nobody rings${follower}`,
    );
  }
}
