import { builder } from '../../graphql/builder.ts';
import { Change, changeOf } from '../../graphql/change.ts';
import { addSubscription, cursorDescription, type Follower, followRows, type WithCursor } from '../../graphql/live.ts';
import { encodeId } from '../../kernel/ids.ts';
import { Project, ProjectRefInput } from './graphql.ts';
import { changedProjectFields, type ProjectRow } from './model.ts';
import { requireProjectId } from './service.ts';
import { listProjectsById } from './store.ts';

interface ProjectUpdateShape extends WithCursor {
  change: 'created' | 'updated' | 'deleted';
  changedFields: readonly string[];
  id: string;
  project: ProjectRow | null;
}

const ProjectUpdate = builder.objectRef<ProjectUpdateShape>('ProjectUpdate').implement({
  description: 'A project that changed.',
  fields: (t) => ({
    cursor: t.field({ type: 'Cursor', description: cursorDescription, resolve: (update) => update.cursor ?? '' }),
    change: t.field({ type: Change, description: 'What happened.', resolve: (update) => update.change }),
    changedFields: t.stringList({
      description: 'Which fields of `Project` an update changed.',
      resolve: (update) => [...update.changedFields],
    }),
    projectId: t.id({ description: 'Which project.', resolve: (update) => encodeId('Project', update.id) }),
    project: t.field({
      type: Project,
      nullable: true,
      description: 'The project as it stands when this is sent; null once it is deleted for good.',
      resolve: (update) => update.project,
    }),
  }),
});

addSubscription({
  name: 'projectChanged',
  description:
    'Projects as they change, with their parents, links, members and checkouts, but without their worktrees. Changes of one project that a client has not been sent yet become one. Scope registry:read.',
  type: ProjectUpdate,
  args: (arg) => ({ project: arg({ type: ProjectRefInput, description: 'Only this project; all when left out.' }) }),
  live: async ({ project }, context) => {
    const wanted = project == null ? null : await requireProjectId(context, project);
    return { topics: ['projects'], coalesce: true, open: async () => followChanges(wanted) };
  },
});

function followChanges(wanted: string | null): Follower<ProjectUpdateShape> {
  return followRows({
    concerns: (event) => wanted === null || event.entity_id === wanted,
    isDeletion: (event) => event.op === 'delete',
    load: (context, ids) => listProjectsById(context.db, ids),
    shape: (event, project): ProjectUpdateShape => ({
      change: changeOf(event.op),
      changedFields: changedProjectFields(event.changed),
      id: event.entity_id,
      project,
    }),
  });
}
