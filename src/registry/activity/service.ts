import { sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import { Refusal, type RefusalCode } from '../../kernel/errors.ts';
import type { Json } from '../../kernel/json.ts';
import { actingAgent } from '../agent.ts';
import { callRegistry } from '../call.ts';
import { toWorktreeKey, type WorktreeReference } from '../worktree/model.ts';
import type { ActivityType } from './model.ts';

export interface NewActivity {
  agentId: string;
  worktree: WorktreeReference;
  type: ActivityType;
  description: string;
  filePath?: string | null | undefined;
  metadata?: Json | undefined;
  /** The client's own id, together with `createdAt`: makes a retried batch harmless. */
  id?: string | null | undefined;
  createdAt?: string | null | undefined;
}

/**
 * Logs up to 500 activities in one statement.
 * @returns per item its id, or why it was refused
 */
export async function logActivities(
  context: RequestContext,
  activities: readonly NewActivity[],
): Promise<{ id: string | null; refusal: Refusal | null }[]> {
  const checked = activities.map((activity, index) =>
    prepared(context, activity, ['input', 'activities', String(index)]),
  );
  const rows = await callRegistry<{
    index: number;
    id: string | null;
    code: RefusalCode | null;
    message: string | null;
  }>(context, sql`registry.log_activities(${JSON.stringify(checked.map(({ item }) => item))}::jsonb)`);
  return rows.map((row) => {
    const ours = checked[row.index]?.refusal ?? null;
    if (ours !== null || row.code === null) return { id: ours === null ? row.id : null, refusal: ours };
    const path = ['input', 'activities', String(row.index)];
    return { id: null, refusal: new Refusal(row.code, row.message ?? 'The activity was refused.', { path }) };
  });
}

/** An item that is refused here already goes along without an agent, which the function refuses: places stay as given. */
function prepared(
  context: RequestContext,
  activity: NewActivity,
  path: readonly string[],
): { item: object; refusal: Refusal | null } {
  try {
    const agentId = actingAgent(context.viewer, activity.agentId);
    return { item: { ...activity, agentId, worktree: toWorktreeKey(activity.worktree) }, refusal: null };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { item: { agentId: '', worktree: { id: '00000000-0000-0000-0000-000000000000' } }, refusal: error.at(path) };
  }
}
