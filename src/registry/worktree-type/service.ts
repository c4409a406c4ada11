import { sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import type { Json } from '../../kernel/json.ts';
import { callRegistryOnce } from '../call.ts';
import { type WorktreeTypeRow, worktreeTypeColumns } from './model.ts';

const answeredColumns = sql.join(worktreeTypeColumns.map((name) => sql.ref(name)));

export interface NewWorktreeType {
  name: string;
  branchPrefix: string;
  worktreePrefix: string;
  description?: string | null | undefined;
  color?: string | null | undefined;
  icon?: string | null | undefined;
  metadata?: Json | undefined;
}

export function createWorktreeType(context: RequestContext, input: NewWorktreeType): Promise<WorktreeTypeRow> {
  const metadata = input.metadata == null ? null : JSON.stringify(input.metadata);
  return callRegistryOnce(
    context,
    sql`(select ${answeredColumns} from registry.create_worktree_type(${input.name}, ${input.branchPrefix},
      ${input.worktreePrefix}, ${input.description ?? null}, ${input.color ?? null}, ${input.icon ?? null},
      ${metadata}::jsonb)) as type`,
  );
}

export function deleteWorktreeType(context: RequestContext, name: string): Promise<WorktreeTypeRow> {
  return callRegistryOnce(
    context,
    sql`(select ${answeredColumns} from registry.delete_worktree_type(${name})) as type`,
  );
}
