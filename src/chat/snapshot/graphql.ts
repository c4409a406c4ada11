import type { RequestContext } from '../../auth/context.ts';
import { answerHeavy, loadHeavy } from '../../graphql/budget.ts';
import { builder } from '../../graphql/builder.ts';
import { byKey, loader } from '../../graphql/loaders.ts';
import { addMutation } from '../../graphql/payload.ts';
import { selectedOn } from '../../graphql/selection.ts';
import { RequestError } from '../../kernel/errors.ts';
import { encodeId } from '../../kernel/ids.ts';
import { Project, ProjectRefInput } from '../../registry/project/graphql.ts';
import type { ProjectReference } from '../../registry/project/model.ts';
import { mostInlineReadBytes, type NewSnapshot, type SnapshotRow } from './model.ts';
import { putSnapshot } from './service.ts';
import { listSnapshots } from './store.ts';

function snapshotLoader(context: RequestContext, withFiles: boolean) {
  return loader<SnapshotRow | null>(
    context,
    withFiles ? 'project.snapshot.files' : 'project.snapshot',
    async (ids) => {
      const rows = withFiles
        ? await loadHeavy(context, (room) => listSnapshots(context, ids, room))
        : await listSnapshots(context, ids, null);
      return byKey(rows, (snapshot) => snapshot.project_id);
    },
    null,
  );
}

const ProjectSnapshot = builder.objectRef<SnapshotRow>('ProjectSnapshot').implement({
  description: "The files that a project's chat is about, as they were last put. For the project's owner and members.",
  extensions: { personal: true },
  fields: (t) => ({
    files: t.field({
      type: 'JSON',
      description:
        'The files, as they were put. More than 16,000,000 bytes in one operation are refused with LIMIT_EXCEEDED: GET /projects/<id>/snapshot answers a snapshot of any size.',
      resolve: async (snapshot, _args, context) => {
        const whole =
          snapshot.fits === undefined ? await snapshotLoader(context, true).load(snapshot.project_id) : snapshot;
        if (whole?.fits !== true) throw tooLarge(snapshot);
        answerHeavy(context, whole);
        return whole.files;
      },
    }),
    summary: t.exposeString('summary', { nullable: true, description: 'What they are, in words.' }),
    sizeBytes: t.exposeInt('bytes', { description: 'The length of the files, written out as JSON.' }),
    createdAt: t.field({ type: 'DateTime', description: 'When the first one was put.', resolve: (s) => s.created_at }),
    updatedAt: t.field({ type: 'DateTime', description: 'When this one was put.', resolve: (s) => s.updated_at }),
  }),
});

function tooLarge({ project_id: projectId, bytes }: SnapshotRow): RequestError {
  return new RequestError(
    'LIMIT_EXCEEDED',
    `These files have ${bytes} bytes, and one operation reads at most ${mostInlineReadBytes}: ask for fewer at once, or GET /projects/${encodeId('Project', projectId)}/snapshot.`,
  );
}

builder.objectField(Project, 'snapshot', (t) =>
  t.field({
    type: ProjectSnapshot,
    nullable: true,
    description:
      'The files that its chat is about; null when there are none, and for all but owner and members. Scope chat.',
    extensions: { personal: true },
    resolve: (project, _args, context, info) => snapshotLoader(context, selectedOn(info).has('files')).load(project.id),
  }),
);

addMutation<{ project: ProjectReference } & NewSnapshot, { snapshot: SnapshotRow }>({
  name: 'putSnapshot',
  description:
    "Puts a snapshot of a project's files in the place of the one before. Up to 8,000,000 bytes as JSON; larger ones, up to 50,000,000, go to PUT /projects/<id>/snapshot. For the project's owner and editors. Scope chat.",
  input: builder.inputRef<{ project: ProjectReference } & NewSnapshot>('PutSnapshotInput').implement({
    description: 'The files, and of which project.',
    fields: (t) => ({
      project: t.field({ type: ProjectRefInput, required: true, description: 'Of which project.' }),
      files: t.field({ type: 'JSON', required: true, description: 'An object, as a rule by path; or an array.' }),
      summary: t.string({ description: 'What they are, in words: at most 100,000 bytes.' }),
    }),
  }),
  fields: (t) => ({
    snapshot: t.field({
      type: ProjectSnapshot,
      nullable: true,
      description: 'The snapshot as it is stored.',
      resolve: (outcome) => outcome.snapshot ?? null,
    }),
  }),
  resolve: async ({ project, files, summary }, context) => ({
    snapshot: await putSnapshot(context, project, { files, summary }),
  }),
});
