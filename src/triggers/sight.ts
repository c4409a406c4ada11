import { hasScope, type Viewer } from '../auth/context.ts';
import type { FeedEvent } from '../feed/event.ts';

/**
 * Whether an event of executions or dead letters may be for a viewer to see, by its own facts: of a project it may be its
 * owner's, which row-level security decides.
 */
export function mayBeFor({ project_id: projectId, user_id: userId }: FeedEvent, viewer: Viewer): boolean {
  return projectId !== null || userId === viewer.principalId || hasScope(viewer, 'admin');
}
