import type { FieldColumns } from '../../graphql/selection.ts';
import type { Json } from '../../kernel/json.ts';
import type { ProjectReference } from '../project/model.ts';
import type { WorktreeReference } from '../worktree/model.ts';

export const activityTypes = [
  'created',
  'modified',
  'deleted',
  'committed',
  'pushed',
  'merged',
  'synced',
  'other',
] as const;
export type ActivityType = (typeof activityTypes)[number];

/** Something that an agent did; append-only. */
export interface ActivityRow {
  id: string;
  agent_id: string;
  worktree_id: string;
  principal_id: string | null;
  activity_type: ActivityType;
  file_path: string | null;
  description: string;
  metadata: unknown;
  created_at: string;
}

export const activityColumns = [
  'id',
  'agent_id',
  'worktree_id',
  'principal_id',
  'activity_type',
  'file_path',
  'description',
  'metadata',
  'created_at',
] as const satisfies readonly (keyof ActivityRow)[];

export interface ActivityFilter {
  agentId?: string | null | undefined;
  type?: readonly ActivityType[] | null | undefined;
  project?: ProjectReference | null | undefined;
  worktree?: WorktreeReference | null | undefined;
  since?: string | null | undefined;
  until?: string | null | undefined;
  metadata?: Json | undefined;
}

/** Which columns each field of `Activity` reads, for queries that fetch only what is selected. */
export const activityFieldColumns = {
  always: ['id', 'activity_type', 'created_at'],
  byField: {
    agentId: ['agent_id'],
    principal: ['principal_id'],
    filePath: ['file_path'],
    description: ['description'],
    metadata: ['metadata'],
    worktree: ['worktree_id'],
  },
} as const satisfies FieldColumns<keyof ActivityRow>;
