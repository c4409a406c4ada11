import { rows } from '../../support/sql.ts';
import type { Difference } from '../setting.ts';
import { sides, unmirrored } from './setting.ts';

export type Direction = 'to_mai' | 'from_mai';

/** What a batch of `mirror.reconcile` answers. */
export interface Batch {
  examined_count: number;
  changed_count: number;
  last_key: string | null;
  has_more: boolean;
  refused: { name: string; message: string; code: string | null }[];
}

/** One batch of `mirror.reconcile`. */
export async function reconcile(
  direction: Direction,
  {
    after = null,
    limit = 1000,
    projectIds = null,
  }: { after?: string | null; limit?: number; projectIds?: string[] | null } = {},
): Promise<Batch> {
  const [batch] = await rows<Batch>(sides.ours, 'select * from mirror.reconcile($1, $2, $3, $4)', [
    direction,
    after,
    limit,
    projectIds,
  ]);
  if (batch === undefined) throw new Error('a batch of reconciling answered no row');
  return batch;
}

/** Which rows differ in which fields. */
export const sayings = (differences: Difference[]) => differences.map(({ mai_id, field }) => `${mai_id} ${field}`);

/** Empties both sides, without the mirror. */
export const clear = () =>
  unmirrored(() =>
    sides.ours.query(
      'delete from mirror.pairs; delete from registry.project_links; delete from registry.projects; delete from mai.projects',
    ),
  );
