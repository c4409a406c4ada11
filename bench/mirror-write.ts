import { asOwner, type Databases, quickSize } from './databases.ts';
import { interleave, ratio, rounds, seconds, spread } from './interleave.ts';

/**
 * What it costs to write a project that is mirrored, in SQL alone, whichever side is written: 4 sessions, each with projects of its
 * own, one edit per transaction, looping inside the server. Beside a program that writes both tables itself, with nobody
 * watching the second one; the limit is a project that is not mirrored.
 */
interface Side {
  name: string;
  /** One edit; `$1` is the project, `$2` its row, `$3` a text that is never the one before. */
  edit: string;
}

const limit: Side = {
  name: 'not mirrored',
  edit: `update registry.projects set description = $3 where id = $1`,
};
const peer: Side = {
  name: 'both written by hand',
  edit: `with ours as (update registry.projects set description = $3 where id = $1 returning id)
    update bench.rows set goal = $3, updated_at = now() where id = $2`,
};
const here: Side = { name: 'mirrored, written here', edit: limit.edit };
const there: Side = { name: 'mirrored, written there', edit: `update mai.projects set goal = $3 where id = $2` };

const sessions = 4;
const projects = 1_000;

const setting = `
  create schema bench;
  insert into registry.projects (slug, name, managed_by)
  select 'mirrored-' || n, 'Mirrored ' || n, '{mai}' from generate_series(1, ${projects}) n;
  insert into registry.projects (slug, name) select 'plain-' || n, 'Plain ' || n from generate_series(1, ${projects}) n;
  create table bench.rows (like mai.projects including all);
  insert into bench.rows select 'plain-' || n, 'Plain ' || n from generate_series(1, ${projects}) n;
  create procedure bench.edit(p_slugs text, p_edit text, p_part int, p_parts int, p_seconds float, inout p_done bigint)
  language plpgsql
  as $$
  declare
    v_ids uuid[] := array(select id from registry.projects where slug like p_slugs || '%' and (hashtext(slug) & 1023) % p_parts = p_part order by slug);
    v_slugs text[] := array(select slug from registry.projects where id = any (v_ids) order by array_position(v_ids, id));
    v_until timestamptz := clock_timestamp() + make_interval(secs => p_seconds);
    v_at int;
  begin
    p_done := 0;
    while clock_timestamp() < v_until loop
      perform set_config('feed.notify', 'after_commit', true);
      v_at := 1 + p_done % cardinality(v_ids);
      execute p_edit using v_ids[v_at], v_slugs[v_at], clock_timestamp()::text;
      commit;
      p_done := p_done + 1;
    end loop;
  end
  $$`;

export async function mirrorWrite(databases: Databases): Promise<void> {
  const { ownerUrl } = await databases.open('mirror', quickSize);
  await asOwner(ownerUrl, (client) => client.query(setting));
  const measured = await interleave([limit, peer, here, there], (side) => run(side, ownerUrl));
  console.log(
    `${rounds} rounds of ${seconds} s each, ${sessions} sessions on ${projects} projects, medians (least to most)`,
  );
  const rates = (side: Side) => measured.get(side) ?? [];
  for (const [side, list] of measured) {
    console.log(
      `${side.name.padEnd(24)} ${spread(list)} edits/s` +
        `   ${ratio(list, rates(limit))} of ${limit.name}   ${ratio(list, rates(peer))} of ${peer.name}`,
    );
  }
}

async function run(side: Side, ownerUrl: string): Promise<number> {
  await asOwner(ownerUrl, (client) => client.query('vacuum registry.projects, mai.projects, bench.rows'));
  const slugs = side === here || side === there ? 'mirrored-' : 'plain-';
  const counts = await Promise.all(
    Array.from({ length: sessions }, (_, part) =>
      asOwner(ownerUrl, async (client) => {
        const { rows } = await client.query<{ p_done: string }>('call bench.edit($1, $2, $3, $4, $5, null)', [
          slugs,
          side.edit,
          part,
          sessions,
          seconds,
        ]);
        return Number(rows[0]?.p_done);
      }),
    ),
  );
  return counts.reduce((sum, count) => sum + count, 0) / seconds;
}
