import { builder } from '../graphql/builder.ts';
import { readSize } from '../graphql/connection.ts';
import { addMutation } from '../graphql/payload.ts';
import { Project, projectLoader } from '../registry/project/graphql.ts';
import { type DriftRow, driftSizes, fieldName, type MirrorProblem, type MirrorStatusRow } from './model.ts';
import { findDrift, type Reconciled, type Reconciliation, reconcile, reconcileSizes } from './service.ts';
import { getStatus } from './store.ts';

export const MirrorDirection = builder.enumType('MirrorDirection', {
  description: 'Which side of the mirror follows the other.',
  values: {
    TO_MAI: { value: 'to_mai', description: '`mai.projects` follows the projects here.' },
    FROM_MAI: { value: 'from_mai', description: 'The projects here follow `mai.projects`.' },
  } as const,
});

const MirrorDrift = builder.objectRef<DriftRow>('MirrorDrift').implement({
  description: 'One place where a project and its row of `mai.projects` do not say the same.',
  fields: (t) => ({
    project: t.field({
      type: Project,
      nullable: true,
      description: 'The project; null for a row that is none here.',
      resolve: (drift, _args, context) =>
        drift.project_id === null ? null : projectLoader(context).load(drift.project_id),
    }),
    maiId: t.exposeString('mai_id', {
      nullable: true,
      description: 'The id of the row; null for a project that never had one.',
    }),
    field: t.string({
      description:
        'What differs: `name`, `description`, `remoteOrigin`, `trunkPath`, `memoryGroup`, `status` or `metadata`; `row` where a mirrored project has no row, `project` where a row has no mirrored project, `link` where the two are not linked.',
      resolve: (drift) => fieldName(drift.field),
    }),
    ours: t.field({
      type: 'JSON',
      nullable: true,
      description: 'What the project says; its slug where a side is missing. What is longer than 4,000 bytes is cut.',
      resolve: (drift) => drift.ours,
    }),
    theirs: t.field({
      type: 'JSON',
      nullable: true,
      description: 'What the row says; its id where a side is missing. What is longer than 4,000 bytes is cut.',
      resolve: (drift) => drift.theirs,
    }),
  }),
});

const MirrorProblemType = builder.objectRef<MirrorProblem>('MirrorProblem').implement({
  description: 'Something that keeps the mirror from working.',
  fields: (t) => ({
    problem: t.exposeString('problem', { description: 'What is missing.' }),
    statement: t.exposeString('statement', { description: 'What an operator has to run in SQL, before a restart.' }),
  }),
});

const MirrorStatus = builder.objectRef<MirrorStatusRow>('MirrorStatus').implement({
  description: 'Whether the mirror with `mai.projects` works, and how much it holds.',
  fields: (t) => ({
    attached: t.exposeBoolean('attached', { description: 'Whether the triggers of both sides are there and enabled.' }),
    problems: t.field({
      type: [MirrorProblemType],
      description: 'What keeps it from working; empty when nothing does.',
      resolve: (status) => status.problems,
    }),
    projectCount: t.exposeInt('project_count', { description: 'Projects that are mirrored.' }),
    rowCount: t.exposeInt('row_count', {
      nullable: true,
      description: 'Rows of `mai.projects`; null where they cannot be read.',
    }),
    unclassifiedCount: t.exposeInt('unclassified_count', {
      description: 'Projects that wait in `unclassifiedProjects`.',
    }),
  }),
});

builder.queryFields((t) => ({
  mirrorDrift: t.field({
    type: [MirrorDrift],
    description:
      'Where the two sides of the mirror do not say the same now, by the id of the row; empty when they do. All is compared, whatever `first` is. Scope registry:read.',
    extensions: { page: driftSizes },
    args: {
      projectIds: t.arg.idList({ description: 'Only of these projects.' }),
      first: t.arg.int({ defaultValue: driftSizes.usual, description: 'How many at most: 1 to 1,000.' }),
    },
    resolve: (_root, { projectIds, first }, context) =>
      findDrift(context, projectIds, readSize('first', first, driftSizes) ?? driftSizes.usual),
  }),
  mirrorStatus: t.field({
    type: MirrorStatus,
    description: 'Whether the mirror works, and what it lacks. Scope maintenance.',
    resolve: (_root, _args, context) => getStatus(context),
  }),
}));

addMutation<Reconciliation, Reconciled>({
  name: 'reconcileMirror',
  description:
    'Makes one side of the mirror what the other says, also where tables were filled before there was a mirror. In batches, each committed for itself: it may be stopped and started again while others go on writing. TO_MAI deletes no row that is no project here; FROM_MAI deactivates no project that never had a row. Scope maintenance.',
  input: builder.inputRef<Reconciliation>('ReconcileMirrorInput').implement({
    description: 'Which side follows, and how much of it.',
    fields: (t) => ({
      direction: t.field({ type: MirrorDirection, required: true, description: 'Which side follows the other.' }),
      projectIds: t.idList({ description: 'Only these projects.' }),
      first: t.int({
        description: `How many to look at: 1 to ${reconcileSizes.most.toLocaleString('en')}; all when left out. Ask for some thousands at a time to see how it goes on.`,
      }),
      after: t.string({ description: 'The `endCursor` of an earlier answer in this direction.' }),
    }),
  }),
  fields: (t) => ({
    changedCount: t.int({
      nullable: true,
      description: 'How many were healed.',
      resolve: (outcome) => outcome.changedCount,
    }),
    examinedCount: t.int({
      nullable: true,
      description: 'How many were looked at: projects towards mai, rows and former rows from it.',
      resolve: (outcome) => outcome.examinedCount,
    }),
    hasMore: t.boolean({
      nullable: true,
      description: 'Whether there may be more after `endCursor`.',
      resolve: (outcome) => outcome.hasMore,
    }),
    endCursor: t.string({
      nullable: true,
      description: 'Where it ended; null when there was nothing to look at.',
      resolve: (outcome) => outcome.endCursor,
    }),
  }),
  resolve: (input, context) => reconcile(context, input),
});
