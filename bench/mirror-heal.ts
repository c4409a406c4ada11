import { asOwner, type Databases, quickSize } from './databases.ts';
import { interleave, median, ratio, rounds, spread } from './interleave.ts';

/**
 * How fast rows that were there before the mirror come over: `mirror.reconcile`, batch by batch, each committed. The limit is the
 * same projects inserted by one statement, as a program would that forgets about links, pairs, slugs and remotes that are
 * taken.
 */
const rows = 5_000;

const sides = ['inserted by one statement', 'from mai.projects', 'to mai.projects'] as const;
type Side = (typeof sides)[number];

const prepare: Record<Side, string> = {
  'inserted by one statement': `create schema bench; create table bench.rows as select 'p-' || n as id, 'P ' || n as name from generate_series(1, ${rows}) n`,
  'from mai.projects': `insert into mai.projects (id, name, repo)
    select 'p-' || n, 'P ' || n, 'https://example.com/o/p-' || n from generate_series(1, ${rows}) n`,
  'to mai.projects': `insert into registry.projects (slug, name, remote_origin, managed_by)
    select 'p-' || n, 'P ' || n, 'https://example.com/o/p-' || n, '{mai}' from generate_series(1, ${rows}) n`,
};

const cleanUp = `drop schema if exists bench cascade;
  delete from registry.projects where slug like 'p-%'; delete from mai.projects; delete from mirror.pairs`;

export async function mirrorHeal(databases: Databases): Promise<void> {
  const { ownerUrl } = await databases.open('mirror_heal', quickSize);
  const measured = await interleave(sides, (side) => run(side, ownerUrl));
  console.log(`${rounds} rounds of ${rows} rows each, medians (least to most)`);
  const limit = measured.get(sides[0]) ?? [];
  for (const [side, list] of measured) {
    console.log(
      `${side.padEnd(26)} ${spread(list)} rows/s   ${ratio(list, limit)} of the limit   ${(rows / median(list)).toFixed(1)} s`,
    );
  }
}

async function run(side: Side, ownerUrl: string): Promise<number> {
  return asOwner(ownerUrl, async (client) => {
    const unmirrored = (state: 'disable' | 'enable') =>
      client.query(
        `alter table registry.projects ${state} trigger user; alter table mai.projects ${state} trigger user`,
      );
    await unmirrored('disable');
    await client.query(cleanUp);
    await client.query(prepare[side]);
    await unmirrored('enable');
    await client.query('vacuum analyze registry.projects, mai.projects, registry.project_links, mirror.pairs');
    const startedAt = performance.now();
    if (side === 'inserted by one statement') {
      await client.query(
        `insert into registry.projects (slug, name, remote_origin) select id, name, 'https://example.com/o/' || id from bench.rows`,
      );
    } else {
      await reconcile(client, side === 'from mai.projects' ? 'from_mai' : 'to_mai');
    }
    const taken = (performance.now() - startedAt) / 1_000;
    const { rows: left } = await client.query('select from mirror.drift()');
    if (left.length > 0) throw new Error(`${side} left drift`);
    return rows / taken;
  });
}

async function reconcile(client: Parameters<Parameters<typeof asOwner>[1]>[0], direction: string): Promise<void> {
  for (let after: string | null = null; ; ) {
    const { rows: batches } = await client.query<{ last_key: string; has_more: boolean }>(
      'select last_key, has_more from mirror.reconcile($1, $2)',
      [direction, after],
    );
    const [batch] = batches;
    if (batch?.has_more !== true) return;
    after = batch.last_key;
  }
}
