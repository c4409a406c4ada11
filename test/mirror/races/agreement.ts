import { expect } from 'vitest';
import { rows, value } from '../../support/sql.ts';
import { driftOf, type Sides } from '../setting.ts';

/** What `mirror.reconcile` answers of one batch. */
export interface Batch {
  examined_count: number;
  changed_count: number;
  last_key: string | null;
  has_more: boolean;
  refused: object[];
}

/** Mirrored projects, their pairs, their links and the rows over there, one to one; and nothing beside them. */
const disagreements = `
with mirrored as (
  select p.id::text, m.mai_id from registry.projects p left join mirror.pairs m on m.project_id = p.id
  where 'mai' = any (p.managed_by) and p.deleted_at is null
), linked as (
  select project_id::text as id, ref_id as mai_id from registry.project_links where ref_type = 'mai-project' and rel = 'derived-from'
)
(select 'not linked' as what, id, mai_id from (table mirrored except table linked) x)
union all (select 'linked and not mirrored', id, mai_id from (table linked except table mirrored) x)
union all (select 'linked twice', id, null from linked group by id having count(*) > 1)
union all (select 'no row', id, mai_id from mirrored where not exists (select from mai.projects r where r.id = mirrored.mai_id))
union all (select 'nobody''s row', null, r.id from mai.projects r where not exists (select from mirrored where mirrored.mai_id = r.id))
union all (select 'still joining', project_id::text, mai_id from mirror.pairs where joining)
union all (select 'nobody''s pair', m.project_id::text, m.mai_id from mirror.pairs m
  where not exists (select from registry.projects p where p.id = m.project_id and 'mai' = any (p.managed_by)))`;

/** Both sides say the same. Reads only, so that it holds at any time, whoever is writing. */
export async function expectNoDifference(sides: Sides): Promise<void> {
  expect(await rows(sides.ours, disagreements)).toEqual([]);
  expect(await driftOf(sides)).toEqual([]);
}

/** Both sides say the same, and nothing is left to do: healing, in either direction, writes nothing. */
export async function expectAgreement(sides: Sides): Promise<void> {
  await expectNoDifference(sides);
  const written = () => value<number>(sides.ours, 'select count(*)::int from feed.events');
  const before = await written();
  for (const direction of ['to_mai', 'from_mai']) {
    const [batch] = await rows<Batch>(sides.ours, 'select * from mirror.reconcile($1, p_limit => 1000000)', [
      direction,
    ]);
    expect(batch).toMatchObject({ changed_count: 0, refused: [], has_more: false });
  }
  expect(await written()).toBe(before);
}
